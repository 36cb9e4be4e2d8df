"""True accuracies of trials, given those observed: what a model of the space's axes makes of noisy scores.

An observed accuracy is the truth plus noise, and who looks good among many was probably lucky. Trials that share values
of axes tell of each other, so that a model of all of them knows each one better than its own score does.

The model is a Gaussian process with the parts of an analysis of variance: a trend in the network's size, main effects
of the axes, interactions of their pairs, and an effect of the architecture itself, which repeats with every training as
noise does not. How large these are is not fitted but integrated over: the most likely values after 50 trials make a
model surer of itself than it should be (``docs/results/calibration.md``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Minimum number of trials for a model.
FEWEST = 8
#: Draws of true scores; the standard error of a share is at most 1.6 points.
DRAWS = 1000
#: Number of hyperparameters that are drawn from the prior.
PRIOR_DRAWS = 256
#: Numbers of those kept, in proportion to their likelihood: of few trials, and of more than ``CHOOSE``, which leave
#: less open and take longer.
KEPT, KEPT_OF_MANY = 32, 8
#: Maximum number of trials that their likelihood is computed of.
CHOOSE = 100
#: Ranges of hyperparameters, log-uniform: variance of the effects, and noise beyond the known part, both by the
#: variance of the scores; length scale of an axis' values, whose mean squared distance is 2.
EFFECTS, UNKNOWN, LENGTHS = (0.1, 3.0), (1e-3, 1.0), (0.5, 5.0)
#: Number of length scales that are tried.
SCALES = 6
#: Squared distance between an open axis and a closed one.
CLOSED = 4.0
#: Prior variance of the mean, by that of the scores.
OFFSET = 1.0
#: Added to variances, so that covariance matrices can be factored.
JITTER = 1e-8


@dataclass(frozen=True)
class Factors:
    """Architectures as a model sees them. N is their number.

    Attributes:
        codes: Place of each one's value among those of every axis, (N, axes); that after the last is a closed axis.
        distances: Squared distances between the values of every axis, (values + 1, values + 1) each.
        sizes: Logarithms of counted costs, (N, S).
    """

    codes: np.ndarray
    distances: Sequence[np.ndarray]
    sizes: np.ndarray

    def of(self, rows: np.ndarray) -> "Factors":
        """Return some of the architectures."""
        return Factors(self.codes[rows], self.distances, self.sizes[rows])


def value_distances(features: np.ndarray) -> np.ndarray:
    """Return squared distances between the values of an axis, and to its being closed, (V + 1, V + 1).

    Args:
        features: Features of its values, (V, D).

    >>> value_distances(np.array([[0.0], [1.0]])).tolist()
    [[0.0, 2.0, 4.0], [2.0, 0.0, 4.0], [4.0, 4.0, 0.0]]
    """
    squared = np.square(features[:, None] - features[None]).sum(axis=2)
    apart = squared[~np.eye(len(features), dtype=bool)]
    if apart.any():
        squared = squared * (2 / apart.mean())
    found = np.full((len(features) + 1,) * 2, CLOSED)
    found[:-1, :-1], found[-1, -1] = squared, 0.0
    return found


@dataclass(frozen=True)
class Smoothed:
    """Posterior of true scores.

    Attributes:
        mean: Their means, (N,).
        draws: Joint draws, (DRAWS, N).
    """

    mean: np.ndarray
    draws: np.ndarray

    @property
    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of their 95 % credible intervals, (N,) each."""
        low, high = np.quantile(self.draws, (0.025, 0.975), axis=0)
        return low, high


@dataclass(frozen=True)
class _Hyperparameters:
    """Hyperparameters, H of each.

    Attributes:
        scale: Place of the length scale, (H,).
        weights: Variances of trend, main effects, interactions and the architectures' own effects, (H, 4).
        factor: Variance of the known noise by its estimate, (H,).
        unknown: Variance of noise beyond it, (H,).
    """

    scale: np.ndarray
    weights: np.ndarray
    factor: np.ndarray
    unknown: np.ndarray


def smooth(
    factors: Factors, scores: np.ndarray, errors: np.ndarray, degrees: int = 0, seed: int = 0
) -> Smoothed | None:
    """Return the posterior of true scores; None where there are too few, or all are the same.

    Args:
        factors: The architectures.
        scores: Observed scores, (N,).
        errors: Standard errors of the scores, (N,).
        degrees: Degrees of freedom of their estimate. 0: they are known, but only a part of the noise, such as the
            binomial error where nobody knows how much seeds differ.
        seed: Seed of the draws; the same trials give the same posterior.
    """
    count, spread = len(scores), float(np.std(scores)) if len(scores) else 0.0
    if count < FEWEST or spread == 0:
        return None
    centre, rng = float(np.mean(scores)), np.random.default_rng(seed)
    z, known = (scores - centre) / spread, np.square(errors / spread)
    prior = _prior(rng, degrees)
    some = np.unique(np.linspace(0, count - 1, min(count, CHOOSE)).astype(int))
    number = KEPT if count <= CHOOSE else KEPT_OF_MANY
    kept = _likely(rng, _likelihoods(prior, _Parts(factors.of(some)), z[some], known[some]), number)
    parts, mean, draws = _Parts(factors), np.zeros(count), []
    for place, times in zip(*np.unique(kept, return_counts=True), strict=True):
        effects = parts.covariance(prior, place)
        noise = known * prior.factor[place] + prior.unknown[place] + JITTER
        gain = np.linalg.solve(effects + np.diag(noise), effects)
        mean += times / number * (z @ gain)
        shape = times * -(-DRAWS // number), count
        truth = rng.standard_normal(shape) @ np.linalg.cholesky(effects + JITTER * parts.own).T
        observed = truth + rng.standard_normal(shape) * np.sqrt(noise)
        draws.append(truth + (z - observed) @ gain)  # Matheron's rule: a draw of the prior, corrected by its residual
    drawn = rng.permutation(np.concatenate(draws))[:DRAWS]
    return Smoothed(centre + spread * mean, centre + spread * drawn)


class _Parts:
    """Covariances of architectures by the parts of the model, for each length scale."""

    def __init__(self, factors: Factors) -> None:
        sizes = factors.sizes - factors.sizes.mean(axis=0)
        trend = _scaled(sizes @ sizes.T)
        lengths = np.geomspace(*LENGTHS, SCALES)
        self.by_scale = [np.stack([trend, *_axis_parts(factors, length)]) for length in lengths]
        self.own = np.eye(len(sizes))

    def covariance(self, prior: _Hyperparameters, place: int) -> np.ndarray:
        """Return covariances of true scores, (N, N)."""
        weights = prior.weights[place]
        return np.tensordot(weights[:-1], self.by_scale[prior.scale[place]], 1) + weights[-1] * self.own + OFFSET


def _axis_parts(factors: Factors, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Return covariances of the main effects of all axes, and of the interactions of their pairs, (N, N) each."""
    count, axes = factors.codes.shape
    total, squares = np.zeros((count, count)), np.zeros((count, count))
    for codes, squared in zip(factors.codes.T, factors.distances, strict=True):
        alike = _matern(squared, length)[codes][:, codes]
        total += alike
        squares += np.square(alike)
    return total / max(axes, 1), (np.square(total) - squares) / max(axes * (axes - 1), 1)


def _matern(squared: np.ndarray, length: float) -> np.ndarray:
    far = np.sqrt(5 * squared) / length
    return np.asarray((1 + far + far**2 / 3) * np.exp(-far))


def _scaled(covariance: np.ndarray) -> np.ndarray:
    """Covariances with a mean variance of 1, or 0 everywhere."""
    return covariance / (float(np.trace(covariance)) / len(covariance) or 1.0)


def _prior(rng: np.random.Generator, degrees: int) -> _Hyperparameters:
    effects = _log_uniform(rng, EFFECTS)
    return _Hyperparameters(
        rng.integers(SCALES, size=PRIOR_DRAWS),
        rng.dirichlet(np.ones(4), PRIOR_DRAWS) * effects[:, None],
        degrees / rng.chisquare(degrees, PRIOR_DRAWS) if degrees else np.ones(PRIOR_DRAWS),
        np.zeros(PRIOR_DRAWS) if degrees else _log_uniform(rng, UNKNOWN),
    )


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> np.ndarray:
    low, high = np.log(bounds)
    return np.exp(rng.uniform(low, high, PRIOR_DRAWS))


def _likelihoods(prior: _Hyperparameters, parts: _Parts, z: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the log-likelihood of scores under each of the hyperparameters, (H,)."""
    found = np.empty(len(prior.scale))
    for place in range(len(found)):
        noise = known * prior.factor[place] + prior.unknown[place] + JITTER
        root = np.linalg.cholesky(parts.covariance(prior, place) + np.diag(noise))
        found[place] = -np.square(np.linalg.solve(root, z)).sum() / 2 - np.log(np.diag(root)).sum()
    return found


def _likely(rng: np.random.Generator, likelihoods: np.ndarray, number: int) -> np.ndarray:
    """Return the places of some hyperparameters, drawn systematically in proportion to their likelihood."""
    shares = np.exp(likelihoods - likelihoods.max())
    steps = (np.arange(number) + rng.random()) / number
    return np.minimum(np.searchsorted(np.cumsum(shares / shares.sum()), steps), len(shares) - 1)
