import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from archsearch.stats import paired
from archsearch.stats.paired import METHODS, UNEQUAL, estimate, holm, residual_noise, seeds_needed, unequal_noise

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


def test_a_bootstrap_is_the_studentised_one_and_the_same_each_time():
    """Against a loop over resamples of its own, whose quantiles differ by their Monte Carlo error."""
    values, rng = np.array([0.4, 1.2, -0.3, 0.8, 2.9, 0.7]), np.random.default_rng(5)
    found, ts = estimate(values, "bootstrap"), []
    for _ in range(20_000):
        drawn = rng.choice(values, 6)
        with np.errstate(divide="ignore"):
            ts.append(abs(drawn.mean() - values.mean()) / (drawn.std(ddof=1) / math.sqrt(6)))
    error = values.std(ddof=1) / math.sqrt(6)
    assert found == estimate(values, "bootstrap")
    ends = found.mean - found.low, found.high - found.mean
    assert ends == pytest.approx([np.quantile(ts, 0.95) * error] * 2, rel=0.05)
    assert found.p == pytest.approx(np.mean(np.array(ts) >= values.mean() / error), rel=0.05)
    assert found.high - found.low > estimate(values).high - estimate(values).low


@pytest.mark.parametrize("values", [[2.0] * 6, [1.0, 1.0, 1.0, 1.0, 2.0]])
def test_where_resamples_have_no_spread_a_bootstrap_is_students(values):
    """Half of the resamples are of one value alone, or all: no interval of them has an end."""
    assert estimate(values, "bootstrap") == estimate(values)
    rounded = estimate(values, "bootstrap", floor=0.1)
    assert rounded.low is not None
    assert estimate(values, floor=0.1).high <= rounded.high < math.inf


@given(
    st.lists(st.integers(-500, 500).map(lambda tenths: tenths / 10), min_size=2, max_size=9), st.sampled_from(METHODS)
)
def test_zero_is_outside_the_interval_exactly_where_p_says_so(values, method):
    """For every method, also shifted to where the interval's ends are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paired, "RESAMPLES", 999)
        noise = (10.0, 20)
        found = estimate(values, method, noise=noise)
        assume(found.low is not None and found.high - found.low > 1e-3)
        for shift in (0.0, 0.999 * found.low, 1.001 * found.low, 0.999 * found.high, 1.001 * found.high):
            moved = estimate([value - shift for value in values], method, noise=noise)
            assert moved.resolved == (moved.p < 0.05)


DRAWS = {
    "normal": lambda rng, size: rng.normal(size=size),
    "skewed": lambda rng, size: rng.exponential(size=size) - 1,
    "heavy tails": lambda rng, size: rng.standard_t(3, size=size),
}


@pytest.mark.parametrize(("shape", "method", "least"), [
    ("normal", "t", 0.94), ("normal", "bootstrap", 0.94), ("heavy tails", "bootstrap", 0.94),
    ("skewed", "bootstrap", 0.92),
])  # fmt: skip
def test_intervals_of_few_seeds_cover_the_mean(monkeypatch, shape, method, least):
    """BCa covers 0.84 of normal means from 5 seeds, and 0.80 of skewed ones; the error of a share is 0.01 here."""
    monkeypatch.setattr(paired, "RESAMPLES", 499)
    rng = np.random.default_rng(7)
    for n in (5, 8):
        found = [estimate(values, method) for values in DRAWS[shape](rng, (600, n))]
        assert np.mean([one.low <= 0 <= one.high for one in found]) > least - 0.01
        assert np.mean([one.p < 0.05 for one in found]) < 1 - least + 0.01


def tables(rng, deviations, seeds, count):
    """Networks that do not differ, and seeds that move all of them."""
    for _ in range(count):
        shared = rng.normal(0, 2, seeds)
        yield {str(i): dict(enumerate(shared + rng.normal(0, sd, seeds))) for i, sd in enumerate(deviations)}


def test_equal_noise_is_found_unequal_as_often_as_the_level_says():
    ps = [unequal_noise(table) for table in tables(np.random.default_rng(0), [1.0] * 6, 3, 300)]
    assert np.mean(np.array(ps) < UNEQUAL) == pytest.approx(UNEQUAL, abs=0.05)
    assert np.mean(np.array(ps) < 0.05) == pytest.approx(0.05, abs=0.03)


def test_unequal_noise_is_found_with_missing_seeds_too():
    rng = np.random.default_rng(1)
    found = list(tables(rng, [1.0] * 9 + [6.0], 5, 100))
    for table in found:
        del table["3"][2], table["9"][0]
    assert np.mean([unequal_noise(table) < UNEQUAL for table in found]) > 0.9


def test_too_little_to_test_says_nothing_of_unequal_noise():
    two = {"a": {0: 1.0, 1: 2.0}, "b": {0: 1.5, 1: 1.0}}
    assert unequal_noise({}) is None
    assert unequal_noise(two | {"c": {0: 1.0}}) is None
    assert unequal_noise({name: {0: 1.0, 1: 3.0} for name in "abc"}) is None  # additive
    assert unequal_noise(two | {"c": {0: 1.0, 1: 9.0}}) is not None


def test_pooled_intervals_with_their_test_find_fewer_differences_that_are_none(monkeypatch):
    """Ablations of eleven networks, half of them four times as noisy as the others: Holm's 5 % holds, or nearly."""

    monkeypatch.setattr(paired, "SIMULATED", 199)

    def finds(table, method):
        noise = residual_noise(table)
        noise = (math.sqrt(2) * noise[0], noise[1])
        all_of = [[table[str(i)][s] - table["0"][s] for s in range(5)] for i in range(1, 11)]
        return min(holm([estimate(each, method, noise=noise).p for each in all_of])) < 0.05

    found = list(tables(np.random.default_rng(2), [2.0, 0.5] * 5 + [2.0], 5, 300))
    pooled = [finds(table, "pooled") for table in found]
    tested = [finds(table, "t" if unequal_noise(table) < UNEQUAL else "pooled") for table in found]
    assert np.mean(pooled) > 0.085
    assert np.mean(tested) < 0.07


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
