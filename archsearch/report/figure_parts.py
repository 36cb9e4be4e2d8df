"""Parts that all figures have: status and colour of trials, axes, layout."""

from collections.abc import Iterator, Sequence

import pandas as pd

from archsearch.objectives import Objective
from archsearch.report.backdrop import ticks
from archsearch.report.looks import LOOKS, PALETTE
from archsearch.report.view import StudyView


def statuses(frame: pd.DataFrame) -> pd.Series:
    """Return a key of ``LOOKS`` for every trial."""
    return frame["state"].where(frame["state"] != "complete", frame["front"].map({True: "front", False: "dominated"}))


def by_status(view: StudyView) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the trials of each status that occurs, in the order of the legend."""
    status = statuses(view.frame)
    for name in LOOKS:
        rows = view.frame[status == name]
        if len(rows):
            yield name, rows


def coloured(views: Sequence[StudyView]) -> Iterator[tuple[StudyView, str | None]]:
    """Yield each study with its colour; None where there is one study, whose trials are coloured by status."""
    for place, view in enumerate(views):
        yield view, PALETTE[place % len(PALETTE)] if len(views) > 1 else None


def legend_name(views: Sequence[StudyView], view: StudyView, status: str) -> str:
    """Return the legend's text for the trials of one status, with the study's name where there are several."""
    return f"{view.name}: {LOOKS[status].label}" if len(views) > 1 else LOOKS[status].label


def score_axis(views: Sequence[StudyView], objective: Objective) -> dict[str, object]:
    """Return an axis of scores: its title and ticks."""
    better = "more" if objective.direction == "maximize" else "less"
    return {"title": {"text": f"{objective.axis}, {better} is better"}, "tickformat": ticks(views, objective)}


def layout() -> dict[str, object]:
    """Return margins, legend and template."""
    return {
        "margin": {"l": 60, "r": 15, "t": 35, "b": 50},
        "legend": {"orientation": "h", "y": -0.18, "yanchor": "top"},
        "template": "plotly_white",
    }
