"""Pareto fronts: the trials that no other trial dominates."""

from collections.abc import Sequence

import moocore
import numpy as np
import pandas as pd

from archsearch.objectives import Objective
from archsearch.trial import Trial


def on_front(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> pd.Series:
    """Mark the rows that no other row dominates.

    A row dominates another when it is at least as good in every objective and better in one;
    equal rows are both on the front. Rows that lack a value, or have an infinite one, are not.

    Args:
        frame: Table with a column per objective.
        objectives: Columns to compare, and their directions.

    >>> from archsearch.objectives import parse_objectives
    >>> rows = pd.DataFrame({"accuracy": [0.9, 0.8, 0.7], "macs": [2e9, 1e9, 1e9]})
    >>> on_front(rows, parse_objectives("accuracy,macs")).tolist()
    [True, True, False]
    """
    points = np.full((len(frame), len(objectives)), np.nan)
    for place, (objective, sign) in enumerate(zip(objectives, signs(objectives), strict=True)):
        if objective.name in frame:  # one column at a time: frames hold words, too
            np.multiply(frame[objective.name].to_numpy(dtype=float), sign, out=points[:, place])
    return pd.Series(nondominated(points), index=frame.index)


def nondominated(points: np.ndarray) -> np.ndarray:
    """Mark the rows that no other row dominates, (N,); rows with NaN or infinite values are not marked.

    Args:
        points: Scores, (N, objectives); smaller is better.

    >>> nondominated(np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [0.0, np.nan]])).tolist()
    [True, True, False, False]
    """
    finite = np.isfinite(points)
    if not finite.all():  # moocore crashes on -inf, and may never end on NaN
        marks = finite.all(axis=1)
        marks[marks] = nondominated(points[marks])
        return marks
    if points.shape[1] > 3:
        return np.asarray(moocore.is_nondominated(points, keep_weakly=True))
    last = points[:, -1]  # up to three costs moocore sorts by it, sooner where they are sorted
    if (last[1:] >= last[:-1]).all():
        return np.asarray(moocore.is_nondominated(points, keep_weakly=True))
    marks, order = np.empty(len(points), dtype=bool), np.argsort(last)
    marks[order] = moocore.is_nondominated(np.take(points, order, axis=0), keep_weakly=True)
    return marks


def costs(trials: Sequence[Trial], objectives: Sequence[Objective]) -> np.ndarray:
    """Return scores of trials, (N, objectives), signed so that smaller is better; NaN for those not complete."""
    lacking = [float("nan")] * len(objectives)
    names = [objective.name for objective in objectives]
    rows = [[t.evaluation.scores[name] for name in names] if t.state == "complete" else lacking for t in trials]
    return np.array(rows, dtype=float).reshape(len(rows), len(names)) * signs(objectives)


def signs(objectives: Sequence[Objective]) -> np.ndarray:
    """Return the factor of each objective, 1 or -1, that makes smaller scores better."""
    return np.array([-1.0 if objective.direction == "maximize" else 1.0 for objective in objectives])
