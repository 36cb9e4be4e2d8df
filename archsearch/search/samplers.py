"""Optuna samplers by name, and a space as Optuna sees it.

A study's genome is flat: every trial has a value on every axis, and values on closed axes are
silent. Optuna's NSGA-II crosses over only what all trials share, so that conditional
parameters would be drawn afresh each time and never inherited.
"""

import hashlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from archsearch.errors import OptionError, unknown
from archsearch.mixer import Value
from archsearch.space import Space


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Every axis of a space as an Optuna distribution."""
    return {axis.name: CategoricalDistribution(axis.values) for axis in space.axes}


def genome(space: Space, params: Mapping[str, Value]) -> dict[str, Value]:
    """A value for every axis; closed axes take their first."""
    return {axis.name: params.get(axis.name, axis.values[0]) for axis in space.axes}


class NSGAIISampler(optuna.samplers.NSGAIISampler):
    """Optuna's, without what takes longer with every trial.

    It is told its space, finds parents by their number, and looks no further back than the newest generation. It has
    Optuna's name, as that is part of what is on record.
    """

    def __init__(self, seed: int, population: int, axes: Mapping[str, BaseDistribution]) -> None:
        super().__init__(seed=seed, population_size=population)
        self._population = population
        self.axes = {name: axes[name] for name in sorted(axes) if not axes[name].single()}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All axes that have more than one value."""
        return self.axes

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
        generation = newest + (complete >= self._population)
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


def _random(seed: int, population: int, axes: Mapping[str, BaseDistribution]) -> BaseSampler:
    return RandomSampler(seed=seed)


SAMPLERS: dict[str, Callable[[int, int, Mapping[str, BaseDistribution]], BaseSampler]] = {
    "nsga2": NSGAIISampler,
    "random": _random,
}


def make_sampler(name: str, seed: int, draw: int, population: int, axes: Mapping[str, BaseDistribution]) -> BaseSampler:
    """The sampler for one draw.

    It is made anew for every draw, seeded by the study's seed and the draw's index, so a study
    that was interrupted goes on as if it had not been.

    Args:
        name: a key of ``SAMPLERS``.
        seed: of the study.
        draw: index of the draw, from 0.
        population: individuals of a generation.
        axes: of ``distributions``.

    Raises:
        OptionError: the name is unknown.
    """
    if name not in SAMPLERS:
        raise OptionError(unknown("sampler", name, SAMPLERS))
    digest = hashlib.sha256(f"{seed}/{draw}".encode()).digest()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SAMPLERS[name](int.from_bytes(digest[:4], "big"), population, axes)


def suggest(
    sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial, axes: Mapping[str, BaseDistribution]
) -> dict[str, Any]:
    """What a sampler has in mind for a trial, as ``Study.ask`` would ask it: a value for every axis."""
    study._thread_local.cached_all_trials = None  # else samplers look at the trials as of the last `Study.ask`
    sampler.before_trial(study, trial)
    relative = sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
    return {
        name: relative[name] if name in relative else sampler.sample_independent(study, trial, name, axis)
        for name, axis in axes.items()
    }


def join_generation(sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial) -> None:
    """Counts a trial in its generation: Optuna's genetic samplers leave those that they did not draw out of all."""
    if isinstance(sampler, NSGAIISampler):
        sampler.get_trial_generation(study, trial)
