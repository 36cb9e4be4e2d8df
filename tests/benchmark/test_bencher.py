"""What happens inside and outside of the exclusive use of a device, on a CPU that is taken for another device."""

import dataclasses
import json
import os
import time

import pytest
import tiny
import torch

from archsearch.benchmark import bencher as bencher_module
from archsearch.benchmark import loading
from archsearch.benchmark.bencher import Bencher
from archsearch.benchmark.conditions import FORGETS_S
from archsearch.benchmark.exclusive import ENDED, lock_folder
from archsearch.benchmark.jobs import Job
from archsearch.benchmark.nvml import Nvml
from archsearch.benchmark.timed_steps import KERNELS, KERNELS_THOROUGH

CPU = torch.device("cpu")
JOB = Job((tiny.PLAIN,), tiny.SMALL, dataclasses.replace(tiny.BENCH, batch_size=2, layout="both"), ("infer", "train"))


@pytest.fixture(autouse=True)
def _own_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


@pytest.fixture
def events(monkeypatch):
    """What a bencher says, and between that where copies are laid out: under which lock of this process."""
    said, lay_out = [], loading.lay_out

    def noted(model, setting, device):
        (*_, held) = ["no lock", *(json.loads(n.read_text())["purpose"] for n in lock_folder("cpu").glob("*.json"))]
        said.append(held)
        return lay_out(model, setting, device)

    monkeypatch.setattr(loading, "lay_out", noted)
    return said


def run(events, job=JOB):
    bencher = Bencher(CPU, lambda event, **details: events.append(event))
    results = bencher.run(job)
    events.append("again")
    return bencher, results, bencher.run(job)


def test_a_studys_networks_are_on_the_device_before_it_is_held_alone(events, monkeypatch):
    monkeypatch.setattr(bencher_module, "HOST_TYPES", ())
    _, (first,), (second,) = run(events)
    for measured in (first, second):
        assert [timing.error for timing in measured.timings] == [None] * 4
        assert all(timing.blocks_s and timing.ratio for timing in measured.timings)
    once, again = events[: events.index("again")], events[events.index("again") :]
    laid_out = [word for word in once if word in ("training", "timing", "no lock")]
    assert laid_out == ["training"] * 4 + ["timing"] * 4, "the reference is laid out when the device is there"
    assert [word for word in again if word in ("training", "timing", "no lock")] == ["training"] * 4


@pytest.mark.parametrize(("host", "thorough"), [(("cpu",), False), ((), True)])
def test_on_a_processor_and_for_a_benchmark_nothing_is_moved_ahead(host, thorough, events, monkeypatch):
    monkeypatch.setattr(bencher_module, "HOST_TYPES", host)
    run(events, dataclasses.replace(JOB, thorough=thorough))
    assert "training" not in events
    assert events.count("timing") == 12


def test_what_has_no_room_ahead_is_tried_again_and_reported(events, monkeypatch):
    monkeypatch.setattr(bencher_module, "HOST_TYPES", ())
    real, full = loading.lay_out, []

    def lay_out(model, setting, device):
        if setting.kind == "train" and len(full) < 1:
            full.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, setting, device)

    monkeypatch.setattr(loading, "lay_out", lay_out)
    (measured,) = Bencher(CPU, lambda event, **details: None).run(JOB)
    assert full
    assert [timing.error for timing in measured.timings] == [None] * 4


def test_cudnn_tries_few_kernels_in_a_study(events):
    before = torch.backends.cudnn.benchmark_limit
    try:
        for thorough, limit in ((False, KERNELS), (True, KERNELS_THOROUGH)):
            Bencher(CPU, lambda event, **details: None).run(
                dataclasses.replace(JOB, thorough=thorough, kinds=("infer",))
            )
            assert torch.backends.cudnn.benchmark_limit == limit
    finally:
        torch.backends.cudnn.benchmark_limit = before
        torch.backends.cudnn.benchmark = False


class Busy(Nvml):
    """A GPU that says that it is busy, whenever it is asked."""

    asked = 0

    def __init__(self):
        self.missing = "no library"

    def utilization(self):
        self.asked += 1
        return 70


def test_nobody_waits_for_nvml_to_forget_our_own_work():
    """Its 70 % may be what a process of ours has done a moment ago: they are nobody's."""
    bencher = Bencher(CPU, lambda event, **details: None)
    bencher.nvml = Busy()
    (first,) = bencher.run(JOB)
    assert first.timings[0].conditions["busy_before"] == 70
    assert bencher.nvml.asked > 1, "until NVML should have forgotten"
    asked = bencher.nvml.asked
    (second,) = bencher.run(JOB)
    assert second.timings[0].conditions["busy_before"] is None
    assert not any("busy with other work" in word for word in second.timings[0].conditions["warnings"])
    assert bencher.nvml.asked == asked
    long_ago = time.time() - 2 * FORGETS_S
    os.utime(lock_folder("cpu") / ENDED, (long_ago, long_ago))
    (third,) = bencher.run(JOB)
    assert third.timings[0].conditions["busy_before"] == 70
