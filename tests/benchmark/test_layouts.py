import dataclasses

import pytest
import tiny
import torch

from archsearch.arch.mixer import Mixer, declare
from archsearch.arch.networks import TimmModel
from archsearch.benchmark.layouts import KnownLayouts
from archsearch.benchmark.timer import Timer, Timings
from archsearch.benchmark.timing import Setting, Timing
from archsearch.nn.device import environment
from archsearch.recipes import BenchRecipe

BENCH = BenchRecipe(
    2, precision="fp32", layout="best", rounds=3, max_rounds=0, min_block_s=0, warmup_s=0, warmup_limit_s=0
)
FACTS = environment(torch.device("cpu"))
FIRST, LAST = "channels_first", "channels_last"


def networks(count, mixer=tiny.PLAIN.mixers[0]):
    return [tiny.SMALL.replace(mixers=(mixer,) * 4, num_classes=n) for n in range(2, 2 + count)]


def timings(kind="infer", first=1.0, last=1.2, error=None, scatter=0.0):
    """Timings in both layouts with these relative throughputs."""
    for layout, ratio in ((FIRST, first), (LAST, last)):
        setting = Setting(kind, "eager", layout, "fp32", 2, 64)
        blocks = tuple(0.1 / ratio * (1 + scatter * (step % 3 - 1)) for step in range(12))
        failed = layout == LAST and error
        yield Timing(setting, error=error) if failed else Timing(setting, blocks, (0.1,) * 12, 1, settled=True)


@pytest.fixture
def known(tmp_path):
    return KnownLayouts(Timings(tmp_path, FACTS), dataclasses.replace(BENCH, known_within=0.08))


def test_two_networks_of_the_same_mixers_have_to_agree(known):
    one, two, three = networks(3)
    known.learn(one, [*timings()])
    assert known.of(three, ("infer",)) == {}
    known.learn(one, [*timings()])
    assert known.of(three, ("infer",)) == {}, "one network twice is one network"
    known.learn(two, [*timings()])
    assert known.of(three, ("infer", "train")) == {"infer": LAST}
    assert known.of(tiny.SMALL, ("infer",)) == {}, "other mixers"
    for change in ({"precision": "bf16"}, {"mode": "compile"}, {"batch_size": 8}, {"form": "deploy"}):
        assert KnownLayouts(known.timings, dataclasses.replace(BENCH, **change)).of(three, ("infer",)) == {}, change
    assert KnownLayouts(known.timings, dataclasses.replace(BENCH, layout="both")).of(three, ("infer",)) == {}
    other = Timings(known.timings.store.folder, {**FACTS, "device_name": "other"})
    assert KnownLayouts(other, BENCH).of(three, ("infer",)) == {}


@pytest.mark.parametrize("second", [{"first": 1.3}, {"last": 1.04}, {"error": "out of memory"}, {"scatter": 0.5}])
def test_until_they_do_both_are_timed(second, known):
    one, two, three, four = networks(4)
    known.learn(one, [*timings()])
    known.learn(two, [*timings(**second)])
    assert known.of(three, ("infer",)) == {}
    known.learn(three, [*timings()])
    known.learn(four, [*timings()])
    assert known.of(one, ("infer",)) == {"infer": LAST}, "the last two agree"


def test_networks_of_timms_are_known_by_name(known):
    model = TimmModel("resnet18", 64)
    known.learn(model, [*timings()])
    assert known.of(model, ("infer",)) == {}


SLOW = """
import time
import torch
from torch import nn

class SlowFirst(nn.Module):
    slow = "channels_first"

    def __init__(self, dim):
        super().__init__()

    def forward(self, x):
        last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        time.sleep(0.06 if last == (self.slow == "channels_last") else 0.01)
        return x

class SlowLast(SlowFirst):
    slow = "channels_last"

MIXERS = {"slow_first": SlowFirst, "slow_last": SlowLast}
"""


def test_once_a_layout_is_known_only_the_reference_is_timed_in_both(tmp_path):
    """The reference is compared in its own faster layout, whichever the candidate has, and loaded once."""
    (tmp_path / "slow.py").write_text(SLOW)
    for name in ("slow_first", "slow_last"):
        declare(name, {}, "here")
    beside = tiny.SMALL.replace(mixers=(Mixer.of("slow_last"),) * 4)
    events, ran = [], []
    bench = dataclasses.replace(BENCH, rounds=5, known_within=0.99)  # whatever else the machine does
    with Timer(bench, "cpu", Timings(tmp_path, FACTS), (tmp_path / "slow.py",), reference=beside) as timer:
        run = timer._run
        timer._listen = events.append
        timer._run = lambda job: ran.append(run(job)) or ran[-1]
        found = [timer(network, ("infer",))["infer"] for network in networks(4, Mixer.of("slow_first"))]
        own = timer(beside, ("infer",))["infer"]
    assert [timing.setting.layout for timing in found] == [LAST] * 4
    assert [sorted(t.setting.layout for t in measured.timings) for measured in ran] == [
        *[[FIRST, LAST]] * 2,
        *[[LAST]] * 2,
        [FIRST, LAST],
    ]
    assert all(timing.ratio < 3 for timing in found), "in its slow layout the reference takes several times as long"
    assert (own.ratio, own.setting.layout) == (1.0, FIRST)
    loads = [event["index"] for event in events if event["event"] == "loading"]
    assert loads.count(-1) == 1
