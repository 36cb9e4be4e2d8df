"""Candidates near the front, whose speed is found out better than that of others."""

import dataclasses

import pytest
import tiny

from archsearch import Engine, StudySpec
from archsearch.benchmark.timing import Setting, Timing
from archsearch.search import run
from archsearch.search.definition import create_or_resume
from archsearch.search.engines.runner import ProgressListener, Runner, run_here
from archsearch.search.near_front import NearFront
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.storage.opening import open_storage
from archsearch.trial import Evaluation

SETTING = Setting("infer", "eager", "channels_last", "fp32", 2, 64)


@pytest.fixture
def search(tmp_path):
    """A search of two objectives, in which a speed near the front has to be known within 1.5 %."""
    bench = dataclasses.replace(tiny.BENCH, known_within=0.2, near_front=0.015)
    study = dataclasses.replace(tiny.make_study("inception_dw", objectives="accuracy,infer_throughput"), bench=bench)
    return Search(study, StorageMirror(create_or_resume(study, open_storage(str(tmp_path / "s.db"), create=True))))


def measured(accuracy, speed, scatter=0.05, error=None):
    """A complete evaluation whose ratio to the reference scatters."""
    blocks = tuple(0.1 / speed * (1 + scatter * (step % 4 - 1.5)) for step in range(8))
    timing = Timing(SETTING, blocks, (0.1,) * 8, 1, settled=True, fixed_s=0.1)
    scores = {"accuracy": accuracy, "macs": 1.0, "infer_throughput": 2 / timing.score_s}
    return Evaluation(scores, {"infer_throughput": timing.details()}, error=error)


def of_made(search, *evaluations):
    for evaluation in evaluations:
        search.tell(search.ask(), evaluation, {})
    return NearFront(search)


def test_a_speed_is_in_doubt_where_it_decides_about_the_front(search):
    near = of_made(search, measured(0.5, 1.0, 0.001))
    assert near.doubtful(measured(0.6, 0.8)) == ["infer_throughput"], "on the front"
    assert near.doubtful(measured(0.4, 0.98)) == ["infer_throughput"], "on it at the better end of its interval"
    assert near.doubtful(measured(0.4, 0.6)) == [], "off it at any end"
    assert near.doubtful(measured(0.6, 0.8, 0.001)) == [], "known well"
    assert near.doubtful(measured(0.6, 0.8, error="diverged")) == []
    assert near.doubtful(dataclasses.replace(measured(0.6, 0.8), excess={"macs <= 1": 0.1})) == []
    near = of_made(search, measured(0.7, 1.2, 0.001))
    assert near.doubtful(measured(0.6, 0.8)) == [], "the front has moved on"


def test_other_recipes_ask_for_nothing(search):
    bench = dataclasses.replace(search.study.bench, near_front=0.0)
    search.study = dataclasses.replace(search.study, bench=bench)
    assert NearFront(search).doubtful(measured(0.6, 0.8)) == []


class Evaluate:
    """Evaluates candidates from a list, and gives what was asked once more better known, or what ``again`` says."""

    def __init__(self, evaluations, again=None):
        self.left, self.again, self.known = list(evaluations), again, []

    def __call__(self, arch, seed, report, known):
        self.known.append(known)
        if known is None:
            return self.left.pop(0), {"device": "first"}
        return self.again or measured(known.scores["accuracy"], 0.81, 0.001), {"device": "second"}


class Heard(ProgressListener):
    def __init__(self):
        self.ends = []

    def ended(self, trial):
        self.ends.append(trial.number)


def test_a_candidate_on_the_front_is_timed_once_more_at_once_and_told_once(search):
    evaluate, heard = Evaluate([measured(0.6, 0.8), measured(0.3, 0.4)]), Heard()
    run_here(Runner(search, 2, heard), evaluate)
    assert [known is None for known in evaluate.known] == [True, False, True], "the second is dominated"
    known = evaluate.known[1]
    assert known.scores.keys() == {"accuracy", "macs"}
    assert known.details.keys() == {"infer_throughput"}, "whose rounds are joined"
    assert heard.ends == [0, 1]
    first, second = search.trials
    assert first.evaluation.scores["infer_throughput"] == pytest.approx(2 * 0.81 / 0.1, rel=0.01)
    assert (first.environment["device"], first.state, second.state) == ("second", "complete", "complete")
    assert len(search.record.trials) == 2


@pytest.mark.parametrize(
    "again", [measured(0.6, 0.8, error="the device was lost"), dataclasses.replace(measured(0.6, 0.8), put_off="busy")]
)
def test_where_timing_it_once_more_fails_the_first_result_holds(again, search):
    first = measured(0.6, 0.8)
    run_here(Runner(search, 1, ProgressListener()), Evaluate([first], again))
    (trial,) = search.trials
    assert (trial.state, trial.evaluation.scores, trial.environment["device"]) == ("complete", first.scores, "first")


def test_a_worker_that_dies_over_it_costs_nothing(search):
    runner, first = Runner(search, 1, ProgressListener()), measured(0.6, 0.8)
    candidate = runner.next("a")
    runner.ended(candidate.number, first, {})
    assert not search.trials
    assert runner.next("a").number == candidate.number
    runner.lost(candidate.number, "SIGKILL")
    (trial,) = search.trials
    assert (trial.number, trial.evaluation.scores) == (candidate.number, first.scores)
    assert runner.next("a") is None


def test_a_study_whose_recipe_asks_for_it_joins_the_rounds_of_both_timings(tmp_path, small_space, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    spec = StudySpec(
        space=small_space,
        objectives=("macs", "infer_throughput"),
        n_trials=1,
        sampler="random",
        bench="smoke",
        bench_changes={"known_within": 0.99, "near_front": 1e-9, "rounds": 4, "img_size": 64},
        engine=Engine(workers=0),
        device="cpu",
        storage=str(tmp_path / "s.db"),
    )
    (trial,) = run(spec).trials
    detail = trial.evaluation.details["infer_throughput"]
    assert len(detail["blocks_s"]) == len(detail["reference_s"]) >= 8
    assert len({*detail["blocks_s"]}) >= 8, "no round twice"
    assert trial.evaluation.scores["infer_throughput"] == pytest.approx(
        detail["ratio"] * detail["batch_size"] / detail["fixed_reference_s"]
    )
