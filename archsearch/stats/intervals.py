"""Medians of repeated measurements, shares of samples, and their confidence intervals."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

#: Confidence level of intervals.
LEVEL = 0.95
#: Standard errors from the centre of a normal distribution to the ends of such an interval.
NORMAL = NormalDist().inv_cdf((1 + LEVEL) / 2)
#: Factor on the width of a relative throughput's interval from one sitting, which makes it cover what timing the same
#: network again in another minute shows (``benchmarks/busy.py``).
RETIMING = 2.0
#: Bootstrap resamples.
RESAMPLES = 5000


def median(values: Sequence[float]) -> float:
    """Return the median.

    >>> median([3.0, 1.0, 2.0, 9.0])
    2.5
    """
    return float(np.median(values))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and third quartile, interpolated.

    >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    (2.0, 4.0)
    """
    low, high = np.quantile(values, (0.25, 0.75))
    return float(low), float(high)


def median_and_tail(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 95th percentile, interpolated.

    >>> median_and_tail([1.0, 2.0, 3.0, 4.0, 5.0])
    (3.0, 4.8)
    """
    middle, tail = np.quantile(values, (0.5, 0.95))
    return float(middle), float(tail)


def median_interval(values: Sequence[float], level: float = LEVEL, seed: int = 0) -> tuple[float, float]:
    """Return a percentile bootstrap interval of the median; the same values give the same interval.

    With ten independent values or more, it covers the true median in 90 to 95 of 100 experiments (a test counts).

    Args:
        values: Measurements, at least one.
        level: Confidence level.
        seed: Seed of the resampling.

    >>> low, high = median_interval([9.8, 9.9, 10.0, 10.1, 10.2, 50.0, 10.0, 9.9, 10.1, 10.0])
    >>> 9.8 < low <= 10.0 <= high < 10.3
    True
    """
    rng = np.random.default_rng(seed)
    resampled = rng.choice(np.asarray(values, dtype=float), size=(RESAMPLES, len(values)))
    low, high = np.quantile(np.median(resampled, axis=1), ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def retimed(ratio: float, interval: tuple[float, float]) -> tuple[float, float]:
    """Return the interval of a relative throughput, widened by ``RETIMING`` around it, in logarithms.

    Args:
        ratio: Relative throughput.
        interval: Its interval from one sitting.

    >>> [round(end, 3) for end in retimed(2.0, (2.0 / 1.1, 2.0 * 1.1))]
    [1.653, 2.42]
    """
    low, high = (ratio * (end / ratio) ** RETIMING for end in interval)
    return low, high


def retimed_half_width(ratio: float, interval: tuple[float, float]) -> float:
    """Return half the width of what ``retimed`` returns, as a share of the ratio; arguments as there.

    >>> round(retimed_half_width(2.0, (1.9, 2.1)), 3)
    0.1
    """
    low, high = retimed(ratio, interval)
    return (high - low) / 2 / ratio


def student(level: float, degrees: int) -> float:
    """Return a quantile of Student's t distribution.

    Args:
        level: Probability of smaller values.
        degrees: Degrees of freedom.

    >>> round(student(0.975, 10), 3)
    2.228
    """
    from scipy.special import stdtrit  # here, as every worker imports this module and none needs SciPy

    return float(stdtrit(degrees, level))


def wilson(share: float, samples: int) -> tuple[float, float]:
    """Return Wilson's 95 % confidence interval of a share, which has a width at 0 and 1, too.

    SciPy's ``binomtest`` takes whole counts only, and loads all of ``scipy.stats``.

    Args:
        share: Observed share, between 0 and 1.
        samples: Number of samples.

    >>> [round(end, 3) for end in wilson(0.5, 100)], [round(end, 3) for end in wilson(1.0, 100)]
    ([0.404, 0.596], [0.963, 1.0])
    """
    squared = NORMAL**2 / samples
    middle = (share + squared / 2) / (1 + squared)
    half = NORMAL / (1 + squared) * math.sqrt(share * (1 - share) / samples + squared / (4 * samples))
    return max(middle - half, 0.0), min(middle + half, 1.0)
