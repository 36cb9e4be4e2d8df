"""A parametric bootstrap of fronts: the share of draws of noisy scores in which a row is on the front."""

import moocore
import numpy as np
from scipy import special

from archsearch.stats.fronts import nondominated

#: Of the bootstrap: a share is uncertain by 1.6 points (its standard error) at most.
DRAWS = 1000
#: Standard errors at which draws are cut; one in a thousand lies beyond. So some trials are in no draw on the front.
REACH = 3.3
#: Deviates that draws are cut out of.
POOL = 1 << 17
#: Rivals that trials are compared with, at most and at a time.
RIVALS, CHUNK = 512, 16
#: Of the front as it was observed, as many are compared with all in every draw.
STRONG = 8


def front_probability(values: np.ndarray, errors: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """The share of draws of all scores in which a row is on the front: a parametric bootstrap.

    Every score is drawn from the normal distribution around what was observed, cut at ``REACH`` standard errors, all of
    them independently. So the share tells what the noise of the figures leaves open. It is no probability of being
    truly the best: who looks good among many is likely to have been lucky, and what was observed is taken as it is.
    Speeds scatter as within one session of timing.

    Args:
        values: (N, objectives), smaller is better.
        errors: their standard errors; 0 is exact.
        draws: of the bootstrap; always as many, however many rows there are.
        seed: of the draws; the same rows give the same shares.

    Returns:
        (N,); NaN for rows that lack a value.

    >>> front_probability(np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]]), np.full((3, 2), 0.01)).tolist()
    [1.0, 1.0, 0.0]
    """
    shares = np.where(np.isnan(values).any(axis=1), np.nan, 0.0)
    rows = np.flatnonzero(~np.isnan(shares))
    rows = rows[contenders(values[rows], errors[rows])]
    if len(rows):
        columns = np.argsort(-errors[rows].max(axis=0) / (np.ptp(values[rows], axis=0) + 1e-300))
        rows = rows[np.argsort(values[rows, columns[-1]])]  # the order changes least there, and moocore sorts by it
        shares[rows] = shares_on_front(values[np.ix_(rows, columns)], errors[np.ix_(rows, columns)], draws, seed)
    return shares


def contenders(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Indices of the rows that a draw can have on the front.

    A row whose best reading another's worst reading dominates is dominated in every draw, and whatever it dominates is
    dominated by that other one, too: without it, all draws are what they were. That holds for any choice of rivals, so
    of many, some that are spread over the front will do.
    """
    best, worst = values - REACH * errors, values + REACH * errors
    rivals = worst[nondominated(worst)]
    rivals = rivals[_spread(rivals, RIVALS)]
    left = np.arange(len(values))
    for start in range(0, len(rivals), CHUNK):
        left = left[~_beaten(best[left], rivals[start : start + CHUNK])]
    return left


def _spread(points: np.ndarray, most: int) -> np.ndarray:
    """Indices of at most so many points, spread evenly over the first column."""
    order = np.argsort(points[:, 0])
    return order[:: -(-len(order) // most) or 1]


def _beaten(points: np.ndarray, rivals: np.ndarray) -> np.ndarray:
    """Whether any of the rivals dominates a point, (N,)."""
    pairs = [(rivals[:, place, None], points[None, :, place]) for place in range(points.shape[1])]
    weakly = np.logical_and.reduce([rival <= point for rival, point in pairs])
    return np.asarray((weakly & np.logical_or.reduce([rival < point for rival, point in pairs])).any(axis=0))


def shares_on_front(values: np.ndarray, errors: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """The shares of all rows, none dropped; they lack nothing, and are one at least."""
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
    """Normal deviates in random order, any ``length`` in a row of which are a draw: to make them anew takes longer."""
    pool = rng.permutation(np.clip(special.ndtri((np.arange(POOL) + 0.5) / POOL), -REACH, REACH))
    return np.concatenate([pool, np.resize(pool, length)])
