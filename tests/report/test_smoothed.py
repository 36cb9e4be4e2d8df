"""Smoothed accuracies of studies: what is shown beside the observed ones, and where there are none."""

import dataclasses
import json

import numpy as np
import pytest
import tiny
from plotly import graph_objects as go
from views import LUCKY, SEARCHED, searched_view, view

from archsearch.report import smoothed
from archsearch.report.figures import pareto_figure
from archsearch.report.frame import front_rows
from archsearch.report.page.payload import page_data
from archsearch.report.smoothed import GROWTH, MOST, Smoother, smoothed_scores
from archsearch.report.tables import trials_table
from archsearch.utils.tables import render


def test_a_trial_that_was_merely_lucky_is_pulled_back():
    made = searched_view(40)
    found, observed = made.smoothed, made.scores["accuracy"]
    assert found.accuracy[LUCKY] < observed[LUCKY] - 0.01
    assert (found.low < found.accuracy).all()
    assert (found.accuracy < found.high).all()
    assert found.high[LUCKY] - found.low[LUCKY] < 4 * made.noise.standard_error(observed[LUCKY])
    assert made.observed_chances[LUCKY] > found.chances[LUCKY]
    assert made.chances is found.chances
    assert set(made.smoothed_front) == {made.trials[place].number for place in np.flatnonzero(found.front)}


def test_every_format_has_both_forms():
    made = searched_view(40)
    rows = front_rows(made.frame, made.objectives)
    assert set(rows["number"]) == {*made.front, *made.smoothed_front}
    text = render(trials_table(rows, made.objectives, made.chance_words), "markdown")
    header = text.splitlines()[0]
    assert "smoothed" in header
    assert "| front |" in header
    assert {"both", "observed", "smoothed"} >= {line.split(" | ")[4] for line in text.splitlines()[2:]}
    assert "on the front of true scores" in render(trials_table(rows, made.objectives, made.chance_words), "table")
    told = json.loads(render(trials_table(made.frame, made.objectives), "json"))[LUCKY]
    assert told["accuracy.smoothed"] == pytest.approx(made.smoothed.accuracy[LUCKY])
    assert told["accuracy.smoothed.low"] < told["accuracy.smoothed"] < told["accuracy"]
    assert told["front_smoothed"] is bool(made.smoothed.front[LUCKY])
    assert told["front_probability"] == made.smoothed.chances[LUCKY]
    assert told["front_probability_observed"] == made.observed_chances[LUCKY]


def test_the_page_and_figures_have_both_forms():
    made = searched_view(40)
    noise = page_data([made])["studies"][0]["noise"]
    assert noise["chances"]["words"] == made.chance_words
    place = noise["smoothed"]["numbers"].index(LUCKY)
    assert noise["smoothed"]["value"][place] == pytest.approx(made.smoothed.accuracy[LUCKY], rel=1e-5)
    assert noise["smoothed"]["front"] == made.smoothed_front
    assert (
        dict(zip(noise["observed"]["numbers"], noise["observed"]["shares"], strict=True)).get(LUCKY, 0.0)
        == (made.observed_chances[LUCKY])
    )
    traces = [t for t in pareto_figure([made], "macs", "accuracy").data if isinstance(t, go.Scatter)]
    texts = [text for trace in traces for text in trace.text or ()]
    assert sum("smoothed accuracy" in text for text in texts) == 40


@pytest.mark.parametrize(
    "made",
    [
        searched_view(0),
        searched_view(7),
        searched_view(40, images=0),
        searched_view(40, recipe={**SEARCHED, "space": {}}),
        searched_view(40, recipe={**SEARCHED, "objectives": ["macs", "params"]}),
    ],
    ids=["no trial", "few trials", "no noise", "no space", "no accuracy"],
)
def test_without_a_model_it_says_what_the_draws_are(made):
    assert made.smoothed is None
    assert made.smoothed_front is None
    assert "accuracy.smoothed" not in made.frame
    assert (made.chances is None) == (made.chance_words == "")
    assert made.chances is None or "probably lucky" in made.chance_words
    assert "smoothed" not in page_data([made])["studies"][0]["noise"]


def test_of_many_trials_those_far_from_the_front_are_left_out(monkeypatch):
    monkeypatch.setattr(smoothed, "MOST", 30)
    made = searched_view(120)
    found = made.smoothed
    assert 20 <= np.isfinite(found.accuracy).sum() <= 30
    assert np.isfinite(found.accuracy[[made.front[0], made.front[-1]]]).all()
    assert (found.chances[np.isnan(found.accuracy)] == 0).all()
    assert f"{np.isnan(found.accuracy).sum()} trials far from the front" in made.chance_words


def test_of_a_long_study_the_model_is_kept_for_a_while(monkeypatch):
    monkeypatch.setattr(smoothed, "CHOOSE", 40)
    smoother, whole = Smoother(), searched_view(120)
    arguments = whole.objectives, whole.noise, SEARCHED["space"]["axes"]
    fresh = smoothed_scores(whole.trials[:100], *arguments)
    assert np.array_equal(smoother(whole.trials[:100], *arguments).accuracy, fresh.accuracy)
    kept = smoother(whole.trials[:103], *arguments)
    assert np.array_equal(kept.accuracy[:100], fresh.accuracy)
    assert np.isnan(kept.chances[100:]).all()
    assert not kept.front[100:].any()
    followed = dataclasses.replace(whole, trials=whole.trials[:103], smoother=smoother)
    chances = page_data([followed])["studies"][0]["noise"]["chances"]
    told = dict(zip(chances["numbers"], chances["shares"], strict=True))
    assert [told[number] for number in (100, 101, 102)] == [None] * 3
    assert all(told.get(number, 0) is not None for number in range(100))
    anew = smoother(whole.trials[: int(100 * GROWTH) + 1], *arguments)
    assert np.isfinite(anew.accuracy).all()
    assert MOST > 40


def test_trials_of_unequal_seeds_are_compared_on_one_level():
    """Seed 1 is worth two points to every network: a mean of 51 % over both is less than 50.5 % with seed 0 alone."""
    scored = [(0.51, 1e9, [0.5, 0.52]), (0.611, 2e9, [0.6, 0.622]), (0.505, 1e9, [0.505])]
    trials = [tiny.trial(n, mean, macs, 10.0, values=values) for n, (mean, macs, values) in enumerate(scored)]
    made = view(trials, recipe={**tiny.RECIPE, "objectives": ["accuracy", "macs"]})
    assert made.front == [1, 2]
    assert made.frame["front"].tolist() == [False, True, True]
    assert made.chances[2] > made.chances[0]
    assert made.frame["accuracy"].tolist() == [0.51, 0.611, 0.505]
    assert made.frame["accuracy.level"].tolist() == pytest.approx([0.51, 0.611, 0.505 + 0.021 / 2])
