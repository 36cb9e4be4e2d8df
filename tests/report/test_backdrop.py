import numpy as np
import pytest
from tiny import OBJECTIVES, trial
from views import one_of_each, view

from archsearch.objectives import OBJECTIVES as ALL
from archsearch.report.backdrop import beyond, extent, marks, pair_front, pair_fronts, ticks
from archsearch.report.page.payload import page_data


def test_the_front_of_a_pair_is_that_of_its_two_scores_alone():
    rng = np.random.default_rng(0)
    made = view([trial(i, *row) for i, row in enumerate(rng.integers(1, 12, (60, 3)) / [20, 1e-9, 1])])
    for x, y, places in pair_fronts(made):
        scores = [
            [(1 if ALL[name].direction == "minimize" else -1) * t.evaluation.scores[name] for name in (x, y)]
            for t in made.trials
        ]
        beaten = [any(a[0] <= b[0] and a[1] <= b[1] and a != b for a in scores) for b in scores]
        assert sorted(places) == [place for place, lost in enumerate(beaten) if not lost]
        along = [made.trials[place].evaluation.scores[x] for place in places]
        assert along == sorted(along)


def test_only_complete_trials_are_on_the_front_of_a_pair():
    made = view()
    assert pair_front(made, ALL["macs"], ALL["infer_throughput"]) == [0]
    assert pair_front(made, ALL["macs"], ALL["latency_ms"]) == []


def test_the_page_gets_what_its_axes_show():
    told = page_data([view()])
    assert told["studies"][0]["fronts"]["accuracy macs"] == pair_front(view(), ALL["accuracy"], ALL["macs"])
    assert told["common"]["beyond"]["accuracy"] == pytest.approx(beyond([view()], ALL["accuracy"]))
    assert told["common"]["ticks"]["macs"] == ".3~s"
    assert page_data([view()], trials=False)["common"] == {
        "ticks": {},
        "beyond": {},
        "marks": {"macs": [], "params": [], "macs params": []},
    }


def test_ticks_have_prefixes_only_where_scores_are_large():
    small, large = view([trial(0, 0.5, 1e9, 100)]), view([trial(0, 0.5, 1e9, 2000)], "large")
    assert ticks([small], ALL["infer_throughput"]) == ".4~g"
    assert ticks([small, large], ALL["infer_throughput"]) == ".3~s"
    assert ticks([small], ALL["accuracy"]) == ALL["accuracy"].ticks


def test_names_of_marks_leave_room_for_one_another():
    found = marks([view([trial(0, 0.5, 3.9e9, 100), trial(1, 0.6, 4.9e9, 50)])], ("macs", "accuracy"))
    at = [mark.macs for mark in found]
    assert at == sorted(at)
    named = [mark.macs for mark in found if mark.named]
    assert min(np.diff(named)) > 0.03 * (at[-1] - at[0])
    assert not marks([view()], ("accuracy", "infer_throughput"))


def test_extents_leave_out_what_is_unknown():
    assert extent([view()], "accuracy") == (0.4, 0.6)
    assert extent([view(one_of_each()[5:])], "accuracy") is None
    assert beyond([view(one_of_each()[5:])], OBJECTIVES[0]) == {}
