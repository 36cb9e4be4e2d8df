"""The front and its hypervolume, kept up as trials come in."""

from collections.abc import Iterable, Sequence

import moocore
import numpy as np

from archsearch.objectives import Objective
from archsearch.trial import Trial


class Standing:
    """How a study stands. A new trial costs a comparison with the front, however many trials there were before.

    Attributes:
        front: finished trials that no other one dominates, by number.
        failed: trials that ended with an error.
        stopped: trials that were ended early.
    """

    def __init__(self, objectives: Sequence[Objective], trials: Iterable[Trial] = ()) -> None:
        """Args: objectives: which scores count, and which way; trials: those known so far."""
        self.objectives = tuple(objectives)
        self.front: list[Trial] = []
        self.failed = self.stopped = 0
        self._points = np.empty((0, len(self.objectives)))
        self._best = np.full(len(self.objectives), np.inf)
        self._worst = -self._best
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> bool:
        """Takes a trial in; whether it is on the front now."""
        self.failed += trial.state == "failed"
        self.stopped += trial.state == "stopped"
        if trial.state != "complete":
            return False
        point = np.array([self._smaller_is_better(o, trial) for o in self.objectives])
        self._best, self._worst = np.minimum(self._best, point), np.maximum(self._worst, point)
        if (np.all(self._points <= point, axis=1) & np.any(self._points < point, axis=1)).any():
            return False
        kept = ~(np.all(point <= self._points, axis=1) & np.any(point < self._points, axis=1))
        self.front = [old for old, stays in zip(self.front, kept, strict=True) if stays] + [trial]
        self._points = np.vstack([self._points[kept], point])
        return True

    def hypervolume(self) -> float:
        """The share of the box between the best and the worst scores so far that the front dominates.

        It measures progress within a study, between 0 and 1; as the box grows with the trials, it is no
        figure to compare studies by.
        """
        width = self._worst - self._best
        if not self.front or not (width > 0).all():
            return 0.0
        return float(moocore.hypervolume((self._points - self._best) / width, ref=np.ones(len(width))))

    @staticmethod
    def _smaller_is_better(objective: Objective, trial: Trial) -> float:
        score = trial.evaluation.scores[objective.name]
        return -score if objective.direction == "maximize" else score
