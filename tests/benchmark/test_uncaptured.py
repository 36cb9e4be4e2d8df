"""Steps that cannot be captured as CUDA graphs: real processes, in which ``capturing.py`` stands in for CUDA."""

import dataclasses
from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny
import torch

from archsearch.arch.mixer import Mixer, declare
from archsearch.benchmark.jobs import Job
from archsearch.benchmark.process import TimingProcess
from archsearch.benchmark.reference import _timings
from archsearch.benchmark.session import Session
from archsearch.benchmark.timer import Timer, Timings
from archsearch.errors import OptionError, TrialError
from archsearch.nn.device import environment, is_out_of_memory
from archsearch.recipes import BenchRecipe

FILE = Path(__file__).with_name("capturing.py")
BENCH = BenchRecipe(
    2, precision="fp32", mode="cudagraph", rounds=2, max_rounds=0, min_block_s=0, warmup_s=0, warmup_limit_s=0
)
#: What a step says that no graph can be made of, and one that no memory is left for.
REFUSED = "no CUDA graph of it: ValueError: operation not permitted when stream is capturing"
FULL = "out of memory at batch 2"


@pytest.fixture(autouse=True)
def _declared():
    """Declare the mixer in this process, which builds nothing of it."""
    declare("awkward", {"fails": 0}, "here")


def awkward(fails, classes=10):
    return tiny.SMALL.replace(mixers=(Mixer.of("awkward", fails=fails),) * 4, num_classes=classes)


FINE = tiny.SMALL.replace(num_classes=7)


def timed(networks, **changes):
    """Time networks beside ``tiny.SMALL``; return errors by network and kind of step, and the events."""
    events = []
    job = Job(networks, tiny.SMALL, BENCH, ("infer", "train"), ("cudagraph",), thorough=True)
    with Session("cpu", (FILE,), lambda event: events.append(event["event"])) as session:
        results = session.run(dataclasses.replace(job, **changes))
    for measured in results:
        assert all(timing.blocks_s or timing.error for timing in measured.timings), measured
    return [{t.setting.kind: t.error for t in measured.timings} for measured in results], events, results


def test_a_step_that_cannot_be_captured_costs_its_network_no_other_step():
    errors, events, results = timed((awkward(1), awkward(2), FINE))
    assert errors == [{"infer": None, "train": REFUSED}, {"infer": FULL, "train": FULL}, {"infer": None, "train": None}]
    assert all(measured.error is None for measured in results)
    assert events.count("died") == 3


def test_a_network_with_no_room_for_its_graphs_beside_others_has_a_process_of_its_own():
    errors, events, _ = timed((FINE, awkward(3)))
    assert errors == [{"infer": None, "train": None}] * 2
    assert events.count("deferred") == 1
    assert "died" not in events


def test_a_reference_whose_graphs_fail_is_missing_and_the_rest_is_timed():
    errors, _, results = timed((FINE,), reference=awkward(1))
    assert errors == [{"infer": None, "train": None}]
    assert results[0].reference_errors == (f"train, cudagraph, channels_last: {REFUSED}",)
    assert [timing.ratio is None for timing in results[0].timings] == [False, True]


def test_a_fixed_reference_that_cannot_be_captured_is_refused():
    job = Job((awkward(1),), awkward(1), BENCH, ("train",), ("cudagraph",))
    with TimingProcess("cpu", (FILE,)) as process, pytest.raises(OptionError, match=r"reference.*\(train: no CUDA"):
        _timings(process, job)


@pytest.mark.parametrize("run", ["", "shared"])
def test_a_study_records_it_and_goes_on_in_a_new_process(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    timings = Timings(tmp_path / "timings", environment(torch.device("cpu")))
    with Timer(BENCH, "cpu", timings, (FILE,), reference=tiny.SMALL, run=run) as timer:
        assert timer(FINE, ("infer",))["infer"].blocks_s
        with pytest.raises(TrialError, match=f"^train: {REFUSED}"):
            timer(awkward(1), ("train",))
        with pytest.raises(TrialError, match=f"^infer: {FULL}"):
            timer(awkward(2), ("infer",))
        assert timer(awkward(1), ("infer",))["infer"].blocks_s


def test_other_workers_of_a_run_go_on_too(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    timings = Timings(tmp_path / "timings", environment(torch.device("cpu")))
    one, other = (Timer(BENCH, "cpu", timings, (FILE,), reference=tiny.SMALL, run="r") for _ in range(2))
    with one, other:
        assert other(FINE, ("infer",))
        with pytest.raises(TrialError, match="no CUDA graph"):
            one(awkward(1), ("train",))
        assert other(FINE, ("train",))["train"].blocks_s


@contextmanager
def failing():
    """Raise another error than the one that ends it, as ``torch.cuda.graph`` does."""
    try:
        yield
    finally:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


def test_memory_that_runs_out_in_a_capture_is_known():
    with pytest.raises(RuntimeError, match="previous error") as caught, failing():
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert is_out_of_memory(caught.value)
    caught.value.__context__.__context__ = caught.value  # a circle ends too
    assert is_out_of_memory(caught.value)
    alone = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    assert not is_out_of_memory(alone)
    alone.__cause__ = MemoryError()
    assert is_out_of_memory(alone)


WAITS = """
from torch import nn

class Waits(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x):
        if self.training and float(x.sum()) == 0.5:  # waits for the device, which no graph can hold
            return x
        return self.conv(x)

MIXERS = {"waits": Waits}
"""


@pytest.mark.gpu
def test_on_a_gpu_a_step_that_waits_for_the_device_costs_itself_alone(tmp_path):
    declare("waits", {}, "here")
    (tmp_path / "waits.py").write_text(WAITS)
    waits = tiny.SMALL.replace(mixers=(Mixer.of("waits"),) * 4)
    job = Job((waits, FINE), tiny.SMALL, BENCH, ("infer", "train"), ("cudagraph",), thorough=True)
    with Session("cuda:0", (tmp_path / "waits.py",)) as session:
        first, second = session.run(job)
    assert {t.setting.kind: bool(t.error) for t in first.timings} == {"infer": False, "train": True}
    assert not any(t.error for t in second.timings)
    assert all(t.peak_memory_mb > 0 for t in second.timings)
