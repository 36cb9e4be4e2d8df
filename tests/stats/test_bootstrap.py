import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.stats import bootstrap
from archsearch.stats.bootstrap import DRAWS, contenders, front_probability, shares_on_front
from archsearch.stats.fronts import nondominated


def near(share):
    """Within four standard errors of a share of so many draws, and what cutting them costs."""
    return pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / DRAWS) + 0.004)


def drawn_plainly(values, errors, draws=4000):
    """By the definition, with deviates of their own."""
    rng, counts = np.random.default_rng(1), np.zeros(len(values))
    for _ in range(draws):
        points = values + errors * rng.standard_normal(values.shape)
        beaten = (points[:, None] <= points).all(2) & (points[:, None] < points).any(2)
        counts += ~beaten.any(0)
    return counts / draws


@pytest.mark.parametrize("exact", [[], [1], [0, 1, 2]])
def test_shares_are_those_drawn_plainly(exact):
    rng = np.random.default_rng(0)
    values, errors = rng.integers(0, 9, size=(40, 3)) * 1.0, rng.uniform(0.1, 1.5, size=(40, 3))
    errors[:, exact] = 0.0
    shares = front_probability(values, errors)
    assert shares.tolist() == [near(share) for share in drawn_plainly(values, errors)]
    assert shares.tolist() == front_probability(values, errors).tolist()


coordinates = st.integers(0, 12).map(float)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(coordinates, coordinates, coordinates), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.integers(1, 3),
)
def test_who_is_dropped_is_on_the_front_in_no_draw(rows, error, rivals):
    values = np.array(rows)
    errors = np.tile([error, 0.0, error / 3], (len(rows), 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "RIVALS", rivals)
        left = contenders(values, errors)
    slow = shares_on_front(values, errors, 200, 3)
    dropped = np.setdiff1d(np.arange(len(rows)), left)
    assert not slow[dropped].any()
    assert set(np.flatnonzero(nondominated(values))) <= set(left)
    fast = front_probability(values, errors, draws=200)
    assert np.abs(fast - slow).max() <= 0.25


def test_dropping_and_comparing_with_the_strong_first_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    values, errors = rng.normal(size=(600, 3)), np.tile([0.2, 0.0, 0.1], (600, 1))
    fast, left = front_probability(values, errors), contenders(values, errors)
    assert 10 < len(left) < 300
    monkeypatch.setattr(bootstrap, "STRONG", 600)
    strong = shares_on_front(values, errors, DRAWS, 0)
    monkeypatch.setattr(bootstrap, "STRONG", 1)
    assert strong.tolist() == shares_on_front(values, errors, DRAWS, 0).tolist()
    assert fast.tolist() == [near(share) for share in strong]
    assert not np.delete(strong, left).any()


def test_what_lacks_a_value_has_no_share_and_dominates_nothing():
    shares = front_probability(np.array([[0.0, np.nan], [1.0, 1.0]]), np.full((2, 2), 0.1))
    assert np.isnan(shares[0])
    assert shares[1] == 1.0


broken = st.sampled_from([math.nan, math.inf, -math.inf])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), broken), min_size=1, max_size=4),
)
def test_rows_that_are_not_finite_have_no_share_and_change_no_other(rows, holes):
    """Neither where the value is not, nor where its standard error is not."""
    whole = np.hstack([np.array(rows), np.full((len(rows), 2), 0.5)])
    mixed = whole
    for place, column, value in holes:
        row = np.ones(4)
        row[column] = value
        mixed = np.insert(mixed, min(place, len(mixed)), row, axis=0)
    shares = front_probability(mixed[:, :2], mixed[:, 2:], draws=50)
    finite = np.isfinite(mixed).all(axis=1)
    assert np.array_equal(np.isnan(shares), ~finite)
    assert shares[finite].tolist() == front_probability(whole[:, :2], whole[:, 2:], draws=50).tolist()
