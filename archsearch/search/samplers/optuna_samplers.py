"""Optuna's samplers as a study uses them.

A study's genome is flat: every trial has a value on every axis, and values on closed axes are
silent. Optuna's NSGA-II crosses over only what all trials share, so that conditional
parameters would be drawn afresh each time and never inherited.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.samplers._ga import BaseGASampler
from optuna.trial import FrozenTrial, TrialState

from archsearch.arch.params import Value
from archsearch.space.space import Space


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return every axis of a space as an Optuna distribution."""
    return {axis.name: CategoricalDistribution(axis.values) for axis in space.axes}


class _KnowsSpace:
    """An Optuna sampler that is given its search space; Optuna's own infer it from all trials."""

    axes: Mapping[str, BaseDistribution]

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return all axes with more than one value."""
        return {name: self.axes[name] for name in sorted(self.axes) if not self.axes[name].single()}


class _ConstantTimeGA(_KnowsSpace, BaseGASampler):
    """A genetic sampler whose time per draw does not grow with the number of trials.

    It finds parents by their number, and looks no further back than the newest generation.
    """

    _population_size: int

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """Return the newest generation until enough of it are complete, then the next."""
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
        """Return the parents of a generation, chosen once and looked up by number from then on."""
        if generation == 0:
            return []
        key = f"{self._get_parent_cache_key_prefix()}{generation}"
        ids = study._storage.get_study_system_attrs(study._study_id).get(key)
        if ids is None:
            ids = [parent._trial_id for parent in super().get_parent_population(study, generation)]
        return [study._storage.get_trial(trial_id) for trial_id in sorted(ids)]


# These two keep Optuna's names, which are part of the attributes that studies are stored with.
class NSGAIISampler(_ConstantTimeGA, optuna.samplers.NSGAIISampler):
    """NSGA-II: non-dominated ranks, then crowding distance."""

    def __init__(self, seed: int, population: int, axes: Mapping[str, BaseDistribution]) -> None:
        optuna.samplers.NSGAIISampler.__init__(self, seed=seed, population_size=population)
        self.axes = axes


class NSGAIIISampler(_ConstantTimeGA, optuna.samplers.NSGAIIISampler):
    """NSGA-III: non-dominated ranks, then distance to reference directions."""

    def __init__(self, seed: int, population: int, axes: Mapping[str, BaseDistribution]) -> None:
        optuna.samplers.NSGAIIISampler.__init__(self, seed=seed, population_size=population)
        self.axes = axes


class SpaceTPE(_KnowsSpace, TPESampler):
    """Tree-structured Parzen estimator: densities of good and of other trials."""

    def __init__(self, seed: int, axes: Mapping[str, BaseDistribution]) -> None:
        TPESampler.__init__(self, seed=seed, multivariate=True, constant_liar=True)
        self.axes = axes


class SpaceGP(_KnowsSpace, GPSampler):
    """A Gaussian process per objective."""

    def __init__(self, seed: int, axes: Mapping[str, BaseDistribution]) -> None:
        GPSampler.__init__(self, seed=seed)
        self.axes = axes


class FixedSampler(RandomSampler):
    """Suggest given values; other axes are drawn at random."""

    def __init__(self, genes: Mapping[str, Value], seed: int) -> None:
        super().__init__(seed=seed)
        self.genes = genes

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the axes with a given value."""
        return {name: CategoricalDistribution((value,)) for name, value in self.genes.items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the given values."""
        return dict(self.genes)


def suggest(
    sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial, axes: Mapping[str, BaseDistribution]
) -> dict[str, Any]:
    """Return a sampler's suggestion for a trial, as ``Study.ask`` would: a value for every axis."""
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
    """Assign a trial to its generation; Optuna's genetic samplers ignore trials that they did not draw."""
    if isinstance(sampler, _ConstantTimeGA):
        sampler.get_trial_generation(study, trial)
