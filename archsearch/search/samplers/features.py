"""Features of a space's points, for models to learn from."""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from archsearch.arch import Arch
from archsearch.arch.params import Value
from archsearch.errors import ArchError
from archsearch.space.axes import LIST_AXES
from archsearch.space.space import Axis, Space

#: Function that counts an architecture's costs, by quantity.
CountCosts = Callable[[Arch], Mapping[str, float]]
#: Number of points up to which a space is looked at as a whole; of larger ones, as many points at a time.
POOL = 3000
#: Quantities whose logarithms are features: the size of a network.
SIZES = ("macs", "params")


def count_nothing(arch: Arch) -> Mapping[str, float]:
    """Count nothing, so that all costs are learnt from trials."""
    return {}


@dataclass(frozen=True, eq=False)
class Point:
    """An architecture of a space, with its costs and features.

    Attributes:
        params: Values of the open axes.
        arch: The architecture.
        costs: Counted costs, by quantity.
        features: Features before scaling, (D,).
        key: Key of the architecture.
    """

    params: Mapping[str, Value]
    arch: Arch
    costs: Mapping[str, float]
    features: np.ndarray
    key: str


class Points:
    """Points of a space, each computed once.

    Attributes:
        space: The search space.
    """

    def __init__(self, space: Space, count: CountCosts, seed: int = 0) -> None:
        """Start without points.

        Args:
            space: Search space.
            count: Function that counts an architecture's costs.
            seed: Seed of the random points of a large space.
        """
        self.space, self.count, self.seed = space, count, seed
        self._known: dict[tuple[Value, ...], Point] = {}
        self._beside: dict[str, list[Point]] = {}
        self._scaled: dict[str, np.ndarray] = {}
        self._drawn: tuple[int, list[Point]] = (-1, [])

    def at(self, params: Mapping[str, Value]) -> Point:
        """Return the point at values of the open axes.

        Raises:
            ArchError: Its architecture cannot exist.
        """
        key = tuple(x for pair in params.items() for x in pair)
        if key not in self._known:
            arch = self.space.arch(params)
            costs = self.count(arch)
            self._known[key] = Point(dict(params), arch, costs, self._features(params, costs), arch.key)
        return self._known[key]

    def existing(self, many: Iterable[Mapping[str, Value]]) -> Iterator[Point]:
        """Yield the points whose architectures can exist."""
        for params in many:
            with suppress(ArchError):
                yield self.at(params)

    @cached_property
    def all(self) -> list[Point] | None:
        """Every point; None in a large space."""
        return [*self.existing(self.space.grid())] if self.space.points() <= POOL else None

    @cached_property
    def scale(self) -> "Scale":
        """Scale of the features, over all points or, in a large space, over random ones."""
        return Scale(np.array([point.features for point in self.all or self._random(0)]))

    def scaled(self, point: Point) -> np.ndarray:
        """Return a point's scaled features, (D,)."""
        if point.key not in self._scaled:
            self._scaled[point.key] = self.scale(point.features[None])[0]
        return self._scaled[point.key]

    def pool(self, turn: int, near: Iterable[Point]) -> list[Point]:
        """Return all points; in a large space random ones, and neighbours of some.

        Args:
            turn: Index of the random sample.
            near: Points whose neighbours are included.
        """
        if self.all is not None:
            return self.all
        beside = [*dict.fromkeys(neighbour for point in near for neighbour in self.beside(point))]
        random.Random(turn).shuffle(beside)
        return [*dict.fromkeys([*self._random(turn), *beside[: POOL // 2]])]

    def beside(self, point: Point) -> list[Point]:
        """Return the neighbours of a point, which differ in one axis and in those that it opens."""
        if point.key not in self._beside:
            genes = self.space.genome(point.params)
            changes = (
                {**genes, a.name: value} for a in self.space.axes if a.name in point.params for value in a.values
            )
            self._beside[point.key] = [*self.existing(map(self.space.active, changes))]
        return self._beside[point.key]

    def _random(self, turn: int) -> list[Point]:
        if self._drawn[0] != turn:
            rng = random.Random(f"{self.seed}/{turn}")
            self._drawn = turn, [*self.existing(self.space.sample(rng) for _ in range(POOL // 3))]
        return self._drawn[1]

    def _features(self, params: Mapping[str, Value], costs: Mapping[str, float]) -> np.ndarray:
        """Features of every axis and the size; choices of numbers are one-hot as well, for effects along no line."""
        values = [(axis, params.get(axis.name)) for axis in self.space.axes]
        ordered = [x for axis, value in values for x in axis_features(axis, value)]
        choices = [x for axis, value in values for x in one_hot(axis, value)]
        return np.array([*ordered, *choices, *(math.log(max(1.0, costs[size])) for size in SIZES if size in costs)])


def axis_features(axis: Axis, value: Value | None) -> list[float]:
    """Return the features of an axis's value, the same number for each; NaN where the axis is closed.

    Positive numbers are taken by their logarithm, as twice the width means as much from 32 as from 64; lists of
    numbers entry by entry; other choices one-hot.

    >>> axis_features(Axis("norm", ("batch", "layer")), "layer")
    [0.0, 1.0]
    >>> axis_features(Axis("kernel_size", (1, 7)), None)
    [nan]
    """
    if axis.name in LIST_AXES:
        entries = [str(choice).split("-") for choice in axis.values]
        if len({len(entry) for entry in entries}) == 1:
            return [math.nan if value is None else math.log(float(x)) for x in str(value or axis.values[0]).split("-")]
    elif all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in axis.values):
        return [math.nan if value is None else _number(float(value), axis.values)]
    return one_hot(axis, value)


def one_hot(axis: Axis, value: Value | None) -> list[float]:
    """Return a feature per choice: 1 for the value, 0 for all others and where the axis is closed."""
    return [float(choice == value) for choice in axis.values]


def _number(value: float, choices: Iterable[Value]) -> float:
    return math.log(value) if all(float(choice) > 0 for choice in choices) else value


class Scale:
    """Scaling to mean 0 and standard deviation 1; drops constant columns and copies of others."""

    def __init__(self, features: np.ndarray) -> None:
        """Fit the scaling.

        Args:
            features: Features of P points, (P, D); NaN where an axis is closed.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            self.mean = np.nan_to_num(np.nanmean(features, axis=0))
            self.deviation = np.nan_to_num(np.nanstd(features, axis=0))
        varies = self.deviation > 1e-9
        self.deviation[~varies] = 1.0
        scaled = self._scaled(features)
        self.columns: list[int] = []
        for column in np.flatnonzero(varies):
            likeness = np.abs(scaled[:, self.columns].T @ scaled[:, column]) / len(scaled)
            if not (likeness > 1 - 1e-9).any():
                self.columns.append(int(column))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Scale features, (N, D) to (N, kept columns); a closed axis counts as its mean."""
        return self._scaled(features)[:, self.columns]

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        return np.nan_to_num((features - self.mean) / self.deviation)
