"""A sampler for objectives of which only one needs training: it knows the others before it draws.

Parameters and multiply-adds are counted exactly, and how fast a network is shows after a few trials. What is left
is a model of the accuracy (a Gaussian process on features of the architecture), and the choice of the candidate
with the largest expected hypervolume improvement per second of training.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from archsearch.search.samplers.acquisition import START, Acquisition, CostAware, modelled_score
from archsearch.search.samplers.features import Point

#: Number of random points among which the first candidates are chosen: the one farthest from all known points.
RIVALS = 32
#: Number of trials after which, in a large space, other random points are looked at.
TURN = 100
#: Maximum number of members of the front whose neighbours are looked at; before there is one, of candidates under way.
NEAR = 64
#: Number of random points that are looked through where the usual ones offer nothing.
WIDE = 20_000


class CostAwareSampler(BaseSampler):
    """Draw the candidate with the largest expected hypervolume improvement per second of training.

    An ordinary Optuna sampler: a study's values are the objectives in their order, its parameters the axes of the
    space, all categorical. Where trials carry the user attributes that ``archsearch.search.storage.records``
    documents, it learns from seconds of training, scores of infeasible trials and curves of pruned ones as well.
    """

    def __init__(self, common: CostAware, seed: int) -> None:
        """Make a sampler.

        Args:
            common: State that all draws of one study share.
            seed: Seed of this draw, or of the first of several.
        """
        self.common = common
        self._rng, self._random = random.Random(seed), RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return all axes."""
        return {axis.name: CategoricalDistribution(axis.values) for axis in self.common.points.space.axes}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw a parameter that is no axis at random."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a value for every axis; nothing where all points looked at are known or break a constraint."""
        common, history = self.common, self.common.history
        history.read(study.get_trials(deepcopy=False), but=trial.number)
        pool = self._pool()
        common.dry = not pool
        if common.dry:
            return {}
        enough = len(history.known("modelled", modelled_score)) >= START
        chosen = self._best_by_ehvi(pool) if enough else self._farthest(pool)
        return common.points.space.genome(chosen.params)

    def _pool(self) -> list[Point]:
        """New points: of the whole space, or of a large one random points and neighbours of the front."""
        points, history = self.common.points, self.common.history
        front = history.front or history.rows[:START]
        near = [row.point for row in (front if len(front) <= NEAR else self._rng.sample(front, NEAR))]
        near += [] if history.front else history.pending[-NEAR:]
        return self._new(points.pool(len(history.rows) // TURN, near)) or self._new(self._far_and_wide())

    def _new(self, points: Iterable[Point]) -> list[Point]:
        """Points without a trial that keep the constraints on counted quantities."""
        return [p for p in points if p.key not in self.common.history.taken and self.common.keeps(p)]

    def _far_and_wide(self) -> Iterator[Point]:
        """Random points of a large space, where those that were looked at are all known or infeasible."""
        space = self.common.points.space
        return self.common.points.existing(
            space.sample(self._rng) for _ in range(0 if self.common.points.all else WIDE)
        )

    def _farthest(self, pool: Sequence[Point]) -> Point:
        """Of some random points, the one farthest from all known ones: for the first candidates."""
        scaled, history = self.common.points.scaled, self.common.history
        rivals = self._rng.sample(range(len(pool)), min(RIVALS, len(pool)))
        feasibility = Acquisition(self.common, pool).feasibility()
        if len(set(feasibility)) > 1:
            rivals = sorted(rivals, key=lambda i: -feasibility[i])[: RIVALS // 4]
        taken = [scaled(point) for point in (*(row.point for row in history.rows), *history.pending)]
        if not taken:
            return pool[rivals[0]]
        here = np.array([scaled(pool[i]) for i in rivals])
        nearest = np.square(here[:, None] - np.array(taken)[None]).sum(axis=2).min(axis=1)
        return pool[rivals[int(nearest.argmax())]]

    def _best_by_ehvi(self, pool: Sequence[Point]) -> Point:
        """The point with the largest expected hypervolume improvement per second."""
        return pool[int(Acquisition(self.common, pool).ehvi_per_second().argmax())]
