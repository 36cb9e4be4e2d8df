"""The samplers of a study by name."""

import hashlib
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from optuna.samplers import BaseSampler, RandomSampler

from archsearch.arch.params import Value
from archsearch.errors import OptionError, unknown
from archsearch.evaluate.constraint import Constraint
from archsearch.objectives import Objective
from archsearch.search.samplers.acquisition import CostAware
from archsearch.search.samplers.cost_aware import CostAwareSampler
from archsearch.search.samplers.ehvi import sobol_point
from archsearch.search.samplers.features import CountCosts, Points
from archsearch.search.samplers.optuna_samplers import (
    FixedSampler,
    NSGAIIISampler,
    NSGAIISampler,
    SpaceGP,
    SpaceTPE,
    distributions,
)
from archsearch.space.space import EXHAUSTIVE, Space

#: Optuna's samplers that are not offered, and why.
OTHERS = {
    "cmaes": "takes numbers and one objective alone; use nsga2, tpe or cost_aware",
    "bruteforce": "is called grid here",
}


@dataclass(frozen=True)
class Setting:
    """Properties of a study that samplers depend on.

    Attributes:
        space: Search space.
        objectives: Objectives in the order of the recorded values.
        seed: Seed of the study.
        population: Number of individuals in a generation.
        constraints: Constraints that candidates have to keep.
        count: Function that counts an architecture's costs, for samplers that use them.
        images: Number of validation images; 0 if unknown.
    """

    space: Space
    objectives: Sequence[Objective]
    seed: int
    population: int
    constraints: tuple[Constraint, ...]
    count: CountCosts
    images: int = 0


class Samplers:
    """The samplers of one study, one for each draw."""

    def __init__(self, name: str, setting: Setting) -> None:
        """Make the samplers of a study.

        Args:
            name: A key of ``SAMPLERS``.
            setting: Properties of the study.

        Raises:
            OptionError: There is no such sampler for the space.
        """
        check_sampler(name, setting.space)
        self.name, self.setting = name, setting
        self.axes = distributions(setting.space)

    def for_draw(self, draw: int) -> BaseSampler:
        """Return the sampler for one draw.

        It is made anew for every draw, seeded by the study's seed and the draw's index, so a study
        that was interrupted goes on as if it had not been.

        Args:
            draw: Index of the draw, from 0.
        """
        digest = hashlib.sha256(f"{self.setting.seed}/{draw}".encode()).digest()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SAMPLERS[self.name](self, int.from_bytes(digest[:4], "big"), draw)

    @property
    def dry(self) -> bool:
        """Whether the last draw found no new architecture that keeps the constraints."""
        return self.name == "cost_aware" and self.common.dry

    @property
    def spent(self) -> bool:
        """Whether the sampler knows of no further architecture that keeps the constraints."""
        return self.name == "cost_aware" and self.common.spent

    @cached_property
    def common(self) -> CostAware:
        """State that the draws of ``cost_aware`` share."""
        setting = self.setting
        points = Points(setting.space, setting.count, setting.seed)
        return CostAware(points, tuple(setting.objectives), setting.constraints, setting.images)

    @cached_property
    def order(self) -> list[Mapping[str, Value]]:
        """Every point of the space, shuffled by the study's seed, so that a part of them is a random sample."""
        points: list[Mapping[str, Value]] = list(self.setting.space.grid())
        random.Random(self.setting.seed).shuffle(points)
        return points

    def grid_point(self, draw: int) -> Mapping[str, Value]:
        """Return the point of the grid for a draw; nothing beyond the last."""
        return self.setting.space.genome(self.order[draw]) if draw < len(self.order) else {}

    def quasi_random(self, draw: int) -> Mapping[str, Value]:
        """Return the point of a Sobol sequence for a draw."""
        axes = self.setting.space.axes
        at = sobol_point(draw, len(axes), self.setting.seed)
        return {axis.name: axis.values[int(x * len(axis.values))] for axis, x in zip(axes, at, strict=True)}


#: Factories by name: from a study's samplers, a seed and the index of a draw to the sampler of that draw.
SAMPLERS: dict[str, Callable[[Samplers, int, int], BaseSampler]] = {
    "cost_aware": lambda own, seed, draw: CostAwareSampler(own.common, seed),
    "nsga2": lambda own, seed, draw: NSGAIISampler(seed, own.setting.population, own.axes),
    "nsga3": lambda own, seed, draw: NSGAIIISampler(seed, own.setting.population, own.axes),
    "tpe": lambda own, seed, draw: SpaceTPE(seed, own.axes),
    "gp": lambda own, seed, draw: SpaceGP(seed, own.axes),
    "qmc": lambda own, seed, draw: FixedSampler(own.quasi_random(draw), seed),
    "random": lambda own, seed, draw: RandomSampler(seed=seed),
    "grid": lambda own, seed, draw: FixedSampler(own.grid_point(draw), seed),
}


def check_sampler(name: str, space: Space) -> None:
    """Check that there is a sampler of that name for a space.

    Raises:
        OptionError: There is not; the message says what to use instead.
    """
    if name in OTHERS:
        raise OptionError(f"sampler {name} {OTHERS[name]}")
    if name not in SAMPLERS:
        raise OptionError(unknown("sampler", name, SAMPLERS))
    if name == "grid" and space.points() > EXHAUSTIVE:
        raise OptionError(
            f"sampler grid visits every architecture, and space {space.name} has {space.points():,} points; "
            "use qmc, which spreads over it, or another sampler"
        )
