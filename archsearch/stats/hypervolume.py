"""Pareto front and hypervolume of a study, updated as trials come in."""

from collections.abc import Iterable, Mapping, Sequence

import moocore
import numpy as np

from archsearch.objectives import Objective
from archsearch.stats.fronts import costs, signs
from archsearch.trial import Trial

Box = tuple[np.ndarray, np.ndarray]


class FrontTracker:
    """Pareto front and counts of a study. A new trial is compared with the front alone.

    Attributes:
        front: Complete trials that no other one dominates.
        failed: Number of trials that ended with an error.
        pruned: Number of trials that early stopping ended.
        infeasible: Number of trials that break a constraint.
    """

    def __init__(self, objectives: Sequence[Objective], trials: Iterable[Trial] = ()) -> None:
        """Start from the trials known so far.

        Args:
            objectives: Objectives to compare.
            trials: Trials known so far.
        """
        self.objectives = tuple(objectives)
        self.front: list[Trial] = []
        self.failed = self.pruned = self.infeasible = 0
        self._signs = signs(self.objectives)
        self._points = np.empty((0, len(self.objectives)))
        self._best = np.full(len(self.objectives), np.inf)
        self._worst = -self._best
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> bool:
        """Add a trial; return whether it is on the front, which one with a score that is not finite never is."""
        self.failed += trial.state == "failed"
        self.pruned += trial.state == "pruned"
        self.infeasible += trial.state == "infeasible"
        if trial.state != "complete":
            return False
        point = np.array([trial.evaluation.scores[o.name] for o in self.objectives]) * self._signs
        if not np.isfinite(point).all():
            return False
        self._best, self._worst = np.minimum(self._best, point), np.maximum(self._worst, point)
        if self.dominates(trial.evaluation.scores):
            return False
        kept = ~(np.all(point <= self._points, axis=1) & np.any(point < self._points, axis=1))
        self.front = [old for old, stays in zip(self.front, kept, strict=True) if stays] + [trial]
        self._points = np.vstack([self._points[kept], point])
        return True

    @property
    def box(self) -> Box:
        """Best and worst scores so far; smaller is better in all of them."""
        return self._best, self._worst

    def dominates(self, scores: Mapping[str, float | np.ndarray]) -> bool:
        """Return whether a trial of the front dominates some scores; False where a score is missing.

        Args:
            scores: Scores by name: a number each, or one per trial of the front, (F,).
        """
        point = np.empty_like(self._points)
        for column, objective in enumerate(self.objectives):
            point[:, column] = scores.get(objective.name, np.nan)
        point *= self._signs
        return bool((np.all(self._points <= point, axis=1) & np.any(self._points < point, axis=1)).any())

    def hypervolume(self, box: Box | None = None) -> float:
        """Return the share of a box that the front dominates, between 0 and 1.

        Args:
            box: Best and worst scores; by default those so far. That box grows with the trials, so that the share
                measures progress within a study and does not compare studies.
        """
        best, worst = box or self.box
        width = worst - best
        if not self.front or not (width > 0).all():
            return 0.0
        points = np.maximum((self._points - best) / width, 0.0)
        return float(moocore.hypervolume(points, ref=np.ones(len(width))))


def box_of(objectives: Sequence[Objective], trials: Sequence[Trial]) -> Box:
    """Return the best and worst finite scores of the complete trials, as ``FrontTracker.box`` updates them."""
    points = costs(trials, objectives)
    points = points[np.isfinite(points).all(axis=1)]
    return points.min(axis=0, initial=np.inf), points.max(axis=0, initial=-np.inf)


def hypervolume_trace(
    objectives: Sequence[Objective], trials: Sequence[Trial], box: Box
) -> tuple[list[int], list[float], list[float]]:
    """Return the growth of the hypervolume.

    Args:
        objectives: Objectives to compare.
        trials: Trials in the order in which they ended.
        box: Best and worst scores of all studies that are compared; the hypervolume is a share of this box.

    Returns:
        Three lists with an entry for every trial that widened the front, and for the last one: the number of trials
        by then, the seconds that evaluating them took (of all workers together), and the share.
    """
    best, worst = box
    spent = np.cumsum([sum(trial.evaluation.seconds.values()) for trial in trials])
    points = costs(trials, objectives)
    grew = _widening(points)
    shares = np.zeros(len(grew))
    if (worst > best).all():
        shares = np.cumsum(_gains((points[grew] - best) / (worst - best)))
    if len(trials) and (not len(grew) or grew[-1] != len(trials) - 1):
        grew, shares = np.append(grew, len(trials) - 1), np.append(shares, shares[-1:] if len(shares) else 0.0)
    return (grew + 1).tolist(), spent[grew].tolist(), shares.tolist()


def _widening(points: np.ndarray) -> np.ndarray:
    """Return the points that no earlier one equals or dominates: their front, with time as one more cost."""
    known = np.flatnonzero(np.isfinite(points).all(axis=1))
    if not len(known):
        return known
    return known[moocore.is_nondominated(np.column_stack([points[known], known]))]


def _gains(points: np.ndarray) -> np.ndarray:
    """Return what each point adds to the hypervolume of those before it, in a box from 0 to 1.

    Within the box that a point dominates, the front covers the hypervolume of the front moved into that box. Many of
    its points coincide or drop out there, which is faster than the hypervolume of the whole front.
    """
    front, gains, ones = np.empty((0, points.shape[1])), np.zeros(len(points)), np.ones(points.shape[1])
    for place, point in enumerate(points):
        inside = np.maximum(front, point)
        covered = moocore.hypervolume(inside, ref=ones) if len(inside) else 0.0
        gains[place] = np.prod(1 - point) - covered
        front = np.vstack([front[(front < point).any(axis=1)], point])
    return gains
