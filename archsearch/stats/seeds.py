"""What a training seed does to all networks alike, and the noise that is left: a network-plus-seed model."""

import math
from collections.abc import Collection, Iterable, Mapping

import numpy as np

#: Share of the sum of squares within networks below which the residual one is rounding.
DUST = 1e-12


class SeedModel:
    """Least squares of ``value = network + seed + noise``, updated network by network.

    This is a randomised block design with seeds as blocks, and some cells missing. All networks are taken to be equally
    noisy, so that a much noisier one raises the noise of all. Network effects are eliminated one by one, so that adding
    a network takes as long for the 10,000th as for the first.

    >>> model = SeedModel()
    >>> for values in ({0: 0.50, 1: 0.52}, {0: 0.60, 1: 0.64}, {0: 0.7}):
    ...     model.add(values)
    >>> round(model.level([0, 1]) - model.level([0]), 3), round(model.noise[0], 3), model.noise[1]
    (0.015, 0.01, 1)
    """

    def __init__(self) -> None:
        """Start without networks."""
        self._places: dict[int, int] = {}  # of the seeds
        self._normal, self._right = np.zeros((0, 0)), np.zeros(0)
        self._squares, self._degrees = 0.0, 0  # within networks

    def add(self, values: Mapping[int, float]) -> None:
        """Add a network.

        Args:
            values: Values by seed. One alone says nothing about seeds.
        """
        if len(values) < 2:
            return
        for seed in values:
            if seed not in self._places:
                self._places[seed] = len(self._places)
                self._normal, self._right = np.pad(self._normal, (0, 1)), np.pad(self._right, (0, 1))
        shares, found = self._shares(values), np.array([*values.values()])
        self._normal += len(found) * (np.diag(shares) - np.outer(shares, shares))
        self._right[[self._places[seed] for seed in values]] += found - found.mean()
        self._squares += float(np.sum(np.square(found - found.mean())))
        self._degrees += len(found) - 1

    def with_network(self, values: Mapping[int, float]) -> "SeedModel":
        """Return the model with one more network; this one stays as it is."""
        more = SeedModel()
        more._places, more._squares, more._degrees = dict(self._places), self._squares, self._degrees
        more._normal, more._right = self._normal.copy(), self._right.copy()
        more.add(values)
        return more

    @property
    def residual(self) -> tuple[float, int] | None:
        """Standard deviation of a value that neither its network nor its seed explains, and degrees of freedom.

        None without any degree of freedom: one network alone does not tell what a seed does to all of them.
        """
        degrees = self._degrees - int(np.linalg.matrix_rank(self._normal)) if len(self._right) else 0
        if degrees < 1:
            return None
        squares = self._squares - float(self._right @ self._inverse @ self._right)
        return math.sqrt(squares / degrees if squares > DUST * self._squares else 0.0), degrees

    @property
    def noise(self) -> tuple[float, int] | None:
        """``residual``, or where there is none what seeds do in all: rather too much; None without any.

        In the second case seeds have no effects, so that what they do to all networks counts as noise.
        """
        pooled = (math.sqrt(self._squares / self._degrees), self._degrees) if self._degrees else None
        return self.residual or pooled

    def level(self, seeds: Iterable[int]) -> float:
        """Return the mean effect of some seeds, against that of all seeds: what their mean is too high by.

        0 without ``residual``; a seed that no network shares with another seed counts as having no effect.
        """
        return float(self._shares(seeds) @ self._inverse @ self._right) if self.residual else 0.0

    def variance(self, one: Collection[int], other: Collection[int]) -> float:
        """Return the variance of the difference of two networks' means less their ``level``, by that of the noise.

        Args:
            one: Seeds of a network.
            other: Seeds of another one.
        """
        apart = self._shares(one) - self._shares(other)
        uncertain = float(apart @ self._inverse @ apart) if self.residual else 0.0
        return 1 / len(one) + 1 / len(other) + uncertain

    def _shares(self, seeds: Iterable[int]) -> np.ndarray:
        """Return the share of each known seed in a mean over some, (S,)."""
        found = [*seeds]
        shares = np.zeros(len(self._places))
        shares[[self._places[seed] for seed in found if seed in self._places]] = 1 / len(found)
        return shares

    @property
    def _inverse(self) -> np.ndarray:
        return np.linalg.pinv(self._normal, hermitian=True)
