import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsearch.analysis.fronts import on_front
from archsearch.objectives import OBJECTIVES, parse_objectives


def slow_front(frame, objectives):
    """By the definition, pair by pair."""
    costs = frame[[o.name for o in objectives]].to_numpy(dtype=float) * [
        1 if o.direction == "minimize" else -1 for o in objectives
    ]
    return [
        not np.isnan(a).any() and not any((b <= a).all() and (b < a).any() for b in costs if not np.isnan(b).any())
        for a in costs
    ]


values = st.one_of(st.integers(0, 4).map(float), st.just(float("nan")))


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


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_objective_has_one_winner(name):
    frame = pd.DataFrame({name: [1.0, 3.0, 2.0]})
    best = 1 if OBJECTIVES[name].direction == "maximize" else 0
    assert np.flatnonzero(on_front(frame, parse_objectives(name))).tolist() == [best]
