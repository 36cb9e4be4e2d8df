"""Samplers by name, and a space as Optuna sees it.

A study's genome is flat: every trial has a value on every axis, and values on closed axes are
silent. Optuna's NSGA-II crosses over only what all trials share, so that conditional
parameters would be drawn afresh each time and never inherited.
"""

import hashlib
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.samplers._ga import BaseGASampler
from optuna.trial import FrozenTrial, TrialState

from archsearch.arch.params import Value
from archsearch.errors import OptionError, unknown
from archsearch.evaluate.constraint import Constraint
from archsearch.objectives import Objective
from archsearch.search.samplers.cost_aware import CostAware, CostAwareSampler
from archsearch.search.samplers.ehvi import sobol_point
from archsearch.search.samplers.features import CountCosts, Points
from archsearch.space.space import EXHAUSTIVE, Space

#: Samplers of Optuna's that are not taken, and why.
OTHERS = {
    "cmaes": "takes numbers and one objective alone; use nsga2, tpe or cost_aware",
    "bruteforce": "is called grid here",
}


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Every axis of a space as an Optuna distribution."""
    return {axis.name: CategoricalDistribution(axis.values) for axis in space.axes}


def genome(space: Space, params: Mapping[str, Value]) -> dict[str, Value]:
    """A value for every axis; closed axes take their first."""
    return {axis.name: params.get(axis.name, axis.values[0]) for axis in space.axes}


class _Told:
    """A sampler of Optuna's that is told its space, where Optuna's own looks for it in all trials."""

    axes: Mapping[str, BaseDistribution]

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All axes that have more than one value."""
        return {name: self.axes[name] for name in sorted(self.axes) if not self.axes[name].single()}


class _Quick(_Told, BaseGASampler):
    """A genetic one, without what takes longer with every trial.

    It finds parents by their number, and looks no further back than the newest generation.
    """

    _population_size: int

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """The newest generation until enough of it are complete, then the next; it never falls with the number."""
        key = self._get_generation_key()
        if key in trial.system_attrs:
            return int(trial.system_attrs[key])
        newest = complete = 0
        for known in reversed(study._storage.get_all_trials(study._study_id, deepcopy=False)):
            if known.state != TrialState.COMPLETE or key not in known.system_attrs:
                continue
            generation = known.system_attrs[key]
            if complete and generation < newest:
                break
            newest, complete = generation, complete + 1
        generation = newest + (complete >= self._population_size)
        study._storage.set_trial_system_attr(trial._trial_id, key, generation)
        return int(generation)

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Chosen once per generation, and told by number whether they were just chosen or are recalled."""
        if generation == 0:
            return []
        key = f"{self._get_parent_cache_key_prefix()}{generation}"
        ids = study._storage.get_study_system_attrs(study._study_id).get(key)
        if ids is None:
            ids = [parent._trial_id for parent in super().get_parent_population(study, generation)]
        return [study._storage.get_trial(trial_id) for trial_id in sorted(ids)]


# They have Optuna's names, as those are part of what is on record.
class NSGAIISampler(_Quick, optuna.samplers.NSGAIISampler):
    """Non-dominated ranks, then crowding."""

    def __init__(self, seed: int, population: int, axes: Mapping[str, BaseDistribution]) -> None:
        optuna.samplers.NSGAIISampler.__init__(self, seed=seed, population_size=population)
        self.axes = axes


class NSGAIIISampler(_Quick, optuna.samplers.NSGAIIISampler):
    """Non-dominated ranks, then nearness to directions that are spread evenly."""

    def __init__(self, seed: int, population: int, axes: Mapping[str, BaseDistribution]) -> None:
        optuna.samplers.NSGAIIISampler.__init__(self, seed=seed, population_size=population)
        self.axes = axes


class ToldTPE(_Told, TPESampler):
    """Densities of what is good and what is not."""

    def __init__(self, seed: int, axes: Mapping[str, BaseDistribution]) -> None:
        TPESampler.__init__(self, seed=seed, multivariate=True, constant_liar=True)
        self.axes = axes


class ToldGP(_Told, GPSampler):
    """A Gaussian process for each objective."""

    def __init__(self, seed: int, axes: Mapping[str, BaseDistribution]) -> None:
        GPSampler.__init__(self, seed=seed)
        self.axes = axes


class Listed(RandomSampler):
    """Suggests what it was told to; an axis that it was told nothing of is drawn at random."""

    def __init__(self, genes: Mapping[str, Value], seed: int) -> None:
        super().__init__(seed=seed)
        self.genes = genes

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Those that it was told."""
        return {name: CategoricalDistribution((value,)) for name, value in self.genes.items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What it was told."""
        return dict(self.genes)


@dataclass(frozen=True)
class Setting:
    """What a sampler has to know of a study.

    Attributes:
        space: that is searched.
        objectives: in the order of the values.
        seed: of the study.
        population: individuals of a generation.
        constraints: that candidates have to keep.
        count: what an architecture costs, for samplers that ask.
    """

    space: Space
    objectives: Sequence[Objective]
    seed: int
    population: int
    constraints: tuple[Constraint, ...]
    count: CountCosts


class Samplers:
    """The samplers of one study, one for each draw."""

    def __init__(self, name: str, setting: Setting) -> None:
        """Args: name: a key of ``SAMPLERS``; setting: of the study."""
        check_sampler(name, setting.space)
        self.name, self.setting = name, setting
        self.axes = distributions(setting.space)

    def for_draw(self, draw: int) -> BaseSampler:
        """The sampler for one draw.

        It is made anew for every draw, seeded by the study's seed and the draw's index, so a study
        that was interrupted goes on as if it had not been.

        Args:
            draw: index of the draw, from 0.
        """
        digest = hashlib.sha256(f"{self.setting.seed}/{draw}".encode()).digest()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SAMPLERS[self.name](self, int.from_bytes(digest[:4], "big"), draw)

    @property
    def dry(self) -> bool:
        """Whether the last draw found no architecture that is new and keeps the constraints."""
        return self.name == "cost_aware" and self.common.dry

    @property
    def spent(self) -> bool:
        """Whether the sampler knows of no further architecture that keeps the constraints."""
        return self.name == "cost_aware" and self.common.spent

    @cached_property
    def common(self) -> CostAware:
        """What the draws of ``cost_aware`` share."""
        setting = self.setting
        points = Points(setting.space, setting.count, setting.seed)
        return CostAware(points, tuple(setting.objectives), setting.constraints)

    @cached_property
    def order(self) -> list[Mapping[str, Value]]:
        """Every point of the space, shuffled by the study's seed, so that a part of them is a fair sample."""
        points: list[Mapping[str, Value]] = list(self.setting.space.grid())
        random.Random(self.setting.seed).shuffle(points)
        return points

    def listed(self, draw: int) -> Mapping[str, Value]:
        """The point that a draw comes to; nothing beyond the last."""
        return genome(self.setting.space, self.order[draw]) if draw < len(self.order) else {}

    def quasi_random(self, draw: int) -> Mapping[str, Value]:
        """The draw's point of a Sobol sequence."""
        axes = self.setting.space.axes
        at = sobol_point(draw, len(axes), self.setting.seed)
        return {axis.name: axis.values[int(x * len(axis.values))] for axis, x in zip(axes, at, strict=True)}


#: By name: from the study's samplers, a seed and the index of a draw.
SAMPLERS: dict[str, Callable[[Samplers, int, int], BaseSampler]] = {
    "cost_aware": lambda own, seed, draw: CostAwareSampler(own.common, seed),
    "nsga2": lambda own, seed, draw: NSGAIISampler(seed, own.setting.population, own.axes),
    "nsga3": lambda own, seed, draw: NSGAIIISampler(seed, own.setting.population, own.axes),
    "tpe": lambda own, seed, draw: ToldTPE(seed, own.axes),
    "gp": lambda own, seed, draw: ToldGP(seed, own.axes),
    "qmc": lambda own, seed, draw: Listed(own.quasi_random(draw), seed),
    "random": lambda own, seed, draw: RandomSampler(seed=seed),
    "grid": lambda own, seed, draw: Listed(own.listed(draw), seed),
}


def check_sampler(name: str, space: Space) -> None:
    """Whether there is a sampler of that name for a space.

    Raises:
        OptionError: there is not; what to use instead.
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


def suggest(
    sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial, axes: Mapping[str, BaseDistribution]
) -> dict[str, Any]:
    """What a sampler has in mind for a trial, as ``Study.ask`` would ask it: a value for every axis."""
    study._thread_local.cached_all_trials = None  # else samplers look at the trials as of the last `Study.ask`
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of infinities, say, which infeasible trials have on purpose
        sampler.before_trial(study, trial)
        relative = sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
        return {
            name: relative[name] if name in relative else sampler.sample_independent(study, trial, name, axis)
            for name, axis in axes.items()
        }


def join_generation(sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial) -> None:
    """Counts a trial in its generation: Optuna's genetic samplers leave those that they did not draw out of all."""
    if isinstance(sampler, _Quick):
        sampler.get_trial_generation(study, trial)
