"""What a figure or page shows beside the trials, computed once for both: fronts of pairs, marks, ticks, edges."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from archsearch.objectives import OBJECTIVES, Objective
from archsearch.report.looks import LOOKS
from archsearch.report.marks import COUNTED, Mark, near
from archsearch.report.view import StudyView
from archsearch.stats.fronts import nondominated, signs

#: Tick format of scores below 1000, where prefixes would say milli and nobody expects it.
SMALL_TICKS = ".4~g"


def extent(views: Sequence[StudyView], name: str) -> tuple[float, float] | None:
    """Return the least and greatest score of all trials in one objective; None where no trial has one."""
    known = np.concatenate([view.scores[name] for view in views if name in view.scores] or [np.empty(0)])
    known = known[np.isfinite(known)]
    return (float(known.min()), float(known.max())) if len(known) else None


def pair_front(view: StudyView, x: Objective, y: Objective) -> list[int]:
    """Return the places in ``view.trials`` of the front in two objectives alone, from small to large ``x``."""
    if x.name not in view.scores or y.name not in view.scores:
        return []
    points = np.column_stack([view.level_scores[x.name], view.level_scores[y.name]])
    points[[trial.state != "complete" for trial in view.trials]] = np.nan
    front = np.flatnonzero(nondominated(points * signs((x, y))))
    return [int(place) for place in front[np.argsort(points[front, 0], kind="stable")]]


def pair_fronts(view: StudyView) -> Iterator[tuple[str, str, list[int]]]:
    """Yield the names of every two objectives that have scores, and their front."""
    for x, y in combinations(view.scores, 2):
        yield x, y, pair_front(view, OBJECTIVES[x], OBJECTIVES[y])


def marks(views: Sequence[StudyView], names: Sequence[str]) -> list[Mark]:
    """Return the paper's networks that are about as large as the trials.

    Args:
        views: Studies in one picture.
        names: Objectives on its axes; networks are placed along those that are counted.
    """
    ranges = {name: found for name in names if name in COUNTED and (found := extent(views, name))}
    return near(ranges, [trial.arch.img_size for view in views for trial in view.trials]) if ranges else []


def beyond(views: Sequence[StudyView], objective: Objective) -> dict[str, float]:
    """Return where trials without a score stand, by status: beyond the worst score, each kind at its own distance."""
    found = extent(views, objective.name)
    if found is None:
        return {}
    low, high = found
    width = (high - low) or abs(high) or 1.0
    worst, step = (low, -width) if objective.direction == "maximize" else (high, width)
    return {status: worst + step * look.beyond for status, look in LOOKS.items() if look.beyond}


def ticks(views: Sequence[StudyView], objective: Objective) -> str:
    """Return the d3 format of tick labels, without prefixes where all scores are small."""
    found = extent(views, objective.name)
    small = objective.ticks.endswith("s") and (found is None or found[1] < 1000)
    return SMALL_TICKS if small else objective.ticks
