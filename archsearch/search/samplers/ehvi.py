"""How much hypervolume a candidate promises whose costs are known and whose score is not."""

import warnings

import numpy as np
from scipy.special import ndtr
from scipy.stats import qmc

#: Points that a box of costs is probed at.
PROBES = {1: 512, 2: 1024}
MANY_PROBES = 2048


def expected_improvement(mean: np.ndarray, sd: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Expectation of what a normal variable has above a level, ``E[max(0, x - level)]``.

    Args:
        mean: of the variable, any shape.
        sd: its standard deviation, 0 or more, of the same shape or one that fits.
        level: likewise.

    >>> expected_improvement(np.array([2.0]), np.array([0.0]), np.array([1.5])).tolist()
    [0.5]
    """
    gain = mean - level
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(sd > 0, gain / np.maximum(sd, 1e-300), np.where(gain > 0, np.inf, -np.inf))
        density = np.exp(-0.5 * np.square(z)) / np.sqrt(2 * np.pi)
        return np.where(sd > 0, gain * ndtr(z) + sd * density, np.maximum(gain, 0.0))


def chance_below_zero(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Probability that normal variables are below 0.

    >>> chance_below_zero(np.array([0.0, 1.0]), np.array([1.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    return np.asarray(ndtr(-mean / np.maximum(sd, 1e-12)))


def probes(dimensions: int) -> np.ndarray:
    """Points spread evenly over the unit cube, (M, dimensions); the same every time."""
    count = PROBES.get(dimensions, MANY_PROBES)
    if dimensions == 1:
        return (np.arange(count)[:, None] + 0.5) / count
    sobol = qmc.Sobol(dimensions, scramble=False).random(count)
    return np.asarray((sobol + 0.5 / count) % 1.0)


def sobol_point(index: int, dimensions: int, seed: int) -> np.ndarray:
    """One point of a scrambled Sobol sequence, (dimensions,), in [0, 1).

    Args:
        index: of the point, from 0.
        dimensions: of the cube.
        seed: of the scrambling.
    """
    sequence = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))
    if index:
        sequence.fast_forward(index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one point is no balanced set
        return np.asarray(np.minimum(sequence.random(1)[0], 1 - 1e-12))


def expected_hypervolume_improvement(
    mean: np.ndarray, sd: np.ndarray, costs: np.ndarray, front_scores: np.ndarray, front_costs: np.ndarray
) -> np.ndarray:
    """The volume that each candidate is expected to add to what a front dominates.

    Where the costs of a candidate are known, its gain is an integral over the costs that it undercuts: at each of
    them it adds what its score has above the best score that the front offers at no more than these costs. Inside
    the integral stands an ordinary expected improvement; the integral is a mean over ``probes``.

    Args:
        mean: of the candidates' scores, (P,), scaled so that 0 is the worst that counts; larger is better.
        sd: of the same.
        costs: of the candidates, (P, C), scaled to [0, 1]; smaller is better, and 1 counts no more.
        front_scores: of the front, (F,), scaled like ``mean``.
        front_costs: likewise, (F, C).

    Returns:
        (P,), as a share of the unit box.
    """
    if not costs.shape[1]:
        best = max(0.0, float(np.max(front_scores, initial=0.0)))
        return expected_improvement(mean, sd, np.array(best))
    at = probes(costs.shape[1])
    reached = np.all(front_costs[None] <= at[:, None], axis=2)
    levels, which = np.unique(np.where(reached, np.maximum(front_scores, 0.0), 0.0).max(axis=1, initial=0.0),
                              return_inverse=True)  # fmt: skip
    undercut = np.ones((len(costs), len(at)), dtype=bool)
    for own, there in zip(costs.T, at.T, strict=True):
        undercut &= own[:, None] <= there
    share = undercut.astype(np.float32) @ np.eye(len(levels), dtype=np.float32)[which] / len(at)
    gains = expected_improvement(mean[:, None], sd[:, None], levels[None])
    return np.asarray((share * gains).sum(axis=1))
