"""Scores that a device reports beside the time of a step: memory and energy."""

import pytest
import tiny
import torch

from archsearch.benchmark.bencher import Bencher
from archsearch.benchmark.jobs import Job
from archsearch.benchmark.nvml import Nvml
from archsearch.benchmark.reported import REPORTS, check_reported
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
    # Readings of k blocks (a step runs ahead of each) differ by k + 1 moves of the counter.
    least = READ_MJ / ((1 + infer.steps_per_block) * infer.setting.batch_size)
    assert least < infer.energy_mj <= 2 * least
