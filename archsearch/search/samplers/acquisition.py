"""How much a candidate is worth training: expected hypervolume improvement per second of training."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from archsearch.evaluate.constraint import Constraint
from archsearch.objectives import Objective, Tier
from archsearch.search.samplers.ehvi import expected_hypervolume_improvement, probability_below_zero
from archsearch.search.samplers.features import Point, Points
from archsearch.search.samplers.gp import Model, Observed
from archsearch.search.samplers.history import Row, TrialHistory

#: Number of known scores, or training times, from which on a model of them is used.
START = 8
#: Maximum number of candidates under way that count as if they had ended as expected: the newest.
PENDING = 64
#: Number of timings from which on a constraint on a speed is modelled.
FEW = 5
#: Number of failures that are taken for accidents.
ACCIDENTS = 1
#: Exponent of the training time that expected hypervolume improvement is divided by.
COST_EXPONENT = 1.0


@dataclass
class CostAware:
    """State that the draws of one study share.

    Attributes:
        points: Points of the space, with their counted costs.
        objectives: Objectives in the order of the recorded values.
        constraints: Constraints that candidates have to keep; those on counted quantities are never broken.
        images: Number of validation images, from which accuracies have their error; 0 if unknown.
        models: Gaussian processes by name of the predicted quantity.
        history: Trials of the study as they end.
        dry: Whether the last draw found no new architecture that keeps the constraints on counted quantities.
    """

    points: Points
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    images: int = 0
    models: dict[str, Model] = field(default_factory=dict)
    dry: bool = False

    def __post_init__(self) -> None:
        self.history = TrialHistory(self.points, self.objectives, self.images)

    @property
    def spent(self) -> bool:
        """Whether no later draw will find an architecture; candidates under way may still show where to look."""
        return self.dry and not self.history.pending

    def keeps(self, point: Point) -> bool:
        """Return whether a point keeps the constraints on counted quantities."""
        counted = (c for c in self.constraints if c.objective.name in point.costs)
        return all(c.excess(self._counted(c, point)) <= 0 for c in counted)

    def _counted(self, constraint: Constraint, point: Point) -> float:
        value = point.costs[constraint.objective.name]
        if not constraint.of_baseline:
            return value
        return value / self.points.count(self.points.space.baseline)[constraint.objective.name]


def modelled_score(row: Row) -> float | None:
    """Return a trial's score on the modelled objective, or what its pruned curve predicts; None without either."""
    return row.value


class Acquisition:
    """Scores of a pool of candidates, given the trials so far. P is the number of candidates."""

    def __init__(self, common: CostAware, pool: Sequence[Point]) -> None:
        self.common, self.history, self.pool = common, common.history, pool
        self._scaled = common.points.scaled
        self._at = self._features(pool)
        self._under_way = self.history.pending[-PENDING:]

    def ehvi_per_second(self) -> np.ndarray:
        """Return expected hypervolume improvement times feasibility, per second of training; (P,)."""
        return np.asarray(self._ehvi() * self.feasibility() / self._seconds() ** COST_EXPONENT)

    def feasibility(self) -> np.ndarray:
        """Return the probability that a candidate does not fail and keeps all constraints on speeds; (P,)."""
        measured = [c for c in self.common.constraints if c.objective.tier is not Tier.COUNTED]
        return np.prod([self._no_failure(), *map(self._keeps, measured)], axis=0)

    def _no_failure(self) -> np.ndarray:
        """Probability of no failure, by the trials that failed: too large for the device, say, or diverged."""
        known = self.history.known("failed", lambda row: 1.0 if row.failed else -1.0)
        if len(known) < FEW or sum(failed > 0 for _, failed in known) <= ACCIDENTS:
            return np.ones(len(self._at))
        return self._probability_below_zero("failed", known)

    def _keeps(self, constraint: Constraint) -> np.ndarray:
        """Probability of keeping a constraint on a measured quantity."""
        name = str(constraint)
        measured = constraint.objective.name  # where it is not among the scores, the constraint was not checked
        known = self.history.known(name, lambda row: row.excess.get(name) if measured in row.scores else None)
        return self._probability_below_zero(name, known) if len(known) >= FEW else np.ones(len(self._at))

    def _probability_below_zero(self, name: str, known: Sequence[tuple[Row, float]]) -> np.ndarray:
        model, scaled = self._model(name), self._scaled
        return probability_below_zero(*model.predict(known, lambda one: (scaled(one[0].point), one[1], 0.0), self._at))

    def _ehvi(self) -> np.ndarray:
        """Expected hypervolume improvement; without a front, the standard deviation of the predicted score.

        The front is that of the complete trials and of the candidates under way with their expected scores, so that
        several workers do not all look for what one of them is about to give.
        """
        modelled, front = self.history.modelled, self.history.front
        mean, sd = self.predict_score()
        if not front:
            return sd
        worst, best = (-bound for bound in self.history.modelled_range)
        width = max(best - worst, 1e-9)
        costs, front_costs = self._scaled_costs(front)
        observed = _signed(modelled, [row.scores[modelled.name] for row in front])
        front_scores = (np.concatenate([observed, self._expected]) - worst) / width
        return expected_hypervolume_improvement((mean - worst) / width, sd / width, costs, front_scores, front_costs)

    def _scaled_costs(self, front: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        """The other objectives of the pool, (P, C), and of the front and the candidates under way, (F + W, C).

        They are scaled from 0 (best) to 1 (worst).
        """
        held_count = len(front) + len(self._under_way)
        pool_columns, front_columns = [np.empty((len(self.pool), 0))], [np.empty((held_count, 0))]
        for objective in self.common.objectives:
            if objective is self.history.modelled:
                continue
            pool, observed = self._cost(objective, self.pool), [row.scores[objective.name] for row in front]
            held = np.concatenate([_signed(objective, observed), self._cost(objective, self._under_way)])
            both = np.concatenate([pool, held])
            top, span = both.max(), max(float(np.ptp(both)), 1e-9)
            pool_columns.append(((top - pool) / span)[:, None])
            front_columns.append(((top - held) / span)[:, None])
        return np.hstack(pool_columns), np.hstack(front_columns)

    def predict_score(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the modelled objective, larger is better; (P,) and (P,).

        Candidates under way count as if they had given what is expected of them.
        """
        modelled = self.history.modelled
        if modelled.name in self.pool[0].costs:  # all objectives are counted, so that nothing has to be predicted
            return self._cost(modelled, self.pool), np.zeros(len(self.pool))
        known = self.history.known("modelled", modelled_score)
        under_way = zip(self._under_way, self._expected.tolist(), strict=True)
        also = [(self._scaled(x), y, self.history.standard_error(y)) for x, y in under_way]
        return self._model(modelled.name).predict(known, self._observe, self._at, also)

    @cached_property
    def _expected(self) -> np.ndarray:
        """Expected modelled objective of the candidates under way, larger is better; (W,)."""
        modelled = self.history.modelled
        if not self._under_way or modelled.name in self.pool[0].costs:
            return self._cost(modelled, self._under_way)
        known, at = self.history.known("modelled", modelled_score), self._features(self._under_way)
        return self._model(modelled.name).expect(known, self._observe, at)

    def _observe(self, one: tuple[Row, float]) -> Observed:
        """A trial's features, modelled score and its noise."""
        return self._scaled(one[0].point), float(_signed(self.history.modelled, [one[1]])[0]), one[0].sd

    def _features(self, points: Sequence[Point]) -> np.ndarray:
        return np.array([self._scaled(point) for point in points])

    def _cost(self, objective: Objective, points: Sequence[Point]) -> np.ndarray:
        """An objective of some points, counted or predicted; larger is better."""
        name = objective.name
        if not points or name in points[0].costs:
            return _signed(objective, [point.costs[name] for point in points])
        return _signed(objective, self._positive(name, lambda row: row.scores.get(name) or None, points))

    def _positive(self, name: str, read: Callable[[Row], float | None], points: Sequence[Point]) -> np.ndarray:
        """Predict a quantity that is always positive, by its logarithm."""
        known, model, scaled = self.history.known(name, read), self._model(name), self._scaled
        at = self._at if points is self.pool else self._features(points)

        def observe(one: tuple[Row, float]) -> Observed:
            return scaled(one[0].point), math.log(one[1]), one[0].log_errors.get(name, 0.0)

        return np.exp(model.expect(known, observe, at))

    def _seconds(self) -> np.ndarray:
        """Seconds of training a candidate to its end; 1 for all as long as too little is known."""
        if len(self.history.known("seconds", _training_seconds)) < START:
            return np.ones(len(self.pool))
        return self._positive("seconds", _training_seconds, self.pool)

    def _model(self, name: str) -> Model:
        return self.common.models.setdefault(name, Model())


def _signed(objective: Objective, values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Values with the sign that makes larger better."""
    return np.asarray(values, dtype=float) * (1.0 if objective.direction == "maximize" else -1.0)


def _training_seconds(row: Row) -> float | None:
    return row.seconds or None
