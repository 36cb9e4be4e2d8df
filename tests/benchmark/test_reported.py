"""Scores that a device reports beside the time of a step: memory and energy."""

import pytest
import tiny
import torch

from archsearch.benchmark import energy
from archsearch.benchmark.bencher import Bencher
from archsearch.benchmark.clocks import block_timer
from archsearch.benchmark.energy import energy_per_image
from archsearch.benchmark.jobs import Job
from archsearch.benchmark.loading import PreparedStep
from archsearch.benchmark.nvml import Nvml
from archsearch.benchmark.protocol import WarmUp
from archsearch.benchmark.reported import REPORTS, check_reported
from archsearch.benchmark.timing import Setting
from archsearch.errors import OptionError
from archsearch.objectives import OBJECTIVES, FromDevice, parse_objectives

READ_MJ = 1000


class Counter(Nvml):
    """An energy counter that moves by the same amount whenever it is read."""

    reads = 0

    def __init__(self):
        self.missing = "no library"

    def energy_mj(self):
        self.reads += 1
        return self.reads * READ_MJ


def test_every_report_has_a_device_that_gives_it():
    reports = {o.measured.field for o in OBJECTIVES.values() if isinstance(o.measured, FromDevice)}
    assert reports == set(REPORTS)


@pytest.mark.parametrize("name", ["peak_memory_mb", "energy_mj"])
def test_a_processor_reports_neither_memory_nor_energy(name):
    with pytest.raises(OptionError, match=f"{name} is read from .* GPU.*; leave it out on cpu"):
        check_reported(parse_objectives(f"latency_ms,{name}"), "cpu")
    check_reported(parse_objectives("latency_ms,accuracy,macs"), "cpu")


def test_energy_is_that_of_the_steps_between_two_readings_and_of_inference_alone():
    bencher = Bencher(torch.device("cpu"), lambda *event, **details: None)
    bencher.nvml = Counter()
    job = Job((tiny.PLAIN,), tiny.SMALL, tiny.BENCH, ("infer", "train"), energy=True)
    infer, train = bencher.run(job)[0].timings
    assert train.energy_mj is None
    # Readings of k blocks differ by k + 1 moves of the counter; a step runs ahead of each block of several.
    steps = infer.steps_per_block + (infer.steps_per_block > 1)
    least = READ_MJ / (steps * infer.setting.batch_size)
    assert least < infer.energy_mj <= 2 * least


@pytest.mark.parametrize(("steps", "with_ahead"), [(1, 1), (4, 5)])
def test_energy_is_shared_by_all_steps_that_ran(steps, with_ahead, monkeypatch):
    """Those that run ahead of a block cost energy too; where one step makes a block there are none."""
    monkeypatch.setattr(energy, "ENERGY_S", 0.5)
    ran = []
    setting = Setting("infer", "eager", "channels_last", "fp32", 2, 64)
    block = block_timer(lambda: ran.append(1), torch.device("cpu"))
    counter = Counter()
    mj = energy_per_image(PreparedStep(setting, block, None, warm=WarmUp(steps, 3, True, 0.1)), counter)
    # Whether there is a counter is the first question; the first block ends at the third, from which on steps count.
    assert mj == pytest.approx(READ_MJ * (counter.reads - 3) / ((len(ran) - with_ahead) * setting.batch_size))


@pytest.mark.parametrize("asked", [True, False])
def test_a_benchmark_reads_the_energy_of_every_kind_of_step_unless_told_not_to(asked, monkeypatch):
    monkeypatch.setattr(energy, "ENERGY_S", 0.5)
    bencher = Bencher(torch.device("cpu"), lambda *event, **details: None)
    bencher.nvml = Counter()
    job = Job((tiny.PLAIN,), tiny.SMALL, tiny.BENCH, ("infer", "train"), thorough=True, energy=asked)
    assert [timing.energy_mj is not None for timing in bencher.run(job)[0].timings] == [asked] * 2
