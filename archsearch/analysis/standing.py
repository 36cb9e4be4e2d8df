"""The front and its hypervolume, kept up as trials come in."""

from collections.abc import Iterable, Sequence

import moocore
import numpy as np

from archsearch.objectives import Objective
from archsearch.trial import Trial

Box = tuple[np.ndarray, np.ndarray]


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

    @property
    def box(self) -> Box:
        """The best and the worst scores so far; smaller is better in all of them."""
        return self._best, self._worst

    def hypervolume(self, box: Box | None = None) -> float:
        """The share of a box that the front dominates, between 0 and 1.

        Args:
            box: by default that of the scores so far: it measures progress within a study, and as it grows with the
                trials, it is no figure to compare studies by.
        """
        best, worst = box or self.box
        width = worst - best
        if not self.front or not (width > 0).all():
            return 0.0
        points = np.maximum((self._points - best) / width, 0.0)
        return float(moocore.hypervolume(points, ref=np.ones(len(width))))

    @staticmethod
    def _smaller_is_better(objective: Objective, trial: Trial) -> float:
        score = trial.evaluation.scores[objective.name]
        return -score if objective.direction == "maximize" else score


def hypervolume_trace(
    objectives: Sequence[Objective], trials: Sequence[Trial], box: Box
) -> tuple[list[int], list[float], list[float]]:
    """How the hypervolume grew.

    Args:
        objectives: which scores count, and which way.
        trials: in the order in which they ended.
        box: that it is a share of; the same for all studies that are compared.

    Returns:
        For every trial that joined the front: how many trials there were by then, the seconds that evaluating them
        took (of all workers together), and the share.
    """
    standing, spent = Standing(objectives), 0.0
    counts, seconds, shares = [], [], []
    for count, trial in enumerate(trials, 1):
        spent += sum(trial.evaluation.seconds.values())
        if standing.add(trial) or count == len(trials):
            counts.append(count)
            seconds.append(spent)
            shares.append(standing.hypervolume(box))
    return counts, seconds, shares
