import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from archsearch.stats.agreement import (
    Estimate,
    _mean_regret,
    _rho,
    _tau,
    agreement,
    equal_bins,
    front_regret,
    kendall,
    lead,
    rank_shifts,
    resamples,
    retest,
    spearman,
    tau_difference,
    top_recall,
)

VALUES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=25)


@given(VALUES)
def test_correlations_are_scipys_ties_and_all(pairs):
    x, y = (np.array(side, float) for side in zip(*pairs, strict=True))
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert np.isnan(kendall(x, y))
        assert np.isnan(spearman(x, y))
        return
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)


@settings(max_examples=25)
@given(VALUES, st.integers(0, 100))
def test_weights_are_drawing_with_replacement(pairs, seed):
    x, y = (np.array(side, float) for side in zip(*pairs, strict=True))
    weights = resamples(len(x), seed, number=3)
    for row in weights:
        index = np.repeat(np.arange(len(x)), row.astype(int))
        literal = kendall(x[index], y[index]), spearman(x[index], y[index])
        found = _tau(x, y, row[None])[0], _rho(x, y, row[None])[0]
        assert found == pytest.approx(literal, nan_ok=True)


def test_within_bins_only_neighbours_in_cost_are_compared():
    """Accuracy follows cost; within a bin the score has it backwards."""
    cost = np.arange(12.0)
    truth = np.array([3, 2, 1, 0, 13, 12, 11, 10, 23, 22, 21, 20.0])
    found = agreement(cost, truth, cost)
    assert found.tau.value > 0.4
    assert found.within.value == -1
    assert found.bins == (-1, -1, -1)


def test_a_perfect_score_loses_nothing():
    rng = np.random.default_rng(0)
    truth, cost = rng.random(30), rng.random(30)
    found = agreement(3 * truth + 1, truth, cost)
    assert (found.tau.value, found.tau.low, found.rho.value, found.within.value) == pytest.approx((1, 1, 1, 1))
    assert (found.recall, found.worst_regret) == (1, 0)
    assert found.regret == Estimate(0, 0, 0)


def test_several_seeds_count_one_by_one():
    rng = np.random.default_rng(1)
    truth, cost = rng.random(20), rng.random(20)
    scores = truth + 0.5 * rng.standard_normal((3, 20))
    found = agreement(scores, truth, cost)
    assert found.tau.value == pytest.approx(np.mean([kendall(row, truth) for row in scores]))
    assert found.tau.value < kendall(scores.mean(0), truth)  # their mean would be less noisy than what a search sees
    assert retest(scores) == pytest.approx(np.mean([kendall(a, b) for a, b in itertools.combinations(scores, 2)]))
    assert np.isnan(retest(scores[:1]))


def test_a_lead_is_the_difference_to_the_best_rival_of_each_resample():
    """Against drawing architectures with replacement, literally; bins stay those of all architectures."""
    rng = np.random.default_rng(4)
    truth, cost = rng.random(18), rng.random(18)
    scores, rivals = truth + 0.3 * rng.standard_normal((2, 18)), truth + 0.6 * rng.standard_normal((3, 18))
    found, bins = lead(scores, rivals, truth, cost), equal_bins(cost, 3)

    def within(score, index):
        pairs = [(i, j) for i, j in itertools.combinations(index, 2) if bins[i] == bins[j]]
        a, b = (np.array([np.sign(v[i] - v[j]) for i, j in pairs]) for v in (score, truth))
        return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())

    def ahead(index):
        return np.mean([within(s, index) for s in scores]) - max(within(r, index) for r in rivals)

    drawn = [ahead(np.repeat(np.arange(18), row.astype(int))) for row in resamples(18, 0)[:300]]
    everything = resamples(18, 0)
    assert found.value == pytest.approx(ahead(np.arange(18)))
    assert len(everything) == 2000
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.05)


def test_a_score_as_good_as_the_best_of_four_is_rarely_called_better():
    """And a much better one mostly is."""
    rng, equal, much_better = np.random.default_rng(5), [], []
    for _ in range(60):
        truth, cost = rng.standard_normal(24), rng.random(24)
        noise = rng.standard_normal((6, 24))
        found = lead(truth + noise[0], truth + noise[1:5], truth, cost)
        equal.append(found.low > 0)
        much_better.append(lead(truth + 0.2 * noise[5], 0.3 * truth + noise[1:5], truth, cost).low > 0)
    assert np.mean(equal) <= 0.05
    assert np.mean(much_better) > 0.7


def test_the_interval_covers():
    """Of 200 experiments with a known tau of 1/3 (correlation 1/2), about 95 % have it inside."""
    rng, inside = np.random.default_rng(2), 0
    for _ in range(200):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 24).T
        tau = agreement(x, y, np.arange(24)).tau
        inside += tau.low <= 1 / 3 <= tau.high
    assert 0.88 <= inside / 200 <= 1


def test_front_regret_by_hand():
    cost = np.array([1.0, 2, 3])
    truth = np.array([0.5, 0.9, 0.8])
    assert front_regret(np.array([1.0, 2, 3]), truth, cost) == pytest.approx([0, 0, 0.1])
    assert front_regret(np.array([3.0, 2, 1]), truth, cost) == pytest.approx([0, 0.4, 0.4])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99))
def test_the_regret_of_a_resample_is_that_of_what_was_drawn(seed):
    """Weighted architectures against ``front_regret`` of a list in which each stands as often as it was drawn."""
    rng = np.random.default_rng(seed)
    scores, truth, cost = rng.integers(0, 4, (2, 7)).astype(float), rng.random(7), rng.integers(0, 5, 7).astype(float)
    weights = resamples(7, seed, 3)
    for weight, found in zip(weights, _mean_regret(scores, truth, cost, weights), strict=True):
        drawn, alone = np.repeat(np.arange(7), weight.astype(int)), np.flatnonzero(weight)
        lost = [dict(zip(alone, front_regret(s[alone], truth[alone], cost[alone]), strict=True)) for s in scores]
        assert found == pytest.approx(np.mean([[each[i] for i in drawn] for each in lost]))


def test_regret_has_an_interval():
    rng = np.random.default_rng(0)
    truth, cost = rng.random(30), rng.random(30)
    found = agreement(truth + 0.3 * rng.standard_normal(30), truth, cost).regret
    assert 0 <= found.low < found.value < found.high
    assert found.value == pytest.approx(front_regret(truth + 0.3 * noise(30), truth, cost).mean())


def noise(count):
    """The noise that the score above has: the same draws, after those of truth and cost."""
    rng = np.random.default_rng(0)
    rng.random(2 * count)
    return rng.standard_normal(count)


def test_a_difference_in_tau_is_paired():
    rng = np.random.default_rng(0)
    truth = rng.random(24)
    good, bad = (truth + spread * rng.standard_normal((2, 24)) for spread in (0.05, 0.5))
    found = tau_difference(good, bad, truth)
    taus = [np.mean([kendall(row, truth) for row in each]) for each in (good, bad)]
    assert found.value == pytest.approx(taus[0] - taus[1])
    assert 0 < found.low < found.value < found.high
    back = tau_difference(bad, good, truth)
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))
    assert tau_difference(good, good, truth) == Estimate(0, 0, 0)


def test_top_recall_by_hand():
    truth = np.arange(20.0)
    assert top_recall(truth, truth) == 1
    assert top_recall(-truth, truth) == 0
    swapped = truth.copy()
    swapped[[19, 0]] = swapped[[0, 19]]
    assert top_recall(swapped, truth) == 0.5


@given(st.lists(st.floats(0, 1), min_size=6, max_size=40, unique=True))
def test_bins_are_equal_in_number(cost):
    sizes = np.bincount(equal_bins(np.array(cost), 3), minlength=3)
    assert sizes.max() - sizes.min() <= 2
    bins = equal_bins(np.array(cost), 3)
    assert (np.diff(bins[np.argsort(cost)]) >= 0).all()


def test_ties_are_worth_their_share():
    truth = np.array([4.0, 3, 2, 1])
    assert top_recall(np.array([1.0, 1, 0, 0]), truth, share=0.25) == 0.5
    assert top_recall(np.zeros(4), truth, share=0.5) == 0.5
    assert front_regret(np.zeros(4), truth, np.arange(4.0)) == pytest.approx([0, 0.5, 1, 1.5])


def traits_of(count):
    return [{"kernel_size": 3 + 4 * (i % 2), "depths": f"d{i % 3}"} for i in range(count)]


def test_a_planted_bias_is_found_and_named():
    rng = np.random.default_rng(3)
    traits, truth = traits_of(30), rng.random(30)
    score = truth + 0.5 * np.array([t["kernel_size"] == 3 for t in traits])
    found = {shift.trait: shift for shift in rank_shifts(score, truth, traits)}
    assert set(found) == {"kernel_size 3", "kernel_size 7"}
    assert found["kernel_size 3"].places > 5
    assert found["kernel_size 3"].count == 15
    assert found["kernel_size 7"].places < -5
    assert found["kernel_size 3"].chance < 0.01


@pytest.mark.parametrize("least", [3, 8])
def test_where_there_is_no_bias_hardly_any_is_found(least):
    """About one in twenty, whatever the groups, though the truth follows a trait and the score is noisy."""
    rng, false = np.random.default_rng(4), 0
    for _ in range(100):
        traits = [{"a": rng.integers(6), "b": rng.integers(2), "c": rng.integers(3)} for _ in range(24)]
        truth = np.array([t["c"] for t in traits]) + 0.5 * rng.random(24)
        false += bool(rank_shifts(truth + 0.8 * rng.standard_normal(24), truth, traits, least))
    assert false <= 10


def test_nothing_to_compare_finds_nothing():
    truth = np.arange(8.0)
    assert rank_shifts(truth, truth, traits_of(8)) == []
    assert rank_shifts(-truth, truth, [{}] * 8) == []
