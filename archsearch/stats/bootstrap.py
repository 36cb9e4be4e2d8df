"""Parametric bootstrap of the front: how often each row is on it when noisy scores are drawn again."""

import moocore
import numpy as np
from scipy import special

from archsearch.stats.fronts import nondominated

#: Draws of the bootstrap; the standard error of a share is at most 1.6 points.
DRAWS = 1000
#: Standard errors at which draws are cut (one in a thousand lies beyond), so that some trials are never on the front.
CUT = 3.3
#: Number of normal deviates that draws are taken from.
POOL = 1 << 17
#: Maximum number of rivals that trials are compared with, and number compared at a time.
RIVALS, CHUNK = 512, 16
#: Number of trials of the observed front that are compared with all others in every draw.
STRONG = 8


def front_probability(values: np.ndarray, errors: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Return the share of draws in which each row is on the front.

    Every score is drawn independently from a normal distribution around the observed value, cut at ``CUT`` standard
    errors. The share tells what the noise of the scores leaves open. It is not the probability of being truly the
    best: a row that looks good among many was probably lucky, and the observed values are taken as they are. The noise
    of speeds is that within one timing session.

    Args:
        values: Observed scores, (N, objectives); smaller is better.
        errors: Their standard errors, (N, objectives); 0 is exact.
        draws: Number of draws.
        seed: Seed of the draws; the same rows give the same shares.

    Returns:
        Shares, (N,); NaN for rows with a value or standard error that is NaN or infinite.

    >>> front_probability(np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]]), np.full((3, 2), 0.01)).tolist()
    [1.0, 1.0, 0.0]
    """
    shares = np.where((np.isfinite(values) & np.isfinite(errors)).all(axis=1), 0.0, np.nan)
    rows = np.flatnonzero(~np.isnan(shares))
    rows = rows[contenders(values[rows], errors[rows])]
    if len(rows):
        columns = np.argsort(-errors[rows].max(axis=0) / (np.ptp(values[rows], axis=0) + 1e-300))
        rows = rows[np.argsort(values[rows, columns[-1]])]  # the order changes least there, and moocore sorts by it
        shares[rows] = shares_on_front(values[np.ix_(rows, columns)], errors[np.ix_(rows, columns)], draws, seed)
    return shares


def contenders(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return the indices of the rows that can be on the front in some draw.

    A row whose best possible draw is dominated by another row's worst possible draw is dominated in every draw.
    Whatever it dominates is dominated by that other row too, so leaving it out changes no draw. This holds for any
    choice of rivals; of many, a selection that is spread over the front suffices.
    """
    best, worst = values - CUT * errors, values + CUT * errors
    rivals = worst[nondominated(worst)]
    rivals = rivals[_spread(rivals, RIVALS)]
    left = np.arange(len(values))
    for start in range(0, len(rivals), CHUNK):
        left = left[~_beaten(best[left], rivals[start : start + CHUNK])]
    return left


def _spread(points: np.ndarray, most: int) -> np.ndarray:
    """Return indices of at most ``most`` points, spread evenly over the first column."""
    order = np.argsort(points[:, 0])
    return order[:: -(-len(order) // most) or 1]


def _beaten(points: np.ndarray, rivals: np.ndarray) -> np.ndarray:
    """Return whether any of the rivals dominates each point, (N,)."""
    pairs = [(rivals[:, place, None], points[None, :, place]) for place in range(points.shape[1])]
    weakly = np.logical_and.reduce([rival <= point for rival, point in pairs])
    return np.asarray((weakly & np.logical_or.reduce([rival < point for rival, point in pairs])).any(axis=0))


def shares_on_front(values: np.ndarray, errors: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Return the shares of all rows without dropping any; there is at least one row, and no value is missing."""
    noisy = np.flatnonzero((errors > 0).any(axis=0))
    rng, drawn, counts = np.random.default_rng(seed), values.copy(order="F"), np.zeros(len(values))
    deviates = {column: _deviates(rng, len(values)) for column in noisy}
    front = np.flatnonzero(nondominated(values))
    strong = front[_spread(values[front], STRONG)] if 4 * len(front) < len(values) else front[:0]
    for starts in rng.integers(POOL, size=(draws, len(noisy))):
        for column, start in zip(noisy, starts, strict=True):
            some = deviates[column][start : start + len(drawn)]
            drawn[:, column] = values[:, column] + errors[:, column] * some
        left = np.flatnonzero(~_beaten(drawn, drawn[strong]))  # moocore takes longer to find them dominated
        counts[left] += moocore.is_nondominated(drawn[left], keep_weakly=True)
    return counts / draws


def _deviates(rng: np.random.Generator, length: int) -> np.ndarray:
    """Return normal deviates in random order; any ``length`` successive ones are a draw, sooner than new ones."""
    pool = rng.permutation(np.clip(special.ndtri((np.arange(POOL) + 0.5) / POOL), -CUT, CUT))
    return np.concatenate([pool, np.resize(pool, length)])


def front_probability_of(values: np.ndarray, errors: np.ndarray, column: int, drawn: np.ndarray) -> np.ndarray:
    """Return the share of draws in which each row is on the front, where one score is drawn jointly for all rows.

    Args:
        values: Scores, (N, objectives); smaller is better.
        errors: Standard errors of the other scores, which are drawn independently, (N, objectives); 0 is exact.
        column: Place of the score that is drawn jointly.
        drawn: Its draws, (draws, N).

    Returns:
        Shares, (N,).

    >>> both = np.array([[0.0, 1.0], [1.0, 1.0]])
    >>> front_probability_of(both, 0 * both, 0, np.array([[0.0, 1.0], [2.0, 1.0], [2.0, 1.0], [2.0, 1.0]])).tolist()
    [0.25, 0.75]
    """
    rng, points, counts = np.random.default_rng(0), values.copy(order="F"), np.zeros(len(values))
    noisy = [place for place in np.flatnonzero((errors > 0).any(axis=0)) if place != column]
    for one in drawn:
        points[:, column] = one
        for place in noisy:
            deviates = np.clip(rng.standard_normal(len(points)), -CUT, CUT)
            points[:, place] = values[:, place] + errors[:, place] * deviates
        counts += nondominated(points)
    return counts / len(drawn)
