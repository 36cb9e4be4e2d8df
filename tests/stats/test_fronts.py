import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsearch.objectives import OBJECTIVES, parse_objectives
from archsearch.stats.fronts import on_front


def slow_front(frame, objectives):
    """By the definition, pair by pair and number by number; of finite rows alone."""
    names = [(o.name, 1 if o.direction == "minimize" else -1) for o in objectives]
    costs = [[sign * float(row[name]) for name, sign in names] for row in frame.to_dict("records")]
    known = [all(map(math.isfinite, cost)) for cost in costs]

    def dominates(b, a):
        return all(x <= y for x, y in zip(b, a, strict=True)) and b != a

    rivals = [cost for cost, whole in zip(costs, known, strict=True) if whole]
    return [whole and not any(dominates(b, a) for b in rivals) for a, whole in zip(costs, known, strict=True)]


values = st.one_of(st.integers(0, 4).map(float), st.sampled_from([math.nan, math.inf, -math.inf]))


@given(
    st.lists(st.tuples(values, values, values), max_size=25),
    st.sets(st.sampled_from(sorted(OBJECTIVES)), min_size=3, max_size=3),
)
def test_front_is_the_slow_one(rows, names):
    objectives = parse_objectives(",".join(sorted(names)))
    frame = pd.DataFrame(rows, columns=[o.name for o in objectives], dtype=float)
    frame.index += 7
    marks = on_front(frame, objectives)
    assert marks.tolist() == slow_front(frame, objectives)
    assert marks.index.equals(frame.index)


def test_a_frame_may_lack_a_column_and_hold_words_beside():
    objectives = parse_objectives("accuracy,macs")
    frame = pd.DataFrame({"accuracy": [0.9, None, 0.7], "macs": [2, 1, 1], "key": "word"}, index=[5, 5, 7])
    assert on_front(frame, objectives).tolist() == [True, False, True]
    assert not on_front(frame.drop(columns="macs"), objectives).any()
    assert on_front(frame.iloc[:0], objectives).empty


@given(st.lists(st.tuples(values, values, values, values), max_size=25))
def test_costs_of_any_number_make_the_slow_front(rows):
    for count in (1, 2, 4):
        objectives = parse_objectives(",".join(sorted(OBJECTIVES)[:count]))
        frame = pd.DataFrame([row[:count] for row in rows], columns=[o.name for o in objectives], dtype=float)
        assert on_front(frame, objectives).tolist() == slow_front(frame, objectives)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_objective_has_one_winner(name):
    frame = pd.DataFrame({name: [1.0, 3.0, 2.0]})
    best = 1 if OBJECTIVES[name].direction == "maximize" else 0
    assert np.flatnonzero(on_front(frame, parse_objectives(name))).tolist() == [best]
