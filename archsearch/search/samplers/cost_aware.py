"""A sampler for scores of which only one is dear: it knows the others of every architecture that it looks at.

Parameters and multiply-adds are counted exactly, and how fast a network is shows after a few trials. What is left
is a model of the accuracy (a Gaussian process on features of the architecture), and the choice of the candidate
whose hypervolume, per second of training, is expected to grow most.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from archsearch.evaluate.constraint import Constraint
from archsearch.objectives import Objective, Tier
from archsearch.search.samplers.ehvi import chance_below_zero, expected_hypervolume_improvement
from archsearch.search.samplers.features import Point, Points
from archsearch.search.samplers.gp import Model, Observed
from archsearch.search.samplers.history import Row, TrialHistory

#: Candidates that are spread over the space before a model is asked.
START = 8
#: Of a spread candidate's rivals, drawn at random, that which lies farthest from what is known is taken.
RIVALS = 32
#: In a large space, other random candidates are looked at after so many trials.
TURN = 100
#: Members of the front whose neighbours are looked at, at most.
NEAR = 64
#: Candidates under way that are reckoned with, the newest.
PENDING = 64
#: Random points that are looked through where the usual ones offer nothing.
WIDE = 20_000
#: Timings from which on a constraint on a speed is modelled.
FEW = 5
#: Failures that say nothing of a candidate's neighbours yet.
ACCIDENTS = 1
#: Weight of what an expected gain costs: 1 is gain per second.
THRIFT = 1.0


@dataclass
class CostAware:
    """What the draws of one study have in common.

    Attributes:
        points: of the space, with their counted costs.
        objectives: of the study, in the order of its values.
        constraints: that candidates have to keep; counted ones are never broken.
        models: by name of what they predict.
        history: of its trials.
        dry: whether the last draw found no architecture that is new and keeps the constraints that can be counted.
    """

    points: Points
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    models: dict[str, Model] = field(default_factory=dict)
    dry: bool = False

    def __post_init__(self) -> None:
        self.history = TrialHistory(self.points, self.objectives)

    @property
    def spent(self) -> bool:
        """Whether no draw will find another: what is under way may still show where to look."""
        return self.dry and not self.history.pending

    def keeps(self, point: Point) -> bool:
        """Whether a point keeps the constraints that can be counted."""
        counted = (c for c in self.constraints if c.objective.name in point.costs)
        return all(c.excess(self._counted(c, point)) <= 0 for c in counted)

    def _counted(self, constraint: Constraint, point: Point) -> float:
        value = point.costs[constraint.objective.name]
        if not constraint.of_baseline:
            return value
        return value / self.points.count(self.points.space.baseline)[constraint.objective.name]


class CostAwareSampler(BaseSampler):
    """Draws what promises the most hypervolume per second of training; an ordinary sampler of Optuna's.

    A study's values are the objectives' in their order, its parameters the axes of the space, all as categories.
    Where trials carry the user attributes that ``archsearch.search.storage.records`` documents, seconds of training,
    scores of infeasible trials and curves of stopped ones are learnt from as well.
    """

    def __init__(self, common: CostAware, seed: int) -> None:
        """Args: common: to all draws of one study; seed: of this draw, or of the first of several."""
        self.common = common
        self._rng, self._random = random.Random(seed), RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All axes."""
        return {axis.name: CategoricalDistribution(axis.values) for axis in self.common.points.space.axes}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """What is no axis is drawn at random."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for every axis; nothing, where all that were looked at are known or break a constraint."""
        common, history = self.common, self.common.history
        history.read(study.get_trials(deepcopy=False), but=trial.number)
        front = history.front or history.rows[:START]
        near = [row.point for row in (front if len(front) <= NEAR else self._rng.sample(front, NEAR))]
        near += [] if history.front else history.pending[-NEAR:]
        pool = self._new(common.points.pool(len(history.rows) // TURN, near)) or self._new(self._far_and_wide())
        common.dry = not pool
        if common.dry:
            return {}
        choose = self._promising if len(history.known("dear", _dear)) >= START else self._spread
        chosen = pool[choose(pool)]
        return {axis.name: chosen.params.get(axis.name, axis.values[0]) for axis in common.points.space.axes}

    def _new(self, points: Iterable[Point]) -> list[Point]:
        """Those without a trial that keep the constraints that can be counted."""
        return [p for p in points if p.key not in self.common.history.taken and self.common.keeps(p)]

    def _far_and_wide(self) -> Iterator[Point]:
        """Random points of a large space, where those that were looked at are all known or infeasible."""
        space = self.common.points.space
        return self.common.points.existing(
            space.sample(self._rng) for _ in range(0 if self.common.points.all else WIDE)
        )

    def _spread(self, pool: list[Point]) -> int:
        """The first candidates: each far from the others."""
        scaled, history = self.common.points.scaled, self.common.history
        rivals = self._rng.sample(range(len(pool)), min(RIVALS, len(pool)))
        chance = Prospect(self.common, pool).chance()
        if len(set(chance)) > 1:
            rivals = sorted(rivals, key=lambda i: -chance[i])[: RIVALS // 4]
        taken = [scaled(point) for point in (*(row.point for row in history.rows), *history.pending)]
        if not taken:
            return rivals[0]
        here = np.array([scaled(pool[i]) for i in rivals])
        nearest = np.square(here[:, None] - np.array(taken)[None]).sum(axis=2).min(axis=1)
        return rivals[int(nearest.argmax())]

    def _promising(self, pool: list[Point]) -> int:
        """The one whose expected gain is largest for its price."""
        return int(Prospect(self.common, pool).worth().argmax())


def _dear(row: Row) -> float | None:
    return row.value


class Prospect:
    """What the candidates of a pool promise, given what is known."""

    def __init__(self, common: CostAware, pool: list[Point]) -> None:
        self.common, self.history, self.pool = common, common.history, pool
        self._scaled = common.points.scaled
        self._at = np.array([self._scaled(point) for point in pool])

    def worth(self) -> np.ndarray:
        """Expected gain in hypervolume times the chance that it comes to that, per second of training; (P,)."""
        return np.asarray(self._gain() * self.chance() / self._seconds() ** THRIFT)

    def chance(self) -> np.ndarray:
        """Probability that a candidate does not fail, and keeps all constraints on what is measured; (P,)."""
        measured = [c for c in self.common.constraints if c.objective.tier is not Tier.COUNTED]
        return np.prod([self._survival(), *map(self._chance, measured)], axis=0)

    def _survival(self) -> np.ndarray:
        """That the candidates do not fail, by who did: too large for the device's history, say, or diverged."""
        known = self.history.known("failed", lambda row: 1.0 if row.failed else -1.0)
        if len(known) < FEW or sum(failed > 0 for _, failed in known) <= ACCIDENTS:
            return np.ones(len(self._at))
        return self._chance_below_zero("failed", known)

    def _chance_below_zero(self, name: str, known: Sequence[tuple[Row, float]]) -> np.ndarray:
        model, scaled = self._model(name), self._scaled
        return chance_below_zero(*model.predict(known, lambda one: (scaled(one[0].point), one[1], 0.0), self._at))

    def _gain(self) -> np.ndarray:
        dear, front = self.history.dear, self.history.front
        mean, sd = self._hoped()
        if not front:  # nothing is known that a gain could be measured by
            return sd
        worst, best = (-bound for bound in self.history.dear_range)
        width = max(best - worst, 1e-9)
        own, theirs = [], []
        for objective in self.common.objectives:
            if objective is not dear:
                pool, held = self._cost(objective), _signed(objective, [r.scores[objective.name] for r in front])
                both = np.concatenate([pool, held])
                top, span = both.max(), max(float(np.ptp(both)), 1e-9)
                own.append((top - pool) / span)
                theirs.append((top - held) / span)
        costs, front_costs = (
            np.stack(some, axis=1) if some else np.empty((number, 0))
            for some, number in ((own, len(self.pool)), (theirs, len(front)))
        )
        held = (_signed(dear, [row.scores[dear.name] for row in front]) - worst) / width
        return expected_hypervolume_improvement((mean - worst) / width, sd / width, costs, held, front_costs)

    def _hoped(self) -> tuple[np.ndarray, np.ndarray]:
        """What the dear score is expected to be; candidates under way count as if they gave what is expected."""
        dear, scaled = self.history.dear, self._scaled
        if dear.name in self.pool[0].costs:  # nothing is trained or timed, and nothing is left to guess
            return self._cost(dear), np.zeros(len(self.pool))
        model, sign = self._model(dear.name), float(_signed(dear, [1.0])[0])

        def observe(one: tuple[Row, float]) -> Observed:
            return scaled(one[0].point), sign * one[1], one[0].sd

        known, also = self.history.known("dear", _dear), []
        if self.history.pending:
            under_way = np.array([scaled(point) for point in self.history.pending[-PENDING:]])
            hoped = model.expect(known, observe, under_way)
            also = [(x, float(y), 0.0) for x, y in zip(under_way, hoped, strict=True)]
        return model.predict(known, observe, self._at, also)

    def _cost(self, objective: Objective) -> np.ndarray:
        """Of the pool, counted where that can be; larger is better."""
        name = objective.name
        if name in self.pool[0].costs:
            return _signed(objective, [point.costs[name] for point in self.pool])
        return _signed(objective, self._positive(name, lambda row: row.scores.get(name) or None))

    def _positive(self, name: str, read: Callable[[Row], float | None]) -> np.ndarray:
        """What is expected of a quantity that is always positive, by its logarithm."""
        known, model, scaled = self.history.known(name, read), self._model(name), self._scaled
        return np.exp(model.expect(known, lambda one: (scaled(one[0].point), math.log(one[1]), 0.0), self._at))

    def _chance(self, constraint: Constraint) -> np.ndarray:
        """That the candidates keep a constraint on what is measured."""
        name = str(constraint)
        measured = constraint.objective.name  # where it is not among the scores, nobody looked at the constraint
        known = self.history.known(name, lambda row: row.excess.get(name) if measured in row.scores else None)
        return self._chance_below_zero(name, known) if len(known) >= FEW else np.ones(len(self._at))

    def _seconds(self) -> np.ndarray:
        """What training a candidate to its end takes; 1 for all, as long as nothing is known of it."""
        if len(self.history.known("seconds", _seconds)) < START:
            return np.ones(len(self.pool))
        return self._positive("seconds", _seconds)

    def _model(self, name: str) -> Model:
        return self.common.models.setdefault(name, Model())


def _signed(objective: Objective, values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Such that larger is better."""
    return np.asarray(values, dtype=float) * (1.0 if objective.direction == "maximize" else -1.0)


def _seconds(row: Row) -> float | None:
    return row.seconds or None
