"""A Gaussian process over features of architectures."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

#: Trials that a model learns from at most, and that its hyperparameters are chosen by: both take their cube.
LEARN, CHOOSE = 250, 100
#: Hyperparameters are chosen anew when the trials have become so many times as many.
REFIT = 1.5
#: The least number of trials that they are chosen by.
FIRST = 5


K = TypeVar("K")
#: Scaled features of an architecture, (D,), a value, and the standard deviation of its noise beyond what all have.
Observed = tuple[np.ndarray, float, float]
Observe = Callable[[K], Observed]


@dataclass
class Model:
    """A Gaussian process with a linear trend, whose hyperparameters last until there are half as many trials more.

    They depend on the first so many trials alone, so that a search that was interrupted has the same.
    """

    _kernels: dict[int, Any] = field(default_factory=dict)

    def predict(
        self, known: Sequence[K], observe: Observe[K], at: np.ndarray, also: Sequence[Observed] = ()
    ) -> tuple[np.ndarray, np.ndarray]:
        """What is expected elsewhere, and its standard deviation without the noise of an observation.

        Args:
            known: anything, in the order in which it came to be known.
            observe: what one of them tells; asked of as many as are learnt from.
            at: scaled features, (P, D).
            also: what is learnt from besides; hyperparameters do not depend on it.

        Returns:
            (P,) and (P,).
        """
        with threadpool_limits(1):  # matrices as small as these are slower on several
            process, centre, scale = self._learnt(known, observe, also)
            mean, sd = process.predict(at, return_std=True)
        variance = np.maximum(np.square(sd) - process.kernel_.k2.noise_level, 0.0)
        return mean * scale + centre, np.sqrt(variance) * scale

    def expect(self, known: Sequence[K], observe: Observe[K], at: np.ndarray) -> np.ndarray:
        """The first of what ``predict`` gives, in a fraction of the time."""
        with threadpool_limits(1):
            process, centre, scale = self._learnt(known, observe)
            return np.asarray(process.predict(at) * scale + centre)

    def _learnt(
        self, known: Sequence[K], observe: Observe[K], also: Sequence[Observed] = ()
    ) -> tuple[Any, float, float]:
        x, y, noise = _arrays([*(observe(known[i]) for i in spread_out(len(known), LEARN)), *also])
        centre, scale = float(np.mean(y)), max(float(np.std(y)), 1e-12)
        return _process(self._kernel(known, observe), noise / scale).fit(x, (y - centre) / scale), centre, scale

    def _kernel(self, known: Sequence[K], observe: Observe[K]) -> Any:
        count = FIRST
        while count * REFIT <= len(known):
            count = int(np.ceil(count * REFIT))
        if count not in self._kernels:
            x, y, noise = _arrays([observe(known[i]) for i in spread_out(min(count, len(known)), CHOOSE)])
            scale = max(float(np.std(y)), 1e-12)
            process = _process(_prior(x.shape[1]), noise / scale, optimizer="fmin_l_bfgs_b")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a hyperparameter at its bound is no trouble here
                self._kernels[count] = process.fit(x, (y - np.mean(y)) / scale).kernel_
        return self._kernels[count]


def spread_out(count: int, most: int) -> np.ndarray:
    """Indices of at most so many: half of them the newest, the others spread over those before.

    >>> spread_out(3, 4).tolist(), spread_out(100, 4).tolist()
    ([0, 1, 2], [0, 97, 98, 99])
    """
    if count <= most:
        return np.arange(count)
    newest = most // 2
    before = np.linspace(0, count - newest - 1, most - newest).astype(int)
    return np.concatenate([before, np.arange(count - newest, count)])


def _arrays(observed: Sequence[Observed]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    features, values, noise = zip(*observed, strict=True)
    return np.array(features), np.array(values, dtype=float), np.array(noise, dtype=float)


def _process(kernel: Any, noise: np.ndarray, optimizer: str | None = None) -> Any:
    from sklearn.gaussian_process import GaussianProcessRegressor

    return GaussianProcessRegressor(kernel, alpha=1e-8 + np.square(noise), optimizer=optimizer)


def _prior(dimensions: int) -> Any:
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

    wiggle = ConstantKernel(0.5, (1e-2, 1e1)) * Matern(np.full(dimensions, 3.0), (0.8, 30.0), nu=2.5)
    trend = ConstantKernel(0.1, (1e-3, 1e1)) * DotProduct(0.1, "fixed")
    return wiggle + trend + WhiteKernel(0.1, (1e-4, 1.0))
