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
    after, left_out = with_speeds(before, speeds)
    assert left_out == [3]
    assert after.front == [0, 1, 2]
    got = {t.number: t.evaluation.scores.get("infer_throughput") for t in after.trials}
    assert got == {number: pytest.approx(speed(place)) for number, place in ((0, 2), (1, 1), (2, 0), (9, 1))}
    assert after.trials[0].evaluation.scores["latency_ms"] == pytest.approx(1e3 / speed(2, "latency"))
    assert after.trials[0].evaluation.details["infer_throughput"]["device"] == DEVICE
    assert before.trials[0].evaluation.scores["infer_throughput"] == 100  # which stays as it is


def test_a_study_without_speeds_gets_one(speeds):
    recipe = {**searched().recipe, "objectives": ["accuracy", "macs"]}
    after, _ = with_speeds(searched(recipe=recipe), speeds)
    assert [o.name for o in after.objectives] == ["accuracy", "macs", "infer_throughput"]
    assert after.front == [0, 1, 2]


def test_a_file_of_latencies_alone_gives_those(tmp_path):
    only = [{k: v for k, v in row.items() if not k.startswith(("infer_", "train_"))} for row in rows(ARCHS[:2])]
    recipe = {**searched().recipe, "objectives": ["accuracy"]}
    after, left_out = with_speeds(searched(recipe=recipe), read_speeds(write(tmp_path / "f.json", only)))
    assert [o.name for o in after.objectives] == ["accuracy", "latency_ms"]
    assert left_out == [2, 3]


def test_the_device_is_named_wherever_a_speed_is(speeds):
    after, _ = with_speeds(searched(), speeds)
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
    after, _ = with_speeds(searched(), speeds)
    page = page_data([searched(name="here"), after])
    assert page["objectives"]["infer_throughput"]["axis"].endswith("throughput (img/s)")
    assert "pareto-infer_throughput-accuracy" not in all_figures([searched(name="here"), after])


def test_a_study_without_a_complete_trial_has_none_to_leave_out(speeds):
    after, left_out = with_speeds(view([FAILED]), speeds)
    assert (after.front, left_out, after.timed_on) == ([], [], DEVICE)


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
    assert with_speeds(made, deployed)[0].confirmation.objectives == with_speeds(made, deployed)[0].objectives
    told = with_speeds(made, speeds)[0].confirmation
    assert [one.candidate.scores["infer_throughput"] for one in told.members] == [
        pytest.approx(speed(0 if one.arch == archs[1] else 1)) for one in candidates
    ]
    assert [one.accuracy for one in told.members] == [one.accuracy for one in made.confirmation.members]
    assert f"infer (img/s on {DEVICE})" in render(confirmation_document(told), "table")
