"""Speeds of earlier versions are read beside a fixed speed of the reference."""

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from archsearch.benchmark.reference_speed import ReferenceSpeed
from archsearch.benchmark.timing import Setting, Timing
from archsearch.search.storage.rescoring import (
    REFERENCE_SPEEDS,
    Rescoring,
    is_known,
    refixed,
    score_of,
    speeds_from,
    waited,
)
from archsearch.stats.noise import score_interval

NAMES = ("accuracy", "infer_throughput", "latency_ms")


def timing(own, reference, kind="infer", warnings=()):
    setting = Setting(kind, "eager", "channels_last", "fp32", 1 if kind == "latency" else 2, 224)
    return Timing(setting, tuple(own), tuple(reference), 1, settled=True, conditions={"warnings": list(warnings)})


def trial(own, reference, accuracy=0.5, warnings=()):
    """A trial as version 0.1.0 recorded it: its speeds are those of its own blocks."""
    infer = timing(own, reference, warnings=warnings)
    latency = timing(own, reference, "latency", warnings)
    scores = {"accuracy": accuracy, "infer_throughput": 2 / infer.step_s, "latency_ms": 1e3 * latency.step_s}
    attrs = {
        "scores": scores,
        "details": {"infer_throughput": infer.details(), "latency_ms": latency.details(), "accuracy": {"seeds": [0]}},
        "environment": {"host": "h", "device_name": "d", "torch": "2", "load_average": 9.0},
    }
    return create_trial(state=TrialState.COMPLETE, values=[scores[name] for name in NAMES], user_attrs=attrs)


@pytest.fixture
def record():
    study = optuna.create_study(directions=["maximize", "maximize", "minimize"])
    study.add_trial(trial([0.1] * 5, [0.2] * 5))
    study.add_trial(trial([0.9] * 5, [0.6] * 5, warnings=["other programs kept 1.9 of 2 cores busy"]))
    return study


def test_a_busy_minute_no_longer_shows_in_the_scores(record):
    quiet, busy = map(Rescoring(record, NAMES), record.trials)
    assert quiet.values == pytest.approx([0.5, 20.0, 100.0])  # as it was: the reference took 0.2 s
    assert busy.values == pytest.approx([0.5, 2 / 0.3, 300.0])  # 1.5 times as slow as the reference
    assert busy.user_attrs["scores"]["infer_throughput"] == busy.values[1]
    low, high = score_interval("infer_throughput", busy.user_attrs["details"]["infer_throughput"])
    assert low == pytest.approx(high) == pytest.approx(2 / 0.3)


def test_reading_changes_nothing_on_record(record):
    before = [(t.values, t.user_attrs) for t in record.get_trials()]
    reading = Rescoring(record, NAMES)
    again = [reading(reading(t)) for t in record.get_trials(deepcopy=False)]
    assert [(t.values, t.user_attrs) for t in record.get_trials()] == before
    assert [t.values for t in again] == [reading(t).values for t in record.trials]


def test_the_recorded_speed_goes_before_that_of_the_trials(record):
    speed = ReferenceSpeed(0.4, 10, False, {}, "timed for it", "2026-01-01").to_dict()
    record.set_user_attr(REFERENCE_SPEEDS, {"infer": speed})
    first = Rescoring(record, NAMES)(record.trials[0])
    assert first.values == pytest.approx([0.5, 10.0, 100.0])  # latency has no recorded speed, and stays


def test_the_speed_comes_from_undisturbed_blocks_or_else_from_the_fast_ones():
    busy = ["other programs kept 1.9 of 2 cores busy"]
    mixed = speeds_from([trial([1.0] * 3, [0.2] * 3), trial([1.0] * 3, [5.0] * 3, warnings=busy)])
    assert (mixed["infer"].step_s, mixed["infer"].disturbed, mixed["infer"].blocks) == (0.2, False, 3)
    assert mixed["infer"].facts["host"] == "h"
    assert "load_average" not in mixed["infer"].facts
    loud = speeds_from([trial([1.0] * 5, [5.0, 1.0, 2.0, 9.0, 3.0], warnings=busy)])
    assert (loud["infer"].step_s, loud["infer"].disturbed) == (2.0, True)
    assert speeds_from([]) == {}


def test_a_trial_without_speeds_or_ratio_stays():
    study = optuna.create_study(directions=["maximize"])
    study.add_trial(create_trial(state=TrialState.COMPLETE, values=[0.5], user_attrs={"scores": {"accuracy": 0.5}}))
    alone = timing([0.1] * 3, [])
    attrs = {"scores": {"infer_throughput": 20.0}, "details": {"infer_throughput": alone.details()}}
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs=attrs))
    reading = Rescoring(study, ("accuracy",))
    for stored in study.get_trials(deepcopy=False):
        assert reading(stored) is stored


def test_a_timing_that_is_taken_over_gets_the_speed_of_its_new_study():
    detail = timing([0.1] * 5, [0.2] * 5).details()
    assert score_of("infer_throughput", refixed("infer_throughput", detail, {"infer": 0.5}), 20.0) == 2 * 2 / 0.5
    assert score_of("infer_throughput", refixed("infer_throughput", detail, {}), 20.0) == 20.0
    assert score_of("peak_memory_mb", refixed("peak_memory_mb", detail, {"infer": 0.5}), 7.0) == 7.0


@pytest.mark.parametrize(("spread", "within", "known"), [(0.001, 0.1, True), (0.5, 0.1, False), (0.5, 0.0, True)])
def test_what_is_taken_over_is_known_well_enough(spread, within, known):
    """Whatever else the machine did; a recipe that asks for nothing takes what nothing disturbed."""
    own = [0.1 * (1 + spread * step) for step in range(10)]
    assert is_known(timing(own, [0.1] * 10).details(), within) == known
    disturbed = timing(own, [0.1] * 10, warnings=["busy"])
    assert is_known(disturbed.details(), within) == (known and within > 0)
    assert disturbed.known(within) == (known and within > 0)


def test_latencies_of_a_gpu_count_where_their_steps_waited_for_each_other():
    gpu, cpu = {"torch": "2", "cuda": "13.0"}, {"torch": "2"}
    before, now = {"kind": "latency"}, {"kind": "latency", "single_steps_s": [0.1, 0.2]}
    assert [waited(detail, gpu) for detail in (before, now, {"kind": "infer"})] == [False, True, True]
    assert waited(before, cpu)
