"""A Gaussian process over features of architectures, fitted by scikit-learn and predicted here."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

#: Maximum number of trials for predictions, and for fitting hyperparameters; both take time cubic in them.
LEARN, CHOOSE = 250, 100
#: Growth of the number of trials after which hyperparameters are fitted again.
REFIT = 1.5
#: Minimum number of trials for fitting them.
FIRST = 5
#: Bounds of length scales, and where fitting begins, in units of the root of the number of features: two random
#: architectures are about 1.4 of it apart, and with shorter scales few trials are explained by a bump for each.
SHORTEST, LONGEST, BEGIN = 1.0, 20.0, 2.0
#: Added to variances, so that covariance matrices can be factored.
JITTER = 1e-8


K = TypeVar("K")
#: Scaled features of an architecture, (D,), an observed value, and the standard deviation of its own noise.
Observed = tuple[np.ndarray, float, float]
Observe = Callable[[K], Observed]


@dataclass(frozen=True)
class Kernel:
    """A Matern kernel (nu 2.5) with a length scale per feature plus a linear trend, as fitted by scikit-learn.

    Hand-written, as a prediction takes a third of the time of scikit-learn's own sum of kernels.

    Attributes:
        wiggle: Variance of the Matern part.
        lengths: Its length scales, (D,).
        trend: Variance of the linear part.
        offset: Bias variance of the linear part, before ``trend``.
        noise: Noise variance of an observation.
    """

    wiggle: float
    lengths: np.ndarray
    trend: float
    offset: float
    noise: float

    @classmethod
    def of(cls, fitted: Any) -> "Kernel":
        """Return the kernel from a fitted one of ``_prior``'s form."""
        wiggle, trend = fitted.k1.k1, fitted.k1.k2
        offset = trend.k2.sigma_0**2
        return cls(
            wiggle.k1.constant_value, wiggle.k2.length_scale, trend.k1.constant_value, offset, fitted.k2.noise_level
        )

    def between(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return covariances without noise of (N, D) and (M, D), (N, M)."""
        scaled, others = a / self.lengths, b / self.lengths
        distance = scaled @ (-2 * others.T)
        distance += np.square(scaled).sum(axis=1)[:, None]
        distance += np.square(others).sum(axis=1)
        np.sqrt(np.maximum(distance, 0.0, out=distance), out=distance)
        distance *= -math.sqrt(5)
        near = np.square(distance)  # in place from here on: to make arrays takes longer than to fill them
        near /= 3
        near -= distance
        near += 1
        near *= np.exp(distance, out=distance)
        near *= self.wiggle
        near += (self.trend * a) @ b.T
        near += self.trend * self.offset
        return near

    def alone(self, a: np.ndarray) -> np.ndarray:
        """Return variances without noise of (N, D), (N,)."""
        return np.asarray(self.wiggle + self.trend * (self.offset + np.square(a).sum(axis=1)))


@dataclass
class Model:
    """A Gaussian process with a linear trend, whose hyperparameters are kept until the trials have grown by half.

    They depend on a number of first trials alone, so that a search that was interrupted has the same. Where all of
    these observed the same value, as before anything has failed, they are fitted again when others come.
    """

    _kernels: dict[tuple[int, int], Kernel] = field(default_factory=dict)
    _alike: dict[int, bool] = field(default_factory=dict)

    def predict(
        self, known: Sequence[K], observe: Observe[K], at: np.ndarray, also: Sequence[Observed] = ()
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the predicted mean, (P,), and its standard deviation without observation noise, (P,).

        Args:
            known: Observations in any form, in the order in which they were made.
            observe: Function from one of them to its features, value and noise.
            at: Scaled features to predict at, (P, D).
            also: Further observations; hyperparameters do not depend on them.
        """
        with _one_thread():
            posterior = Posterior(self._kernel(known, observe), self._data(known, observe, also))
            return posterior.predict(at)

    def expect(self, known: Sequence[K], observe: Observe[K], at: np.ndarray) -> np.ndarray:
        """The first of what ``predict`` gives, in a fraction of the time."""
        with _one_thread():
            posterior = Posterior(self._kernel(known, observe), self._data(known, observe))
            return posterior.expect(at)

    def posterior(self, known: Sequence[K], observe: Observe[K]) -> "Posterior":
        """Return the process given observations; where there are many, given those at ``spread_out`` alone."""
        with _one_thread():
            return Posterior(self._kernel(known, observe), self._data(known, observe))

    @staticmethod
    def _data(known: Sequence[K], observe: Observe[K], also: Sequence[Observed] = ()) -> "_Data":
        return _arrays([*(observe(known[i]) for i in spread_out(len(known), LEARN)), *also])

    def _kernel(self, known: Sequence[K], observe: Observe[K]) -> Kernel:
        count = min(count_of(len(known)), len(known))
        if count not in self._alike:
            first = [observe(known[i]) for i in spread_out(count, CHOOSE)]
            self._alike[count] = len({value for _, value, _ in first}) == 1
            self._kernels[count, 0] = _fitted(first)
        unlike = self._unlike(known, observe) if self._alike[count] else []
        key = count, len(unlike)
        if key not in self._kernels:
            chosen = {*spread_out(max(count, unlike[-1] + 1), CHOOSE), *unlike}
            self._kernels[key] = _fitted([observe(known[i]) for i in sorted(chosen)])
        return self._kernels[key]

    @staticmethod
    def _unlike(known: Sequence[K], observe: Observe[K]) -> list[int]:
        """Indices of the first observations that differ, where the first values are all alike."""
        first = observe(known[0])[1]
        unlike = [i for i, one in enumerate(known) if observe(one)[1] != first]
        return unlike[: min(len(unlike), count_of(len(unlike)), CHOOSE // 2)]


#: Features, (N, D), values and the deviations of their noise, (N,).
_Data = tuple[np.ndarray, np.ndarray, np.ndarray]


class Posterior:
    """A Gaussian process given observations."""

    def __init__(self, kernel: Kernel, data: _Data) -> None:
        self.kernel, (self.x, y, noise) = kernel, data
        self.y, self.noise = y, noise
        self.centre, self.scale = _centre_and_scale(y)
        covariance = kernel.between(self.x, self.x)
        covariance[np.diag_indices(len(y))] += kernel.noise + JITTER + np.square(noise / self.scale)
        self._inverse = np.linalg.inv(np.linalg.cholesky(covariance))
        self._weights = self._inverse.T @ (self._inverse @ ((y - self.centre) / self.scale))

    def expect(self, at: np.ndarray) -> np.ndarray:
        """Return the predicted mean, (P,)."""
        return self.mean(self.kernel.between(at, self.x))

    def mean(self, covariance: np.ndarray) -> np.ndarray:
        """Return the predicted mean for covariances with the observations, (P, N)."""
        return np.asarray(covariance @ self._weights * self.scale + self.centre)

    def leave_one_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of each observation given the others, (N,) and (N,).

        In closed form (Rasmussen & Williams, 5.4.2); what an architecture has of its own counts as variance, and the
        known noise of the observation does not.
        """
        precision = np.square(self._inverse).sum(axis=0)
        mean = self.y - self._weights / precision * self.scale
        return mean, np.maximum(self.scale**2 / precision - np.square(self.noise), 0.0)

    def of_others(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the same of architectures without an observation, (P,) and (P,)."""
        mean, sd = self.predict(at)
        return mean, np.square(sd) + self.kernel.noise * self.scale**2

    def predict(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation, (P,) and (P,)."""
        covariance = self.kernel.between(at, self.x)
        explained = covariance @ self._inverse.T
        variance = np.maximum(self.kernel.alone(at) - np.einsum("ij,ij->i", explained, explained), 0.0)
        return self.mean(covariance), np.sqrt(variance) * self.scale


def count_of(known: int) -> int:
    """Return the number of first trials that hyperparameters are fitted to, of those known."""
    count = FIRST
    while count * REFIT <= known:
        count = math.ceil(count * REFIT)
    return count


def spread_out(count: int, most: int) -> np.ndarray:
    """Return at most ``most`` indices: half of them the newest, the others spread over those before.

    >>> spread_out(3, 4).tolist(), spread_out(100, 4).tolist()
    ([0, 1, 2], [0, 97, 98, 99])
    """
    if count <= most:
        return np.arange(count)
    newest = most // 2
    before = np.linspace(0, count - newest - 1, most - newest).astype(int)
    return np.concatenate([before, np.arange(count - newest, count)])


def _arrays(observed: Sequence[Observed]) -> _Data:
    features, values, noise = zip(*observed, strict=True)
    return np.array(features), np.array(values, dtype=float), np.array(noise, dtype=float)


def _centre_and_scale(y: np.ndarray) -> tuple[float, float]:
    return float(np.mean(y)), max(float(np.std(y)), 1e-12)


def _fitted(observed: Sequence[Observed]) -> Kernel:
    return Kernel.of(fitted_kernel(*_arrays(observed)))


def fitted_kernel(x: np.ndarray, y: np.ndarray, noise: np.ndarray) -> Any:
    """Return the kernel with the highest marginal likelihood."""
    from sklearn.gaussian_process import GaussianProcessRegressor

    centre, scale = _centre_and_scale(y)
    process = GaussianProcessRegressor(_prior(x.shape[1]), alpha=JITTER + np.square(noise / scale))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a hyperparameter at its bound is no trouble here
        return process.fit(x, (y - centre) / scale).kernel_


def _prior(dimensions: int) -> Any:
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

    unit = math.sqrt(dimensions)
    lengths = Matern(np.full(dimensions, BEGIN * unit), (SHORTEST * unit, LONGEST * unit), nu=2.5)
    wiggle = ConstantKernel(0.5, (1e-2, 1e1)) * lengths
    trend = ConstantKernel(0.1, (1e-3, 1e1)) * DotProduct(0.1, "fixed")
    return wiggle + trend + WhiteKernel(0.1, (1e-4, 1.0))


def _one_thread() -> Any:
    """Context of one BLAS thread: matrices this small are slower on several."""
    return _pools().limit(limits=1)


@cache
def _pools() -> ThreadpoolController:
    """Thread pools of the loaded libraries; finding them takes longer than a prediction."""
    import sklearn.gaussian_process  # noqa: F401  (what it loads is to be found)

    return ThreadpoolController()
