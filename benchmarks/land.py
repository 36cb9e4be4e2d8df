"""Random lands: shipped spaces with their real multiply-adds, and an accuracy that is drawn. See ``lands.py``."""

import functools
import itertools
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import moocore
import numpy as np
from scipy.special import ndtri

from archsearch.arch.params import Value
from archsearch.complexity.parts import PartCounter
from archsearch.space.space import Space
from archsearch.space.yaml import load_space
from archsearch.utils.package_data import shipped

#: Number of random architectures over which the parts of an accuracy are scaled.
SCALED_OVER = 2000
#: Ranges that a land's sizes are drawn from, in accuracy: standard deviations over random architectures of the effects
#: of values, of pairs, of the residual, what one standard deviation of log multiply-adds adds; a seed's deviation.
SIZES = {
    "main": (0.010, 0.030),
    "pairs": (0.005, 0.015),
    "residual": (0.003, 0.010),
    "macs": (0.015, 0.040),
    "seed": (0.0025, 0.010),
}
#: Numbers of validation images, of which a land has one.
IMAGES = (1024, 2560, 5000, 10_000)
#: Mean accuracy.
MIDDLE = 0.6
#: Axes whose choice changes no multiply-adds.
FREE = {"act"}
Params = Mapping[str, Value]


class Ground:
    """A space with the real costs of its architectures."""

    def __init__(self, name: str) -> None:
        """Args: name: a shipped space."""
        self.space: Space = load_space(name, shipped("search_spaces"))
        self.count = PartCounter()
        self._places = [{value: i for i, value in enumerate(axis.values)} for axis in self.space.axes]
        self._macs: dict[tuple[Any, ...], float] = {}
        rng = random.Random(0)
        self.some = [self.space.sample(rng) for _ in range(SCALED_OVER)]

    def choices(self, many: Iterable[Params]) -> np.ndarray:
        """Indices of the chosen values, (N, axes); -1 where an axis is closed."""
        named = [(axis.name, places) for axis, places in zip(self.space.axes, self._places, strict=True)]
        return np.array([[places[p[name]] if name in p else -1 for name, places in named] for p in many])

    def macs(self, params: Params) -> float:
        """Multiply-adds of the architecture."""
        key = tuple(x for pair in params.items() if pair[0] not in FREE for x in pair)
        if key not in self._macs:
            self._macs[key] = self.count(self.space.arch(params))["macs"]
        return self._macs[key]

    @functools.cached_property
    def whole(self) -> tuple[np.ndarray, np.ndarray]:
        """Choices and multiply-adds of every architecture."""
        points = [*self.space.grid()]
        return self.choices(points), np.array([*map(self.macs, points)])


class Land:
    """A ground with a drawn accuracy."""

    def __init__(self, ground: Ground, number: int) -> None:
        """Args: number: what is drawn depends on."""
        self.ground, self.number = ground, number
        rng = np.random.default_rng([19, number])
        self.sizes = {name: float(rng.uniform(*bounds)) for name, bounds in SIZES.items()}
        self.images = int(rng.choice(IMAGES))
        counts = [len(axis.values) for axis in ground.space.axes]
        self._main = [np.append(rng.normal(size=n), 0.0) for n in counts]  # the last entry is that of closed axes
        self._pairs = {}
        for a, b in itertools.combinations(range(len(counts)), 2):
            table = np.zeros((counts[a] + 1, counts[b] + 1))
            table[:-1, :-1] = rng.normal(size=(counts[a], counts[b])) * rng.exponential()
            self._pairs[a, b] = table
        some = ground.choices(ground.some)
        log_macs = np.log([ground.macs(params) for params in ground.some])
        self._moments = [(part.mean(), part.std()) for part in self._parts(some, log_macs)]

    def _parts(self, choices: np.ndarray, log_macs: np.ndarray) -> list[np.ndarray]:
        main = sum(effects[choices[:, a]] for a, effects in enumerate(self._main))
        pairs = sum(table[choices[:, a], choices[:, b]] for (a, b), table in self._pairs.items())
        return [np.asarray(main), np.asarray(pairs), self._residual(choices), log_macs]

    def _residual(self, choices: np.ndarray) -> np.ndarray:
        return ndtri((_hashed(self.codes(choices), self.number) >> np.uint64(11)) / 2.0**53 + 2.0**-54)

    def codes(self, choices: np.ndarray) -> np.ndarray:
        """A number for each architecture."""
        codes = np.zeros(len(choices), dtype=np.uint64)
        for column, axis in zip(choices.T, self.ground.space.axes, strict=True):
            codes = codes * np.uint64(len(axis.values) + 1) + (column + 1).astype(np.uint64)
        return codes

    def accuracy(self, choices: np.ndarray, macs: np.ndarray) -> np.ndarray:
        """True accuracies, (N,)."""
        sizes = [self.sizes[name] for name in ("main", "pairs", "residual", "macs")]
        parts = zip(self._parts(choices, np.log(macs)), self._moments, sizes, strict=True)
        return np.clip(MIDDLE + sum((part - mean) / sd * size for part, (mean, sd), size in parts), 0.02, 0.98)

    def train(self, params: Params, seed: int) -> tuple[float, float, float]:
        """Observed accuracy, true accuracy and seconds of a training; a repeated one shows the same."""
        choices, macs = self.ground.choices([params]), self.ground.macs(params)
        true = float(self.accuracy(choices, np.array([macs]))[0])
        rng = np.random.default_rng([self.number, seed, int(self.codes(choices)[0])])
        shown = np.clip(true + rng.normal() * self.sizes["seed"], 0.0, 1.0)
        seconds = (10 + 10 * macs / 4e9) * float(np.exp(0.05 * rng.normal()))
        return float(rng.binomial(self.images, shown)) / self.images, true, seconds


def _hashed(codes: np.ndarray, seed: int) -> np.ndarray:
    """Random bits of each code (splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = codes + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@dataclass(frozen=True)
class Goal:
    """The true front of a land, that searches are measured by. Costs: inaccuracy and multiply-adds.

    Attributes:
        best: best of each cost on the front.
        worst: worst, a tenth of the range beyond the front's.
        hypervolume: of the front, in that box.
        alone: the largest share of it that one architecture gives.
    """

    best: np.ndarray
    worst: np.ndarray
    hypervolume: float
    alone: float

    @classmethod
    def of(cls, land: Land) -> "Goal":
        """By enumeration."""
        choices, macs = land.ground.whole
        costs = np.column_stack([-land.accuracy(choices, macs), macs])
        front = costs[moocore.is_nondominated(costs)]
        best, worst = front.min(axis=0), front.max(axis=0)
        worst = worst + 0.1 * (worst - best)
        whole = _volume(front, best, worst)
        return cls(best, worst, whole, max(_volume(one[None], best, worst) for one in front) / whole)

    @classmethod
    def from_dict(cls, held: dict[str, Any]) -> "Goal":
        """What ``to_dict`` made."""
        return cls(np.array(held["best"]), np.array(held["worst"]), held["hypervolume"], held["alone"])

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "best": self.best.tolist(),
            "worst": self.worst.tolist(),
            "hypervolume": self.hypervolume,
            "alone": self.alone,
        }

    def share(self, observed: np.ndarray, true: np.ndarray) -> float:
        """True hypervolume of the front of observed costs, (N, 2) each, as a share of the whole."""
        return _volume(true[moocore.is_nondominated(observed)], self.best, self.worst) / self.hypervolume


def _volume(costs: np.ndarray, best: np.ndarray, worst: np.ndarray) -> float:
    scaled = (costs - best) / (worst - best)
    return float(moocore.hypervolume(np.minimum(scaled, 1.0), ref=np.ones(scaled.shape[1])))
