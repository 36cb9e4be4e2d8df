import dataclasses
import json

import pytest

from archsearch.arch.networks import find
from archsearch.benchmark.jobs import REFERENCE, Job, Measured
from archsearch.benchmark.timing import Setting, Timing
from archsearch.recipes import BENCHES
from archsearch.stats.intervals import RETIMING, median_interval

SETTING = Setting("train", "compile", "channels_first", "amp_bf16", 8, 160)
BLOCKS = (0.2, 0.21, 0.19, 0.2, 0.4)
TIMING = Timing(SETTING, BLOCKS, (0.1, 0.105, 0.095, 0.1, 0.2), 3, 7, True, 120.5, 3.5, True, None, {"warnings": ["w"]})


def test_figures_from_blocks():
    assert TIMING.step_s == 0.2
    assert TIMING.throughput == 40.0
    assert TIMING.quartiles_s == (0.2, 0.21)
    assert TIMING.interval_s == median_interval(BLOCKS)
    low, high = TIMING.throughput_interval
    assert low <= 40.0 <= high
    assert low == 8 / TIMING.interval_s[1]
    assert TIMING.ratio == pytest.approx(0.5)
    assert TIMING.ratio_interval == pytest.approx((0.5, 0.5))
    assert TIMING.scatter == pytest.approx(0.05)
    assert TIMING.remarks == []
    assert Timing(SETTING, (1.0, 1.0, 1.3, 1.3), settled=True).remarks == ["only 4 rounds", "blocks scatter by 26%"]
    assert Timing(SETTING, BLOCKS).ratio is None
    assert Timing(SETTING, BLOCKS).ratio_interval is None
    assert Timing(SETTING, BLOCKS).remarks == ["not settled in its warm-up"]
    assert Timing(SETTING, error="no").remarks == []


def test_timings_travel_as_json():
    for timing in (TIMING, Timing(SETTING, error="out of memory at batch 8")):
        assert Timing.from_dict(json.loads(json.dumps(timing.to_dict()))) == timing


def test_single_steps_travel_and_records_from_before_them_are_read():
    timing = dataclasses.replace(TIMING, single_steps_s=(0.2, 0.3))
    assert Timing.from_dict(json.loads(json.dumps(timing.to_dict()))) == timing
    assert Timing.from_details(json.loads(json.dumps(timing.details()))).single_steps_s == (0.2, 0.3)
    assert "single_steps_s" not in TIMING.to_dict()
    assert "single_steps_s" not in TIMING.details()
    assert Timing.from_details(TIMING.details()).single_steps_s is None


def test_results_travel_as_json():
    measured = Measured(1, 2, 3, 160, (TIMING,), {"roofs": {}}, {"torch": "2"}, users_fault=True)
    assert Measured.from_dict(json.loads(json.dumps(measured.to_dict()))) == measured
    assert not measured.out_of_memory
    assert Measured(timings=(Timing(SETTING, error="out of memory at batch 8"),)).out_of_memory


def test_jobs_travel_as_json():
    networks = (find("inceptionnext_tiny", 96), find("timm:resnet18", 96), find("timm:resnet18"))
    job = Job(networks, networks[0], BENCHES["gpu"], ("infer", "latency"), ("eager", "cudagraph"), 7, True, True)
    job = dataclasses.replace(job, layouts=(("infer", "channels_last"),), failed=((REFERENCE, SETTING, "no graph"),))
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job


def test_a_job_names_everything_that_is_timed():
    bench = dataclasses.replace(BENCHES["gpu"], layout="channels_last")
    job = Job((), find("convnext_atto"), bench, ("train", "latency"), ("eager", "compile"))
    settings = job.settings(224)
    assert [(s.kind, s.mode, s.batch_size) for s in settings] == [
        ("train", "eager", 128),
        ("latency", "eager", 1),
        ("train", "compile", 128),
        ("latency", "compile", 1),
    ]
    assert {(s.layout, s.precision, s.img_size) for s in settings} == {("channels_last", "tf32", 224)}


def test_a_layout_that_is_known_is_the_networks_own_and_not_the_references():
    job = Job((), find("convnext_atto"), BENCHES["gpu"], ("train", "infer"), layouts=(("train", "channels_first"),))
    first, last = "channels_first", "channels_last"
    own = [(s.kind, s.layout) for s in job.settings(224)]
    assert own == [("train", first), ("infer", first), ("infer", last)]
    assert [(s.kind, s.layout) for s in job.settings(224, REFERENCE)] == [*own[:2], ("train", last), ("infer", last)]


def test_details_hold_what_a_record_needs():
    details = TIMING.details()
    assert json.loads(json.dumps(details)) == details
    assert details["throughput"] == 40.0
    assert details["ratio"] == pytest.approx(0.5)
    assert details["blocks_s"] == list(BLOCKS)
    assert (details["mode"], details["layout"], details["precision"]) == ("compile", "channels_first", "amp_bf16")
    assert details["conditions"] == {"warnings": ["w"]}


def noisy(scatter, rounds=12, warnings=(), fixed_s=None):
    own = tuple(0.2 * (1 + scatter * (step % 4 - 1.5)) for step in range(rounds))
    return Timing(SETTING, own, (0.1,) * rounds, settled=True, conditions={"warnings": list(warnings)}, fixed_s=fixed_s)


def test_a_score_is_the_ratio_times_the_fixed_speed_of_the_reference():
    assert noisy(0.0).score_s == 0.2
    assert noisy(0.0, fixed_s=0.15).score_s == pytest.approx(0.3)  # twice as slow as a reference of 0.15 s
    assert Timing(SETTING, (0.2, 0.2), fixed_s=0.15).score_s == 0.2  # without a reference
    assert noisy(0.0, fixed_s=0.15).details()["fixed_reference_s"] == 0.15
    assert noisy(0.0, fixed_s=0.15) == noisy(0.0)
    assert "fixed_s" not in noisy(0.0, fixed_s=0.15).to_dict()


def test_a_ratio_is_known_whatever_else_the_machine_did():
    assert noisy(0.01, warnings=["busy"]).known(0.1)
    assert not noisy(0.4).known(0.1)
    assert not noisy(0.01, warnings=["busy"]).known(0.0)  # a recipe that asks for nothing takes what was quiet
    assert noisy(0.4).known(0.0)
    assert not Timing(SETTING, BLOCKS, conditions={"warnings": ["busy"]}).known(0.1)  # no ratio to rely on


def test_the_interval_is_that_of_another_minute():
    timing = noisy(0.1)
    low, high = timing.ratio_interval
    assert timing.half_width == pytest.approx(RETIMING * (high - low) / 2 / timing.ratio, rel=0.05)
    assert Timing(SETTING, BLOCKS).half_width is None


def test_rounds_of_two_minutes_are_joined():
    first, second = noisy(0.4, rounds=4), noisy(0.4, rounds=6, fixed_s=0.15)
    both = second.joined(Timing.from_details(first.details()))
    assert both.blocks_s == first.blocks_s + second.blocks_s
    assert len(both.reference_s) == 10
    assert both.fixed_s == 0.15
    other = Timing(Setting("infer", "eager", "channels_last", "fp32", 8, 160), BLOCKS, BLOCKS)
    assert second.joined(other) is second


def test_a_record_says_the_form_where_it_is_not_the_train_form():
    """So that those of earlier versions, which say none, are read as what they are."""
    deploy = dataclasses.replace(SETTING, form="deploy")
    for setting, said in ((SETTING, None), (deploy, "deploy")):
        timing = Timing(setting, BLOCKS, BLOCKS)
        assert timing.to_dict()["setting"].get("form") == timing.details().get("form") == said
        assert Timing.from_dict(timing.to_dict()).setting == Timing.from_details(timing.details()).setting == setting
    ours, theirs = Timing(SETTING, BLOCKS, BLOCKS), Timing(deploy, BLOCKS, BLOCKS)
    assert ours.joined(theirs) == ours, "rounds of two forms are not joined"
    assert len(theirs.joined(theirs).blocks_s) == 2 * len(BLOCKS)
