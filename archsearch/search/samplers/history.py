"""Trials of a study as its models learn from them; each is read once."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from archsearch.objectives import Objective
from archsearch.search.rungs import Curves
from archsearch.search.samplers.features import Point, Points
from archsearch.search.storage.records import accuracies_of
from archsearch.stats.hypervolume import FrontTracker
from archsearch.stats.noise import log_errors, noise_of
from archsearch.stats.seeds import SeedModel
from archsearch.trial import Epoch, Evaluation, Trial, finite

#: Attributes of trials whose candidate has another trial: their worker was lost, or they were written twice.
AGAIN = {"lost", "duplicate_of"}


@dataclass
class Row:
    """A trial that has ended.

    Attributes:
        point: Point of the space.
        scores: Known scores by objective.
        value: Score on the modelled objective, or its prediction from a pruned curve; None without either.
        sd: Standard deviation of that prediction, or the standard error of an accuracy; 0 where it is not known.
        seconds: Seconds of training the candidate to its end; 0 where they are not known.
        excess: Relative violation of each constraint that was checked; the constraint is broken above 0.
        failed: Whether it ended with an error.
        log_errors: Standard errors of the logarithms of measured scores, by objective.
    """

    point: Point
    scores: dict[str, float]
    value: float | None
    sd: float
    seconds: float
    excess: dict[str, float]
    failed: bool = False
    log_errors: dict[str, float] = field(default_factory=dict)


class TrialHistory:
    """Trials as they end; the time to read another one does not grow with their number.

    Attributes:
        modelled: Objective of the highest tier, which is predicted with its uncertainty; the others count as costs.
        rows: Trials that have ended, in the order in which they were read.
        pending: Points of the candidates under way.
        taken: Keys of all architectures that have a trial.
    """

    def __init__(self, points: Points, objectives: Sequence[Objective], images: int = 0) -> None:
        """Start without trials.

        Args:
            points: Points of the space.
            objectives: Objectives in the order of the recorded values.
            images: Number of validation images; 0 if unknown.
        """
        self.points, self.objectives, self.images = points, tuple(objectives), images
        self.modelled = max(objectives, key=lambda objective: objective.tier)
        self.rows: list[Row] = []
        self.pending: list[Point] = []
        self.taken: set[str] = set()
        self._numbers: dict[int, Row] = {}
        self._underway: dict[int, Point] = {}
        self._ended = 0  # all trials before this one have
        self._known: dict[str, tuple[int, list[tuple[Row, float]]]] = {}
        self._tracker = FrontTracker(objectives)
        self._curves: Curves | None = None
        self._seeds = SeedModel()

    def read(self, trials: Sequence[FrozenTrial], but: int) -> None:
        """Read new trials.

        Args:
            trials: All trials of the study, by number.
            but: Number of the trial that a candidate is drawn for.
        """
        underway, self._underway, self.pending = self._underway, {}, []
        for trial in trials[self._ended :]:
            if trial.number in self._numbers or trial.number == but:
                continue
            point = underway.get(trial.number) or self._point(trial)
            if point is None:
                continue
            self.taken.add(point.key)
            if not trial.state.is_finished():
                self._underway[trial.number] = point
                self.pending.append(point)
            elif trial.state != TrialState.FAIL or not AGAIN & trial.user_attrs.keys():
                self._numbers[trial.number] = row = self._row(trial, point)
                self.rows.append(row)
        while self._ended < len(trials) and trials[self._ended].state.is_finished():
            self._ended += 1

    @property
    def front(self) -> list[Row]:
        """Rows on the Pareto front."""
        return [self._numbers[member.number] for member in self._tracker.front]

    @property
    def modelled_range(self) -> tuple[float, float]:
        """Worst and best modelled score of the complete trials, with the sign that makes smaller better."""
        best, worst = self._tracker.box
        place = self.objectives.index(self.modelled)
        return float(worst[place]), float(best[place])

    def known(self, name: str, read: Callable[[Row], float | None]) -> list[tuple[Row, float]]:
        """Return the rows that have a value, each with it.

        Args:
            name: Name of the value; always used with the same ``read``.
            read: Function from a row to its value; None where it has none.
        """
        seen, found = self._known.get(name, (0, []))
        found.extend((row, value) for row in self.rows[seen:] if (value := read(row)) is not None)
        self._known[name] = len(self.rows), found
        return found

    def standard_error(self, score: float, seeds: int = 1) -> float:
        """Return the standard error of a modelled score, by the trials so far; 0 if it is unknown.

        Args:
            score: Score on the modelled objective.
            seeds: Number of seeds that it is the mean of.
        """
        known = noise_of(self._seeds, self.images, [score]) if self.modelled.name == "accuracy" else None
        return known.standard_error(score, seeds) if known else 0.0

    def _point(self, trial: FrozenTrial) -> Point | None:
        try:
            return self.points.at(self.points.space.active(trial.params))
        except KeyError:  # its values are still being asked for, one after another
            return None

    def _row(self, frozen: FrozenTrial, point: Point) -> Row:
        attrs: dict[str, Any] = frozen.user_attrs
        curve = tuple(Epoch(**entry) for entry in attrs.get("curve", ()))
        seconds = sum(epoch.seconds for epoch in curve)
        scores, errors = finite(attrs.get("scores", {})), log_errors(attrs.get("details", {}))
        if frozen.state == TrialState.FAIL or len(scores) < len(attrs.get("scores", {})):
            return Row(point, scores, None, 0.0, 0.0, {}, failed="put_off" not in attrs)  # the machine's fault
        if frozen.state != TrialState.COMPLETE or any(share > 0 for share in frozen.constraints.values()):
            value, sd, seconds = self._predicted(curve, seconds)
            return Row(point, scores, value, sd, seconds, frozen.constraints, log_errors=errors)
        scores |= {o.name: value for o, value in zip(self.objectives, frozen.values or (), strict=True)}
        if not all(map(math.isfinite, frozen.values or ())):  # of an objective that refuses nothing
            return Row(point, finite(scores), None, 0.0, 0.0, {}, failed=True)
        self._take_to_first_seed(scores, accuracies_of(attrs))
        self._learn(Trial(frozen.number, "complete", point.arch, {}, 0, Evaluation(scores, curve=curve), {}))
        value = scores[self.modelled.name]
        sd = self.standard_error(value, len(accuracies_of(attrs)) or 1)
        return Row(point, scores, value, sd, seconds, frozen.constraints, log_errors=errors)

    def _take_to_first_seed(self, scores: dict[str, float], by_seed: Mapping[int, float]) -> None:
        """Take an accuracy over several seeds to the level of the first one, which all trials have.

        By the trials that were read before, as its error is, so that a search that was interrupted has the same.
        """
        self._seeds.add(by_seed)
        if by_seed:
            scores["accuracy"] -= self._seeds.level(by_seed) - self._seeds.level([min(by_seed)])

    def _learn(self, trial: Trial) -> None:
        self._tracker.add(trial)
        if trial.evaluation.curve:
            self._curves = self._curves or Curves(len(trial.evaluation.curve))
            self._curves.add(trial.evaluation.curve)

    def _predicted(self, curve: Sequence[Epoch], seconds: float) -> tuple[float | None, float, float]:
        """Predicted score of a pruned training, its standard deviation, and seconds of the whole training."""
        prediction = self._curves.predict(tuple(curve)) if curve and self._curves else None
        if prediction is None or self._curves is None:
            return None, 0.0, 0.0
        return prediction.mean, prediction.sd, seconds / len(curve) * self._curves.epochs
