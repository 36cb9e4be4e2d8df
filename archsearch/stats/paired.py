"""Paired comparisons over seeds: confidence intervals, Holm's correction, and the number of seeds for a difference.

Two networks with the same seed see the same data in the same order with the same augmentation, so their difference is
taken seed by seed: what a seed does to both of them cancels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from archsearch.stats.intervals import LEVEL, student, wilson
from archsearch.stats.seeds import SeedModel

#: Methods of the confidence interval of a difference.
METHODS = ("t", "pooled", "bootstrap")
#: Minimum number of differences for a bootstrap; with fewer, too many resamples have no spread.
FEWEST_RESAMPLED = 5
RESAMPLES = 9999
#: Level of the test for unequal noise: above the usual one, as with few seeds it finds little, and a false alarm costs
#: no more than longer intervals.
UNEQUAL = 0.2
#: Simulated tables of that test.
SIMULATED = 1999
#: Standard deviations below this come from rounding of sums, in any unit of accuracy.
DUST = 1e-9
#: Power of a test when the number of seeds is estimated: probability of finding a difference that exists.
POWER = 0.8
#: Maximum number of seeds to report.
MOST_SEEDS = 100_000


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with its confidence interval.

    Attributes:
        mean: Mean of the values.
        sd: Standard deviation between seeds; None for one seed.
        low: Lower end of the 95 % confidence interval; None without one.
        high: Upper end.
        p: p-value of the mean against 0; None without an interval.
        n: Number of values.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int

    @property
    def resolved(self) -> bool:
        """Whether 0 is outside the confidence interval."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def estimate(
    values: Sequence[float], method: str = "t", floor: float = 0.0, noise: tuple[float, int] | None = None
) -> Mean:
    """Estimate a mean, with its standard deviation, 95 % confidence interval and p-value.

    Args:
        values: One value per seed, at least one; independent between seeds.
        method: ``t`` (Student's), ``bootstrap`` (the symmetric bootstrap-t interval of Hall 1988, and the p-value of
            the same resamples), or ``pooled``: Student's with the standard deviation and the degrees of freedom of
            ``noise``, which is right only if all networks are about equally noisy (``unequal_noise``).
        floor: Minimum standard deviation, as values that are counted in steps can agree by chance.
        noise: Standard deviation of one value, and its degrees of freedom.

    Returns:
        The estimate; 0 is outside its interval exactly if p is below 0.05.

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
    half, p = student((1 + LEVEL) / 2, freedom) * error, float(2 * stats.t.sf(abs(mean) / error, freedom))
    if method == "bootstrap" and n >= FEWEST_RESAMPLED and (sd or 0.0) > floor:
        half, p = _bootstrap(np.asarray(values, dtype=float), floor) or (half, p)
    return Mean(mean, sd, mean - half, mean + half, p, n)


def _bootstrap(values: np.ndarray, floor: float) -> tuple[float, float] | None:
    """Return half the length of the symmetric bootstrap-t interval of a mean, and the p-value of the mean against 0.

    Percentile and BCa intervals of 5 to 10 values are too short, as resamples have too little spread; the distribution
    of ``t`` takes that into account. SciPy's ``bootstrap`` has none that is studentised.

    Returns:
        None where the interval has no end, as too many resamples have no spread.
    """
    n, mean = len(values), values.mean()
    drawn = values[np.random.default_rng(0).integers(n, size=(RESAMPLES, n))]
    with np.errstate(divide="ignore", invalid="ignore"):
        spreads = drawn.std(axis=1, ddof=1)
        errors = np.maximum(np.where(spreads < DUST, 0.0, spreads), floor) / math.sqrt(n)
        distances = np.sort(np.nan_to_num(np.abs(drawn.mean(axis=1) - mean) / errors, nan=0.0, posinf=np.inf))
    beyond = round((1 - LEVEL) * (RESAMPLES + 1)) - 2  # so that p is below 0.05 exactly where 0 is outside
    error = values.std(ddof=1) / math.sqrt(n)
    p = (1 + np.count_nonzero(distances >= abs(mean) / error)) / (RESAMPLES + 1)
    half = float(distances[-1 - beyond] * error)
    return (half, float(p)) if math.isfinite(half) else None


def share_interval(correct: int, images: int) -> tuple[float, float, float]:
    """A share in percent, and its 95 % interval (Wilson's).

    >>> [round(value, 1) for value in share_interval(80, 100)]
    [80.0, 71.1, 86.7]
    """
    low, high = wilson(correct / images, images)
    return 100 * correct / images, 100 * low, 100 * high


def residual_noise(table: Mapping[str, Mapping[int, float]]) -> tuple[float, int] | None:
    """Estimate the noise of a single value that neither its network nor its seed explains.

    The model is that of ``archsearch.stats.seeds.SeedModel``.

    Args:
        table: Values by network and seed; seeds may be missing.

    Returns:
        Standard deviation and degrees of freedom; None without any degree of freedom.
    """
    model = SeedModel()
    for values in table.values():
        model.add(values)
    return model.residual


def unequal_noise(table: Mapping[str, Mapping[int, float]], seed: int = 0) -> float | None:
    """Test whether some networks are noisier than others, by their residuals in the model of ``residual_noise``.

    The statistic is the variation of the networks' residual variances (their mean square over the square of their
    mean); its distribution for equal, normal noise is simulated with the same networks and seeds. Levene's test and its
    kind find next to nothing in the three to five residuals of a network, which add up to 0.

    Args:
        table: Values by network and seed; seeds may be missing.
        seed: Seed of the simulation.

    Returns:
        p-value; None with fewer than three networks of several seeds, or without residuals.

    >>> table = {str(i): {s: i + 0.1 * (s * i % 3) for s in range(5)} for i in range(4)}
    >>> unequal_noise(table | {"noisy": dict(enumerate([1.0, 9.0, 4.0, 0.0, 8.0]))}) < UNEQUAL
    True
    """
    several = {name: row for name, row in table.items() if len(row) > 1}
    if len(several) < 3:
        return None
    cells = [(name, s, value) for name, row in several.items() for s, value in row.items()]
    networks, seeds = (_indicators([cell[part] for cell in cells]) for part in (0, 1))
    design, rng = np.hstack([networks, seeds]), np.random.default_rng(seed)
    drawn = np.vstack([[cell[2] for cell in cells], rng.standard_normal((SIMULATED, len(cells)))])
    residuals = drawn - drawn @ np.linalg.pinv(design).T @ design.T
    variances = np.square(residuals) @ networks / networks.sum(axis=0)
    if variances[0].sum() < DUST**2:
        return None
    variation = np.square(variances).mean(axis=1) / variances.mean(axis=1) ** 2
    return float((1 + np.count_nonzero(variation[1:] >= variation[0] - 1e-9)) / (SIMULATED + 1))


def _indicators(labels: Sequence[Any]) -> np.ndarray:
    """Return 1 where a value has a label, (N, labels), and 0 elsewhere."""
    return np.array([[label == other for other in dict.fromkeys(labels)] for label in labels], dtype=float)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected for multiple comparisons (Holm 1979): bounds on any false positive among them.

    Args:
        ps: p-values; None is left out of the count.

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
    """Return the number of seeds with which a paired t-test at 5 % finds a difference.

    Args:
        sd: Standard deviation of the difference between seeds.
        difference: Difference to find, in the same unit.
        power: Probability of finding it.

    Returns:
        At least 2; None for a difference of 0, or if it takes more than ``MOST_SEEDS``.

    >>> seeds_needed(sd=1.0, difference=1.0)
    10
    """
    if difference == 0 or not math.isfinite(sd):
        return None
    effect = abs(difference) / max(sd, 1e-12)
    high = 2
    while _power(effect, high) < power:
        high *= 2
        if high > MOST_SEEDS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(effect, middle) >= power else (middle, high)
    return high


def _power(effect: float, n: int) -> float:
    """Return the power of a paired t-test at 5 % with ``n`` seeds for an effect in standard deviations."""
    shift = effect * math.sqrt(n)
    return float(stats.nct.sf(student((1 + LEVEL) / 2, n - 1), n - 1, shift)) if shift < 30 else 1.0
