"""Agreement between two rankings: rank correlations with intervals, recall of the best, and regret."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from archsearch.stats.intervals import LEVEL

#: Bootstrap resamples, and permutations.
RESAMPLES = 2000
#: Share of the architectures that count as the best.
TOP = 0.1
#: Least shift in rank worth reporting, as a share of the architectures.
NOTABLE = 0.1


@dataclass(frozen=True)
class Estimate:
    """A statistic and its percentile bootstrap interval over architectures; NaN where it is undefined.

    Attributes:
        value: The statistic.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """How well a cheap score ranks architectures, compared with a reference ranking.

    Attributes:
        tau: Kendall's tau-b.
        rho: Spearman's rho.
        within: Tau-b over pairs of the same cost bin.
        bins: Tau-b in each cost bin.
        recall: Share of the reference's best tenth that is in the score's best tenth.
        regret: Loss of choosing by the score within a cost budget, in units of the reference, averaged over budgets.
        worst_regret: Largest such loss, among the architectures as they are.
    """

    tau: Estimate
    rho: Estimate
    within: Estimate
    bins: tuple[float, ...]
    recall: float
    regret: Estimate
    worst_regret: float


def agreement(scores: np.ndarray, truth: np.ndarray, cost: np.ndarray, bins: int = 3, seed: int = 0) -> Agreement:
    """Compare a score with a reference; several seeds of the score are compared one by one and averaged.

    A search sees one training of each candidate, so the agreement of a single training is what counts.

    Args:
        scores: Scores, (seeds, N) or (N,); higher is better.
        truth: Reference values, (N,); higher is better.
        cost: Costs, (N,), that bins of equal size and budgets are made of.
        bins: Number of bins.
        seed: Seed of the bootstrap.
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=float))
    truth, cost = np.asarray(truth, dtype=float), np.asarray(cost, dtype=float)
    bin_of = equal_bins(cost, bins)
    same = bin_of[:, None] == bin_of[None, :]
    weights = resamples(len(truth), seed)
    regrets = [front_regret(row, truth, cost) for row in scores]
    members = [bin_of == number for number in range(bins)]
    return Agreement(
        tau=_estimate(lambda w: _mean_tau(scores, truth, w), weights),
        rho=_estimate(lambda w: _mean_rho(scores, truth, w), weights),
        within=_estimate(lambda w: _mean_tau(scores, truth, w, same), weights),
        bins=tuple(float(_mean_tau(scores[:, m], truth[m], np.ones((1, m.sum())))[0]) for m in members),
        recall=float(np.mean([top_recall(row, truth) for row in scores])),
        regret=_estimate(lambda w: _mean_regret(scores, truth, cost, w), weights),
        worst_regret=float(np.mean([r.max() for r in regrets])),
    )


def lead(
    scores: np.ndarray, rivals: np.ndarray, truth: np.ndarray, cost: np.ndarray, bins: int = 3, seed: int = 0
) -> Estimate:
    """Return how much more a score's tau within cost bins is than that of its best rival, by a paired bootstrap.

    All are computed from the same resamples of architectures, so that what the architectures drawn do to all of them
    cancels. Which rival is best is chosen anew in every resample: that one of several looks best by chance is part of
    the interval.

    Args:
        scores: Scores, (seeds, N) or (N,), compared seed by seed as in ``agreement``; higher is better.
        rivals: Scores of the rivals, (rivals, N).
        truth: Reference values, (N,).
        cost: Costs, (N,), that bins of equal size are made of.
        bins: Number of bins.
        seed: Seed of the bootstrap; that of ``agreement`` means the same resamples.
    """
    scores, truth = np.atleast_2d(np.asarray(scores, dtype=float)), np.asarray(truth, dtype=float)
    bin_of = equal_bins(np.asarray(cost, dtype=float), bins)
    same = bin_of[:, None] == bin_of[None, :]

    def ahead(weights: np.ndarray) -> np.ndarray:
        theirs = [_tau(np.asarray(rival, dtype=float), truth, weights, same) for rival in rivals]
        return _mean_tau(scores, truth, weights, same) - np.fmax.reduce(theirs)

    return _estimate(ahead, resamples(len(truth), seed))


def tau_difference(scores: np.ndarray, others: np.ndarray, truth: np.ndarray, seed: int = 0) -> Estimate:
    """Return how much more one score's tau is than another's, by a paired bootstrap over the same architectures.

    Args:
        scores: Scores, (seeds, N) or (N,), compared seed by seed as in ``agreement``; higher is better.
        others: Scores to compare with, likewise.
        truth: Reference values, (N,).
        seed: Seed of the bootstrap.
    """
    one, two = (np.atleast_2d(np.asarray(each, dtype=float)) for each in (scores, others))
    truth = np.asarray(truth, dtype=float)
    return _estimate(lambda w: _mean_tau(one, truth, w) - _mean_tau(two, truth, w), resamples(len(truth), seed))


def kendall(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
    """Return Kendall's tau-b; NaN where one side is constant.

    >>> kendall([1, 2, 3, 4], [1, 3, 2, 4])
    0.6666666666666666
    """
    return float(_tau(np.asarray(x, float), np.asarray(y, float), np.ones((1, len(x))))[0])


def spearman(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
    """Return Spearman's rho, ties at their mean rank; NaN where one side is constant.

    >>> spearman([1, 2, 3, 4], [1, 3, 2, 4])
    0.8
    """
    return float(round(_rho(np.asarray(x, float), np.asarray(y, float), np.ones((1, len(x))))[0], 12))


def retest(scores: np.ndarray) -> float:
    """Return the mean Kendall's tau between two seeds of one score: how well one training predicts another.

    Args:
        scores: Scores, (seeds, N).

    Returns:
        The mean over pairs of seeds; NaN with a single seed.
    """
    pairs = [(a, b) for a in range(len(scores)) for b in range(a)]
    return float(np.mean([kendall(scores[a], scores[b]) for a, b in pairs])) if pairs else float("nan")


def equal_bins(cost: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin of each value, (N,): of equal size as far as ties allow, cheapest first.

    >>> equal_bins(np.array([5.0, 1.0, 2.0, 9.0, 7.0, 3.0]), 3).tolist()
    [1, 0, 0, 2, 2, 1]
    """
    edges = np.quantile(cost, np.arange(1, bins) / bins)
    return np.searchsorted(edges, cost, side="left") if bins > 1 else np.zeros(len(cost), dtype=int)


def top_recall(score: np.ndarray, truth: np.ndarray, share: float = TOP) -> float:
    """Return the share of the best values that the score ranks among as many best; ties count by their share."""
    count = max(1, int(np.ceil(share * len(truth))))
    return float((_membership(truth, count) * _membership(score, count)).sum() / count)


def _membership(values: np.ndarray, count: int) -> np.ndarray:
    """Return 1 for each of the largest ``count`` values, 0 for others, and a fraction for those tied at the edge."""
    edge = np.sort(values)[-count]
    above, tied = values > edge, values == edge
    part: np.ndarray = above + tied * (count - above.sum()) / tied.sum()
    return part


def front_regret(score: np.ndarray, truth: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Return, for each cost as a budget, how much worse the score's choice is than the best affordable one, (N,).

    Where several share the best score, their mean counts.
    """
    affordable = cost[None, :] <= cost[:, None]
    best = np.where(affordable, truth[None, :], -np.inf).max(1)
    offered = np.where(affordable, score[None, :], -np.inf)
    chosen = offered == offered.max(1, keepdims=True)
    regret: np.ndarray = best - (chosen * truth[None, :]).sum(1) / chosen.sum(1)
    return regret


def _mean_regret(scores: np.ndarray, truth: np.ndarray, cost: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of ``front_regret`` over budgets and seeds for each row of weights, (R,): of those that a sample has."""
    return np.mean([_regret(score, truth, cost, weights) for score in scores], axis=0)


def _regret(score: np.ndarray, truth: np.ndarray, cost: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of ``front_regret`` over budgets for each row of weights, (R,), in one pass from cheap to dear."""
    best, top = np.full((2, len(weights)), -np.inf)  # the greatest truth, and score, of what is affordable so far
    chosen, tied, total = np.zeros((3, len(weights)))  # sum of truths and number of those with that score; losses
    for budget in np.unique(cost):
        for one in np.flatnonzero(cost == budget):
            there = weights[:, one] > 0
            better, equal = there & (score[one] > top), there & (score[one] == top)
            chosen = np.where(better, truth[one], chosen + equal * truth[one])
            tied = np.where(better, 1, tied + equal)
            top, best = np.where(better, score[one], top), np.where(there, np.maximum(best, truth[one]), best)
        lost = np.where(tied > 0, best - chosen / np.maximum(tied, 1), 0)
        total += weights[:, cost == budget].sum(1) * lost
    regret: np.ndarray = total / weights.sum(1)
    return regret


@dataclass(frozen=True)
class Shift:
    """A trait of architectures that a score over- or underrates.

    Attributes:
        trait: Name and value of the trait.
        places: Mean shift in rank of architectures with the trait against those without; positive if overrated.
        count: Number of architectures with the trait.
        chance: Probability that the largest shift of all traits is as large by chance (a permutation test's p-value).
    """

    trait: str
    places: float
    count: int
    chance: float


def rank_shifts(
    score: np.ndarray, truth: np.ndarray, traits: Sequence[Mapping[str, object]], least: int = 3, seed: int = 0
) -> list[Shift]:
    """Find traits that a score over- or underrates beyond chance, largest shift first.

    Noise alone pulls every rank towards the middle, so shifts are residuals of the line that fits
    the score's ranks to the reference's. Traits are permuted among architectures, and the largest
    standardised shift of all traits counts, so that testing many traits finds none by chance.

    Args:
        score: Scores, (N,); higher is better.
        truth: Reference values, (N,); higher is better.
        traits: Values of each architecture's traits, by name.
        least: Least number of architectures with a trait, and without it.
        seed: Seed of the permutations.
    """
    residual = _rank_residuals(score, truth)
    pairs = dict.fromkeys((name, value) for t in traits for name, value in t.items())
    masks = {f"{name} {value}": np.array([t.get(name) == value for t in traits]) for name, value in pairs}
    masks = {name: has for name, has in masks.items() if least <= has.sum() <= len(has) - least}
    if not masks or not residual.any():
        return []
    shifts, scales, sizes, largest = _contrasts(residual, np.array(list(masks.values()), dtype=float), seed)
    found = []
    for name, places, scale, size in zip(masks, shifts, scales, sizes, strict=True):
        chance = float((1 + (largest >= abs(places) / scale - 1e-9).sum()) / (1 + RESAMPLES))
        if chance <= 1 - LEVEL and abs(places) >= NOTABLE * len(residual):
            found.append(Shift(name, float(places), int(size), chance))
    return sorted(found, key=lambda shift: -abs(shift.places))


def _rank_residuals(score: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Ranks of the score minus those that the line fitted to the reference's ranks predicts, (N,)."""
    one = np.ones((1, len(score)))
    ranks, true = (_ranks(np.asarray(v, float), one)[0] for v in (score, truth))
    slope, start = np.polyfit(true, ranks, 1)
    residual: np.ndarray = ranks - slope * true - start
    return residual


def _contrasts(
    residual: np.ndarray, has: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Compare architectures with each trait with those without it.

    Args:
        residual: Residuals of ranks, (N,).
        has: 1 where an architecture has a trait, (traits, N).
        seed: Seed of the permutations.

    Returns:
        Mean differences, their standard errors in units of the residuals' deviation, and the numbers of
        architectures with the trait, (traits,) each; and the largest standardised difference in each
        permutation, (RESAMPLES,).
    """
    sizes = has.sum(1, keepdims=True)
    contrasts = has / sizes - (1 - has) / (len(residual) - sizes)
    scales = np.sqrt(1 / sizes + 1 / (len(residual) - sizes))[:, 0]
    rng = np.random.default_rng(seed)
    permuted = rng.permuted(np.tile(residual, (RESAMPLES, 1)), axis=1)
    return contrasts @ residual, scales, sizes[:, 0], (abs(permuted @ contrasts.T) / scales).max(1)


def resamples(count: int, seed: int = 0, number: int = RESAMPLES) -> np.ndarray:
    """Return how often each of ``count`` items is drawn in each of ``number`` bootstrap resamples, (number, count)."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), number).astype(float)


def _estimate(statistic: Callable[[np.ndarray], np.ndarray], weights: np.ndarray) -> Estimate:
    """A statistic of weighted architectures, (R, N) to (R,), with its interval over the rows of ``weights``."""
    value = float(statistic(np.ones((1, weights.shape[1])))[0])
    drawn = statistic(weights)
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(drawn) == 0:
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Estimate(value, float(low), float(high))


def _mean_tau(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray, same: np.ndarray | None = None) -> np.ndarray:
    return np.mean([_tau(row, truth, weights, same) for row in scores], axis=0)


def _mean_rho(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.mean([_rho(row, truth, weights) for row in scores], axis=0)


def _tau(x: np.ndarray, y: np.ndarray, weights: np.ndarray, same: np.ndarray | None = None) -> np.ndarray:
    """Tau-b for each row of weights, (R,); a pair counts as often as the product of its members' weights."""
    of_x, of_y = (np.sign(v[:, None] - v[None, :]) for v in (x, y))
    if same is not None:
        of_x, of_y = of_x * same, of_y * same
    agree, in_x, in_y = (((weights @ m) * weights).sum(1) for m in (of_x * of_y, of_x**2, of_y**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        tau: np.ndarray = agree / np.sqrt(in_x * in_y)
    return tau


def _rho(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's rho for each row of weights, (R,)."""
    of_x, of_y = (_ranks(v, weights) for v in (x, y))
    total = weights.sum(1, keepdims=True)
    of_x, of_y = (v - (weights * v).sum(1, keepdims=True) / total for v in (of_x, of_y))
    with np.errstate(invalid="ignore", divide="ignore"):
        rho: np.ndarray = (weights * of_x * of_y).sum(1) / np.sqrt(
            (weights * of_x**2).sum(1) * (weights * of_y**2).sum(1)
        )
    return rho


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean rank of each value in each weighted sample, (R, N)."""
    below = (values[None, :] < values[:, None]).astype(float)
    equal = (values[None, :] == values[:, None]).astype(float)
    ranks: np.ndarray = weights @ below.T + (weights @ equal.T + 1) / 2
    return ranks
