"""Fronts: which trials no other trial dominates."""

import moocore
import numpy as np
import pandas as pd

from archsearch.objectives import Objective


def on_front(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> pd.Series:
    """Marks the rows that no other row dominates.

    A row dominates another when it is at least as good in every objective and better in one;
    equal rows are both on the front. Rows that lack a value are not.

    Args:
        frame: a column per objective.
        objectives: which columns, and which way is better.

    >>> from archsearch.objectives import parse_objectives
    >>> rows = pd.DataFrame({"accuracy": [0.9, 0.8, 0.7], "macs": [2e9, 1e9, 1e9]})
    >>> on_front(rows, parse_objectives("accuracy,macs")).tolist()
    [True, True, False]
    """
    names = [objective.name for objective in objectives]
    marks = pd.Series(False, index=frame.index)
    values = frame.reindex(columns=names).dropna()
    if len(values):
        maximise = [objective.direction == "maximize" for objective in objectives]
        points = np.ascontiguousarray(values.to_numpy(dtype=float))
        marks[values.index] = moocore.is_nondominated(points, maximise=maximise, keep_weakly=True)
    return marks
