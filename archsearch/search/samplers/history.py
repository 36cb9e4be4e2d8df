"""What a model learns from the trials of a study; each is read once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from archsearch.objectives import Objective
from archsearch.search.rungs import Curves
from archsearch.search.samplers.features import Point, Points
from archsearch.stats.hypervolume import FrontTracker
from archsearch.trial import Epoch, Evaluation, Trial

#: Attributes of trials that failed through no fault of the candidate's, which has another trial.
AGAIN = {"lost", "duplicate_of"}


@dataclass
class Row:
    """A trial that has ended.

    Attributes:
        point: of the space.
        scores: by objective, as far as they are known.
        value: of the dear score, or what a stopped curve lets expect; None where neither is known.
        sd: of that expectation; 0 where it was observed.
        seconds: that a whole training takes; 0 where that is not known.
        excess: over each constraint that was checked.
        failed: whether it ended with an error.
    """

    point: Point
    scores: dict[str, float]
    value: float | None
    sd: float
    seconds: float
    excess: dict[str, float]
    failed: bool = False


class TrialHistory:
    """Trials as they end. Reading another one costs as much as it does after the first, however many there were.

    Attributes:
        dear: the score that is modelled with its uncertainty; what is known beforehand counts as a cost.
        rows: trials that have ended, in the order in which they were heard of.
        pending: points of those under way.
        taken: keys of architectures that have a trial, ended or not.
    """

    def __init__(self, points: Points, objectives: Sequence[Objective]) -> None:
        """Args: points: of the space; objectives: in the order of the values."""
        self.points, self.objectives = points, tuple(objectives)
        self.dear = max(objectives, key=lambda objective: objective.tier)
        self.rows: list[Row] = []
        self.pending: list[Point] = []
        self.taken: set[str] = set()
        self._numbers: dict[int, Row] = {}
        self._underway: dict[int, Point] = {}
        self._ended = 0  # all trials before this one have
        self._known: dict[str, tuple[int, list[tuple[Row, float]]]] = {}
        self._tracker = FrontTracker(objectives)
        self._curves: Curves | None = None

    def read(self, trials: Sequence[FrozenTrial], but: int) -> None:
        """Takes in what is new.

        Args:
            trials: of the study, by number.
            but: number of the one that a candidate is drawn for.
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
        """Rows that no other dominates."""
        return [self._numbers[member.number] for member in self._tracker.front]

    @property
    def dear_range(self) -> tuple[float, float]:
        """The worst dear score of a complete trial, and the best; smaller is better."""
        best, worst = self._tracker.box
        place = self.objectives.index(self.dear)
        return float(worst[place]), float(best[place])

    def known(self, name: str, read: Callable[[Row], float | None]) -> list[tuple[Row, float]]:
        """Rows and a value that they have.

        Args:
            name: of the value; asked for with the same ``read`` each time.
            read: tells it; None where a row does not have it.
        """
        seen, found = self._known.get(name, (0, []))
        found.extend((row, value) for row in self.rows[seen:] if (value := read(row)) is not None)
        self._known[name] = len(self.rows), found
        return found

    def _point(self, trial: FrozenTrial) -> Point | None:
        try:
            return self.points.at(self.points.space.active(trial.params))
        except KeyError:  # its values are still being asked for, one after another
            return None

    def _row(self, frozen: FrozenTrial, point: Point) -> Row:
        attrs: dict[str, Any] = frozen.user_attrs
        curve = tuple(Epoch(**entry) for entry in attrs.get("curve", ()))
        seconds = sum(epoch.seconds for epoch in curve)
        scores = dict(attrs.get("scores", {}))
        if frozen.state == TrialState.FAIL:
            return Row(point, scores, None, 0.0, 0.0, {}, failed=True)
        if frozen.state != TrialState.COMPLETE or any(share > 0 for share in frozen.constraints.values()):
            value, sd, seconds = self._hoped(curve, seconds)
            return Row(point, scores, value, sd, seconds, frozen.constraints)
        scores |= {o.name: value for o, value in zip(self.objectives, frozen.values or (), strict=True)}
        self._learn(Trial(frozen.number, "complete", point.arch, {}, 0, Evaluation(scores, curve=curve), {}))
        return Row(point, scores, scores[self.dear.name], 0.0, seconds, frozen.constraints)

    def _learn(self, trial: Trial) -> None:
        self._tracker.add(trial)
        if trial.evaluation.curve:
            self._curves = self._curves or Curves(len(trial.evaluation.curve))
            self._curves.add(trial.evaluation.curve)

    def _hoped(self, curve: Sequence[Epoch], seconds: float) -> tuple[float | None, float, float]:
        """Of a training that was stopped: where it would have ended by the curves known then, how sure, how late."""
        outlook = self._curves.outlook(tuple(curve)) if curve and self._curves else None
        if outlook is None or self._curves is None:
            return None, 0.0, 0.0
        return outlook.mean, outlook.sd, seconds / len(curve) * self._curves.epochs
