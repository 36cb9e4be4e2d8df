"""Paired comparisons over seeds: intervals, Holm's correction, and how many seeds a difference asks for.

Two networks that share a seed share the order of their data and its augmentation, so their difference is taken seed by
seed: what a seed does to both of them cancels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from archsearch.stats.intervals import LEVEL

#: How the interval of a difference is found.
METHODS = ("t", "pooled", "bootstrap")
#: A bootstrap of fewer differences gives intervals that are much too short.
FEWEST_RESAMPLED = 5
RESAMPLES = 9999
#: A deviation below this is the rounding of sums, in whatever unit accuracies are given.
DUST = 1e-9
#: Probability of finding a difference that is there, when seeds are counted.
POWER = 0.8
#: More seeds than anyone would train.
MOST_SEEDS = 100_000


@dataclass(frozen=True)
class Mean:
    """A mean over seeds and how sure it is.

    Attributes:
        mean: of the values.
        sd: standard deviation between seeds; None for one.
        low: lower end of the 95 % interval; None where there is none.
        high: upper end.
        p: probability of a mean at least as far from 0, were the true one 0; None where it is unknown.
        n: number of values.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int

    @property
    def resolved(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def estimate(
    values: Sequence[float], method: str = "t", floor: float = 0.0, noise: tuple[float, int] | None = None
) -> Mean:
    """Mean, deviation, 95 % interval and p-value of values that are independent between seeds.

    Args:
        values: one per seed, at least one.
        method: ``t`` (Student's), ``bootstrap`` (bias-corrected and accelerated; p is still Student's), or
            ``pooled``: Student's with the deviation and degrees of freedom of ``noise``.
        floor: least deviation that is believed: values that are counted in steps can agree by chance.
        noise: deviation of one value, and its degrees of freedom.

    >>> found = estimate([1.0, 2.0, 3.0])
    >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3), round(found.p, 3)
    (2.0, -0.484, 4.484, 0.074)
    """
    n, mean = len(values), float(np.mean(values))
    sd = float(np.std(values, ddof=1)) if n > 1 else None
    spread, freedom = (sd or 0.0, n - 1) if method != "pooled" or noise is None else noise
    spread = max(spread, floor)
    if freedom < 1 or spread < DUST or (n < 2 and method != "pooled"):
        return Mean(mean, sd, None, None, None, n)
    error = spread / math.sqrt(n)
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    low, high = mean - half, mean + half
    if method == "bootstrap" and n >= FEWEST_RESAMPLED and (sd or 0.0) > floor:
        found = stats.bootstrap(
            (np.asarray(values),), np.mean, confidence_level=LEVEL, n_resamples=RESAMPLES, method="BCa", rng=0
        ).confidence_interval
        low, high = float(found.low), float(found.high)
    return Mean(mean, sd, low, high, float(2 * stats.t.sf(abs(mean) / error, freedom)), n)


def share_interval(correct: int, images: int) -> tuple[float, float, float]:
    """A share in percent, and its 95 % interval (Wilson's).

    >>> [round(value, 1) for value in share_interval(80, 100)]
    [80.0, 71.1, 86.7]
    """
    found = stats.binomtest(correct, images).proportion_ci(LEVEL, method="wilson")
    return 100 * correct / images, 100 * float(found.low), 100 * float(found.high)


def residual_noise(table: Mapping[str, Mapping[int, float]]) -> tuple[float, int] | None:
    """Deviation and degrees of freedom of what networks and seeds, added up, do not explain.

    As in a randomised block design: each seed is a block. Every network counts the same, so one that is much noisier
    than the others raises the noise of all.

    Args:
        table: values by network and seed; seeds may be missing.
    """
    cells = [(network, seed, value) for network, row in table.items() for seed, value in row.items()]
    networks = {name: i for i, name in enumerate(dict.fromkeys(cell[0] for cell in cells))}
    seeds = {seed: i for i, seed in enumerate(dict.fromkeys(cell[1] for cell in cells))}
    design = np.zeros((len(cells), len(networks) + len(seeds)))
    for i, (network, seed, _) in enumerate(cells):
        design[i, networks[network]] = design[i, len(networks) + seeds[seed]] = 1
    if not cells:
        return None
    values = np.array([cell[2] for cell in cells])
    solution, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    freedom = len(cells) - int(rank)
    if freedom < 1:
        return None
    return math.sqrt(float(np.sum((values - design @ solution) ** 2)) / freedom), freedom


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number (Holm 1979): chances of any false alarm among all of them.

    >>> holm([0.01, 0.04, 0.03, None])
    [0.03, 0.06, 0.06, None]
    """
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        corrected[i] = highest
    return corrected


def seeds_needed(sd: float, difference: float, power: float = POWER) -> int | None:
    """Seeds at which a paired t-test at 5 % finds a difference that is there, with a probability of ``power``.

    Args:
        sd: standard deviation of the difference between seeds, as observed.
        difference: to be found, in the same unit.
        power: wanted.

    Returns:
        At least 2; None where the difference is 0 or would ask for more than anyone would train.

    >>> seeds_needed(sd=1.0, difference=1.0)
    10
    """
    if difference == 0 or not math.isfinite(sd):
        return None
    effect = abs(difference) / max(sd, 1e-12)

    def reaches(n: int) -> bool:
        critical = stats.t.ppf((1 + LEVEL) / 2, n - 1)
        found = stats.nct.sf(critical, n - 1, effect * math.sqrt(n)) if effect * math.sqrt(n) < 30 else 1.0
        return bool(found >= power)

    high = 2
    while not reaches(high):
        high *= 2
        if high > MOST_SEEDS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high
