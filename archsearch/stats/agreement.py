"""How well one ranking agrees with another: rank correlations, their intervals, and what a front loses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from archsearch.stats.intervals import LEVEL

RESAMPLES = 2000
#: Share of the architectures that are the best.
TOP = 0.1
#: Shift in rank, as a share of the architectures, below which nobody would choose otherwise.
NOTABLE = 0.1


@dataclass(frozen=True)
class Estimate:
    """A statistic and its percentile bootstrap interval over architectures; NaN where it is undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """How a cheap score ranks architectures, against what is believed of them.

    Attributes:
        tau: Kendall's tau-b.
        rho: Spearman's rho.
        within: tau-b over pairs within the same bin.
        bins: tau-b in each bin.
        recall: share of the best tenth that is in the score's best tenth.
        regret: mean, over budgets, of what choosing by the score loses, in units of what is believed.
        worst_regret: the greatest such loss.
    """

    tau: Estimate
    rho: Estimate
    within: Estimate
    bins: tuple[float, ...]
    recall: float
    regret: float
    worst_regret: float


def agreement(scores: np.ndarray, truth: np.ndarray, cost: np.ndarray, bins: int = 3, seed: int = 0) -> Agreement:
    """Compares a score with the truth; with several seeds of the score, each on its own, then the mean.

    A search sees one training of each candidate, so the agreement of one training is what counts.

    Args:
        scores: (seeds, N) or (N,), more is better.
        truth: (N,), more is better.
        cost: (N,), by which bins of equal numbers are made, and which fronts trade against.
        bins: how many.
        seed: of the bootstrap.
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=float))
    truth, cost = np.asarray(truth, dtype=float), np.asarray(cost, dtype=float)
    bin_of = equal_bins(cost, bins)
    same = bin_of[:, None] == bin_of[None, :]
    weights = resamples(len(truth), seed)
    regrets = [front_regret(row, truth, cost) for row in scores]
    return Agreement(
        tau=_estimate(lambda w: _mean_tau(scores, truth, w), weights),
        rho=_estimate(lambda w: _mean_rho(scores, truth, w), weights),
        within=_estimate(lambda w: _mean_tau(scores, truth, w, same), weights),
        bins=tuple(
            float(_mean_tau(scores[:, bin_of == b], truth[bin_of == b], np.ones((1, (bin_of == b).sum())))[0])
            for b in range(bins)
        ),
        recall=float(np.mean([top_recall(row, truth) for row in scores])),
        regret=float(np.mean([r.mean() for r in regrets])),
        worst_regret=float(np.mean([r.max() for r in regrets])),
    )


def kendall(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
    """Kendall's tau-b; NaN where one side is constant.

    >>> kendall([1, 2, 3, 4], [1, 3, 2, 4])
    0.6666666666666666
    """
    return float(_tau(np.asarray(x, float), np.asarray(y, float), np.ones((1, len(x))))[0])


def spearman(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
    """Spearman's rho, ties with their mean rank; NaN where one side is constant.

    >>> spearman([1, 2, 3, 4], [1, 3, 2, 4])
    0.8
    """
    return float(round(_rho(np.asarray(x, float), np.asarray(y, float), np.ones((1, len(x))))[0], 12))


def retest(scores: np.ndarray) -> float:
    """Mean Kendall's tau between two seeds of one score, (seeds, N): how well one training foretells another."""
    pairs = [(a, b) for a in range(len(scores)) for b in range(a)]
    return float(np.mean([kendall(scores[a], scores[b]) for a, b in pairs])) if pairs else float("nan")


def equal_bins(cost: np.ndarray, bins: int) -> np.ndarray:
    """Bin of each value, (N,): as equal in number as ties allow, cheapest first.

    >>> equal_bins(np.array([5.0, 1.0, 2.0, 9.0, 7.0, 3.0]), 3).tolist()
    [1, 0, 0, 2, 2, 1]
    """
    edges = np.quantile(cost, np.arange(1, bins) / bins)
    return np.searchsorted(edges, cost, side="left") if bins > 1 else np.zeros(len(cost), dtype=int)


def top_recall(score: np.ndarray, truth: np.ndarray, share: float = TOP) -> float:
    """Share of the best ones that are among as many that the score takes for the best; of ties, their share."""
    count = max(1, int(np.ceil(share * len(truth))))
    return float((_membership(truth, count) * _membership(score, count)).sum() / count)


def _membership(values: np.ndarray, count: int) -> np.ndarray:
    """How much of each value is among the largest ``count``: all, nothing, or a part of those tied for the last."""
    edge = np.sort(values)[-count]
    above, tied = values > edge, values == edge
    part: np.ndarray = above + tied * (count - above.sum()) / tied.sum()
    return part


def front_regret(score: np.ndarray, truth: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """For each cost as a budget, how much worse the score's choice within it is than the best one, (N,).

    Where several share the best score, the mean of what choosing one of them gives.
    """
    affordable = cost[None, :] <= cost[:, None]
    best = np.where(affordable, truth[None, :], -np.inf).max(1)
    offered = np.where(affordable, score[None, :], -np.inf)
    chosen = offered == offered.max(1, keepdims=True)
    regret: np.ndarray = best - (chosen * truth[None, :]).sum(1) / chosen.sum(1)
    return regret


@dataclass(frozen=True)
class Shift:
    """What a score thinks of a trait, beside the truth.

    Attributes:
        trait: name and value.
        places: mean shift in rank of those that have it against those that do not; positive: overrated.
        count: how many have it.
        chance: probability that chance alone makes the largest of all traits' shifts as large.
    """

    trait: str
    places: float
    count: int
    chance: float


def rank_shifts(
    score: np.ndarray, truth: np.ndarray, traits: Sequence[Mapping[str, object]], least: int = 3, seed: int = 0
) -> list[Shift]:
    """Traits that a score over- or underrates beyond chance, largest first.

    Noise alone pulls every rank towards the middle, so shifts are those from the line that fits
    the score's ranks to the true ones. Traits are permuted among architectures, and the largest
    standardised shift of all traits counts, so that many traits do not find one by chance.

    Args:
        score: (N,), more is better.
        truth: (N,), likewise.
        traits: of each architecture, by name.
        least: architectures that must have a trait, and that must lack it.
        seed: of the permutations.
    """
    one = np.ones((1, len(score)))
    taken, true = (_ranks(np.asarray(v, float), one)[0] for v in (score, truth))
    slope, start = np.polyfit(true, taken, 1)
    residual = taken - slope * true - start
    pairs = dict.fromkeys((name, value) for t in traits for name, value in t.items())
    masks = {f"{name} {value}": np.array([t.get(name) == value for t in traits]) for name, value in pairs}
    masks = {name: has for name, has in masks.items() if least <= has.sum() <= len(has) - least}
    if not masks or not residual.any():
        return []
    # Standardised contrasts: the mean of those with the trait minus that of those without, over its deviation.
    has = np.array(list(masks.values()), dtype=float)
    sizes = has.sum(1, keepdims=True)
    contrasts = has / sizes - (1 - has) / (len(residual) - sizes)
    scales = np.sqrt(1 / sizes + 1 / (len(residual) - sizes))[:, 0]
    rng = np.random.default_rng(seed)
    permuted = rng.permuted(np.tile(residual, (RESAMPLES, 1)), axis=1)
    largest = (abs(permuted @ contrasts.T) / scales).max(1)
    found = []
    for name, places, scale, size in zip(masks, contrasts @ residual, scales, sizes[:, 0], strict=True):
        chance = float((1 + (largest >= abs(places) / scale - 1e-9).sum()) / (1 + RESAMPLES))
        if chance <= 1 - LEVEL and abs(places) >= NOTABLE * len(residual):
            found.append(Shift(name, float(places), int(size), chance))
    return sorted(found, key=lambda shift: -abs(shift.places))


def resamples(count: int, seed: int = 0, number: int = RESAMPLES) -> np.ndarray:
    """How often each of ``count`` things is drawn in each bootstrap resample, (number, count)."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), number).astype(float)


def _estimate(statistic, weights: np.ndarray) -> Estimate:  # type: ignore[no-untyped-def]
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
    """Tau-b for each row of weights, (R,): pairs count as often as both members together were drawn."""
    of_x, of_y = (np.sign(v[:, None] - v[None, :]) for v in (x, y))
    if same is not None:
        of_x, of_y = of_x * same, of_y * same
    agree, in_x, in_y = (((weights @ m) * weights).sum(1) for m in (of_x * of_y, of_x**2, of_y**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        tau: np.ndarray = agree / np.sqrt(in_x * in_y)
    return tau


def _rho(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlation of ranks for each row of weights, (R,)."""
    of_x, of_y = (_ranks(v, weights) for v in (x, y))
    total = weights.sum(1, keepdims=True)
    of_x, of_y = (v - (weights * v).sum(1, keepdims=True) / total for v in (of_x, of_y))
    with np.errstate(invalid="ignore", divide="ignore"):
        rho: np.ndarray = (weights * of_x * of_y).sum(1) / np.sqrt(
            (weights * of_x**2).sum(1) * (weights * of_y**2).sum(1)
        )
    return rho


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean rank of each value among those drawn, (R, N)."""
    below = (values[None, :] < values[:, None]).astype(float)
    equal = (values[None, :] == values[:, None]).astype(float)
    ranks: np.ndarray = weights @ below.T + (weights @ equal.T + 1) / 2
    return ranks
