"""A stored study's front with the speeds of another machine."""

import dataclasses

import pytest
from elsewhere import DEVICE, rows, speed, write
from tiny import FAILED, trial
from views import confirmed_view, view

from archsearch.arch.networks import network
from archsearch.benchmark.speeds import read_speeds
from archsearch.errors import OptionError
from archsearch.report.confirm_tables import confirmation_document
from archsearch.report.figures import all_figures
from archsearch.report.frame import front_rows
from archsearch.report.other_speeds import with_speeds
from archsearch.report.page.payload import page_data
from archsearch.report.tables import trials_table
from archsearch.utils.tables import render

NAMES = ("inceptionnext_atto", "convnext_atto", "convnext_femto", "inceptionnext_tiny")
ARCHS = [network(name) for name in NAMES]


def searched(**changes):
    """A study in which trial 2 is slow here; on the other board, which does not know trial 3, it is the fastest."""
    known = [trial(0, 0.5, 1e9, 100), trial(1, 0.6, 2e9, 50), trial(2, 0.4, 3e9, 20), trial(3, 0.7, 4e9, 10)]
    known = [dataclasses.replace(one, arch=arch) for one, arch in zip(known, ARCHS, strict=True)]
    return view([*known, FAILED], **changes)


@pytest.fixture
def speeds(tmp_path):
    return read_speeds(write(tmp_path / "f.json", rows([ARCHS[2], ARCHS[1], ARCHS[0]])))


def test_speeds_of_the_file_stand_in_for_those_measured_here(speeds):
    before = searched()
    assert before.front == [0, 1, 3]
    told = with_speeds(before, speeds)
    after = told.view
    assert (told.unknown, told.untrained, told.unjudged) == ([3], [], ())
    assert after.front == [0, 1, 2]
    got = {t.number: t.evaluation.scores.get("infer_throughput") for t in after.trials}
    assert got == {number: pytest.approx(speed(place)) for number, place in ((0, 2), (1, 1), (2, 0), (9, 1))}
    assert after.trials[0].evaluation.scores["latency_ms"] == pytest.approx(1e3 / speed(2, "latency"))
    assert after.trials[0].evaluation.details["infer_throughput"]["device"] == DEVICE
    assert before.trials[0].evaluation.scores["infer_throughput"] == 100  # which stays as it is


def test_a_study_without_speeds_gets_one(speeds):
    recipe = {**searched().recipe, "objectives": ["accuracy", "macs"]}
    after = with_speeds(searched(recipe=recipe), speeds).view
    assert [o.name for o in after.objectives] == ["accuracy", "macs", "infer_throughput"]
    assert after.front == [0, 1, 2]


def test_a_file_of_latencies_alone_gives_those(tmp_path):
    only = [{k: v for k, v in row.items() if not k.startswith(("infer_", "train_"))} for row in rows(ARCHS[:2])]
    recipe = {**searched().recipe, "objectives": ["accuracy"]}
    told = with_speeds(searched(recipe=recipe), read_speeds(write(tmp_path / "f.json", only)))
    after = told.view
    assert [o.name for o in after.objectives] == ["accuracy", "latency_ms"]
    assert told.unknown == [2, 3]


def test_the_device_is_named_wherever_a_speed_is(speeds):
    after = with_speeds(searched(), speeds).view
    table = trials_table(front_rows(after.frame, after.objectives), after.objectives)
    assert f"infer (img/s on {DEVICE})" in render(table, "table")
    assert after.frame["speeds"].tolist() == [DEVICE] * 4
    page = page_data([after])
    assert page["objectives"]["infer_throughput"]["axis"].endswith(f"on {DEVICE} (img/s)")
    assert page["objectives"]["latency_ms"]["title"].endswith(f"on {DEVICE}")
    assert page["objectives"]["macs"]["title"] == "target MACs"
    assert page["studies"][0]["recipe"]["speeds"]["device"] == DEVICE
    figures = all_figures([after])
    drawn = figures["pareto-infer_throughput-accuracy"]()
    assert DEVICE in drawn.layout.xaxis.title.text
    for figure in figures.values():
        figure()


def test_speeds_of_two_devices_are_no_common_objective(speeds):
    after = with_speeds(searched(), speeds).view
    page = page_data([searched(name="here"), after])
    assert page["objectives"]["infer_throughput"]["axis"].endswith("throughput (img/s)")
    assert "pareto-infer_throughput-accuracy" not in all_figures([searched(name="here"), after])


def test_a_study_without_a_complete_trial_has_none_to_leave_out(speeds):
    told = with_speeds(view([FAILED]), speeds)
    assert (told.view.front, told.unknown, told.view.timed_on) == ([], [], DEVICE)


def test_nothing_in_common_is_refused_in_one_line(tmp_path):
    speeds = read_speeds(write(tmp_path / "f.json", rows([network("convnext_pico")])))
    with pytest.raises(OptionError, match=r"of none .*benchmark study:small#0 study:small#1") as refused:
        with_speeds(searched(), speeds)
    assert "\n" not in str(refused.value)


def test_a_confirmation_is_compared_by_the_same_speeds(tmp_path):
    made = confirmed_view()
    archs = [network(name) for name in NAMES[:2]]
    trials = [dataclasses.replace(one, arch=archs[min(one.number, 1)]) for one in made.trials]
    candidates = tuple(
        dataclasses.replace(one, arch=archs[0 if one.number == 0 else 1]) for one in made.confirmation.candidates
    )
    made = dataclasses.replace(
        made, trials=trials, confirmation=dataclasses.replace(made.confirmation, candidates=candidates)
    )
    speeds = read_speeds(write(tmp_path / "f.json", rows(archs[::-1])))
    deployed = read_speeds(write(tmp_path / "g.json", rows(archs, form="deploy")))
    of_form = with_speeds(made, deployed).view
    assert of_form.confirmation.objectives == of_form.objectives
    told = with_speeds(made, speeds).view.confirmation
    assert [one.candidate.scores["infer_throughput"] for one in told.members] == [
        pytest.approx(speed(0 if one.arch == archs[1] else 1)) for one in candidates
    ]
    assert [one.accuracy for one in told.members] == [one.accuracy for one in made.confirmation.members]
    assert f"infer (img/s on {DEVICE})" in render(confirmation_document(told), "table")


def limited(*constraints, baseline=ARCHS[1]):
    """The study with constraints, by which trial 2, slow here, was not trained; trial 1 broke one on MACs too."""
    made = searched(
        recipe={**searched().recipe, "constraints": [*constraints], "space": {"baseline": baseline.to_dict()}}
    )
    trials = []
    for one in made.trials:
        slow = {name: 0.6 if one.number == 2 else -0.1 for name in constraints if not name.startswith("macs")}
        heavy = {name: 0.5 if one.number == 1 else -0.5 for name in constraints if name.startswith("macs")}
        scores = {name: score for name, score in one.evaluation.scores.items() if name != "accuracy" or one.number != 2}
        evaluation = dataclasses.replace(one.evaluation, scores=scores, excess=slow | heavy)
        state = "infeasible" if one.state == "complete" and evaluation.infeasible else one.state
        trials.append(dataclasses.replace(one, evaluation=evaluation, state=state))
    return dataclasses.replace(made, trials=trials)


def states(told):
    return {trial.number: trial.state for trial in told.view.trials}


@pytest.mark.parametrize("bound", ["infer_throughput >= 40", "infer_throughput >= 0.8 * baseline"])
def test_constraints_on_speeds_are_judged_by_those_of_the_file(speeds, bound):
    told = with_speeds(limited("macs <= 1900000000", bound), speeds)
    assert states(told) == {0: "infeasible", 1: "infeasible", 9: "failed"}
    assert (told.unknown, told.untrained, told.unjudged) == ([3], [2], ())
    first, second, _ = told.view.trials
    assert first.evaluation.excess[bound] == pytest.approx(1 - speed(2) / 40)
    assert second.evaluation.excess == {"macs <= 1900000000": 0.5, bound: pytest.approx(1 - speed(1) / 40)}
    assert told.view.recipe["constraints"] == ["macs <= 1900000000", bound]
    assert told.view.front == []
    kept = with_speeds(limited("infer_throughput >= 30"), speeds)
    assert (states(kept), kept.view.front) == ({0: "complete", 1: "complete", 9: "failed"}, [0, 1])


def test_a_trial_that_keeps_its_constraints_there_and_lacks_no_score_is_complete(speeds):
    made = limited("infer_throughput >= 40")
    counted = dataclasses.replace(made, recipe={**made.recipe, "objectives": ["macs", "infer_throughput"]})
    told = with_speeds(counted, speeds)
    assert states(told) == {0: "infeasible", 1: "complete", 2: "complete", 9: "failed"}


@pytest.mark.parametrize("bound", ["energy_mj <= 40", "infer_throughput >= 0.8 * baseline"])
def test_a_constraint_that_the_file_does_not_tell_of_is_left_out(speeds, bound):
    told = with_speeds(limited("macs <= 1900000000", bound, baseline=ARCHS[3]), speeds)
    assert told.unjudged == (bound,)
    assert told.view.recipe["constraints"] == ["macs <= 1900000000"]
    assert all(bound not in trial.evaluation.excess for trial in told.view.trials)
    assert (states(told), told.untrained) == ({0: "complete", 1: "infeasible", 9: "failed"}, [2])
