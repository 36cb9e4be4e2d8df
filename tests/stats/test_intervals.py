import numpy as np
import pytest

from archsearch.stats.intervals import median_interval


@pytest.mark.parametrize(("draw", "truth"), [("normal", 0.0), ("lognormal", 1.0)])
@pytest.mark.parametrize("count", [10, 30])
def test_intervals_cover_the_median(draw, truth, count):
    rng = np.random.default_rng(0)
    intervals = [median_interval(getattr(rng, draw)(size=count)) for _ in range(300)]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert 0.89 <= covered <= 0.98


def test_the_same_values_give_the_same_interval():
    values = list(np.random.default_rng(1).normal(size=12))
    assert median_interval(values) == median_interval(values)
    low, high = median_interval(values)
    narrower = median_interval(values, level=0.5)
    assert low <= narrower[0] <= narrower[1] <= high
    assert median_interval([3.0]) == (3.0, 3.0)
