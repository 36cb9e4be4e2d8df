"""Expected hypervolume improvement (EHVI) of candidates whose costs are known and whose score is predicted."""

import warnings
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

if TYPE_CHECKING:
    from scipy.stats import qmc

#: Number of points at which a box of costs is sampled, by its dimensions; and where it has more.
PROBES = {1: 512, 2: 1024}
MANY_PROBES = 2048


def expected_improvement(mean: np.ndarray, sd: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return the expected improvement of a normal variable over a level, ``E[max(0, x - level)]``.

    Args:
        mean: Mean of the variable, any shape.
        sd: Its standard deviation, 0 or more; broadcast with ``mean``.
        level: Level to improve on; broadcast with ``mean``.

    >>> expected_improvement(np.array([2.0]), np.array([0.0]), np.array([1.5])).tolist()
    [0.5]
    """
    gain = mean - level
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(sd > 0, gain / np.maximum(sd, 1e-300), np.where(gain > 0, np.inf, -np.inf))
        density = np.exp(-0.5 * np.square(z)) / np.sqrt(2 * np.pi)
        return np.where(sd > 0, gain * ndtr(z) + sd * density, np.maximum(gain, 0.0))


def probability_below_zero(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return the probability that a normal variable is below 0.

    >>> probability_below_zero(np.array([0.0, 1.0]), np.array([1.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    return np.asarray(ndtr(-mean / np.maximum(sd, 1e-12)))


def _sobol(dimensions: int, scrambled_by: np.random.Generator | None = None) -> "qmc.Sobol":
    from scipy.stats import qmc  # here, as it takes a second, and not all samplers need it

    return qmc.Sobol(dimensions, scramble=scrambled_by is not None, rng=scrambled_by)


def probes(dimensions: int) -> np.ndarray:
    """Return points spread evenly over the unit cube, (M, dimensions); the same every time."""
    count = PROBES.get(dimensions, MANY_PROBES)
    if dimensions == 1:
        return (np.arange(count)[:, None] + 0.5) / count
    sobol = _sobol(dimensions).random(count)
    return np.asarray((sobol + 0.5 / count) % 1.0)


def sobol_point(index: int, dimensions: int, seed: int) -> np.ndarray:
    """Return one point of a scrambled Sobol sequence, (dimensions,), in [0, 1).

    Args:
        index: Index of the point, from 0.
        dimensions: Dimensions of the cube.
        seed: Seed of the scrambling.
    """
    sequence = _sobol(dimensions, np.random.default_rng(seed))
    if index:
        sequence.fast_forward(index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one point is no balanced set
        return np.asarray(np.minimum(sequence.random(1)[0], 1 - 1e-12))


def expected_hypervolume_improvement(
    mean: np.ndarray, sd: np.ndarray, costs: np.ndarray, front_scores: np.ndarray, front_costs: np.ndarray
) -> np.ndarray:
    """Return the expected hypervolume improvement of candidates with known costs over a front.

    For known costs it is an integral over all costs that the candidate undercuts: at each of them it adds the
    difference between its score and the best score of the front at no more than these costs. The integrand is an
    ordinary expected improvement; the integral is a mean over ``probes``.

    Args:
        mean: Mean of the candidates' predicted scores, (P,), where 0 is the worst that counts; larger is better.
        sd: Standard deviation of the same, (P,).
        costs: Costs of the candidates, (P, C), scaled to [0, 1]; smaller is better, and 1 adds nothing.
        front_scores: Scores of the front, (F,), scaled like ``mean``.
        front_costs: Costs of the front, (F, C), scaled like ``costs``.

    Returns:
        Expected improvement as a share of the unit box, (P,).
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
