import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from archsearch.stats.paired import estimate, holm, residual_noise, seeds_needed

VALUES = st.lists(st.floats(-50, 50, allow_subnormal=False), min_size=2, max_size=12)
PS = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=12)


@given(VALUES)
def test_students_interval_and_p_are_scipys(values):
    assume(np.std(values) > 1e-3)
    found, known = estimate(values), stats.ttest_1samp(values, 0)
    low, high = known.confidence_interval(0.95)
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high), rel=1e-6, abs=1e-9)
    assert found.p == pytest.approx(known.pvalue, rel=1e-6, abs=1e-12)
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert found.resolved == (known.pvalue < 0.05)


def test_one_value_has_no_interval():
    found = estimate([3.0])
    assert (found.mean, found.sd, found.low, found.p, found.n, found.resolved) == (3.0, None, None, None, 1, False)


def test_values_that_agree_by_chance_are_not_taken_for_certain():
    assert estimate([1.0, 1.0]).p is None
    found = estimate([1.0, 1.0], floor=0.1)
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 1) * 0.1 / math.sqrt(2))


def test_pooled_noise_takes_its_own_degrees_of_freedom():
    found = estimate([1.0, 3.0, 2.0], "pooled", noise=(1.0, 20))
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 20) / math.sqrt(3))
    assert estimate([1.0], "pooled", noise=(1.0, 20)).low is not None


def test_a_bootstrap_is_scipys_and_the_same_each_time():
    values = [0.4, 1.2, -0.3, 0.8, 2.9, 0.7]
    found = estimate(values, "bootstrap")
    assert found == estimate(values, "bootstrap")
    assert (found.low, found.high) != pytest.approx((estimate(values).low, estimate(values).high))
    assert min(values) < found.low < found.mean < found.high < max(values)
    assert estimate([2.0] * 6, "bootstrap", floor=0.1).low is not None  # nothing to resample


@pytest.mark.parametrize("method", ["t", "pooled"])
def test_intervals_cover_what_they_say(method):
    """Eleven networks, four seeds that move all of them, noise between: each difference is to the first network."""
    rng = np.random.default_rng(3)
    truth = np.linspace(-1, 1, 11)
    covered = []
    for _ in range(300):
        table = truth[:, None] + rng.normal(0, 3, 4) + rng.normal(0, 1, (11, 4))
        noise = residual_noise({str(i): dict(enumerate(row)) for i, row in enumerate(table)})
        for i in range(1, 11):
            found = estimate(table[i] - table[0], method, noise=(math.sqrt(2) * noise[0], noise[1]))
            covered.append(found.low <= truth[i] - truth[0] <= found.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_noise_is_what_networks_and_seeds_do_not_explain():
    additive = {name: {seed: base + 7 * seed for seed in range(3)} for name, base in (("a", 1.0), ("b", 5.0))}
    spread, freedom = residual_noise(additive)
    assert freedom == 2
    assert spread == pytest.approx(0, abs=1e-9)
    del additive["b"][2]
    assert residual_noise(additive)[1] == 1
    assert residual_noise({"a": {0: 1.0}, "b": {0: 2.0}}) is None
    assert residual_noise({}) is None
    rng = np.random.default_rng(0)
    table = {str(i): dict(enumerate(rng.normal(0, 2.5, 200))) for i in range(6)}
    assert residual_noise(table)[0] == pytest.approx(2.5, rel=0.05)


@given(PS, st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(ps, alpha):
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    rejected = set()
    for rank, (p, i) in enumerate(known):
        if (len(known) - rank) * p > alpha:
            break
        rejected.add(i)
    corrected = holm(ps)
    assert {i for i, p in enumerate(corrected) if p is not None and p <= alpha} == rejected
    assert [p is None for p in corrected] == [p is None for p in ps]


@pytest.mark.parametrize(("sd", "difference"), [(1.0, 0.4), (1.0, 1.0), (0.5, -1.0), (2.0, 0.5)])
def test_as_many_seeds_as_it_takes_find_the_difference_in_four_of_five_experiments(sd, difference):
    rng = np.random.default_rng(1)

    def power(n):
        drawn = rng.normal(difference, sd, (20_000, n))
        return (stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05).mean()

    needed = seeds_needed(sd, difference)
    assert power(needed) > 0.79
    assert power(needed - 1) < 0.81


def test_no_number_of_seeds_finds_nothing():
    assert seeds_needed(1.0, 0.0) is None
    assert seeds_needed(1.0, 1e-9) is None
    assert seeds_needed(0.0, 1.0) == 2
    assert seeds_needed(1.0, 1000.0) == 2
