"""Figures of the front, over two or three objectives."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from archsearch.objectives import Objective
from archsearch.report.backdrop import beyond, marks, pair_front, ticks
from archsearch.report.confirm_tables import interval_of
from archsearch.report.figure_parts import by_status, coloured, layout, legend_name, score_axis
from archsearch.report.looks import CONFIRMED, LINE, LOOKS, MARK
from archsearch.report.marks import COUNTED
from archsearch.report.tables import describe_params
from archsearch.report.view import StudyView, named_objective

if TYPE_CHECKING:
    from archsearch.handover.confirmation import Confirmed

#: An arrow between two places of a picture.
ARROW = {
    **{"xref": "x", "yref": "y", "axref": "x", "ayref": "y", "text": "", "showarrow": True},
    **{"arrowhead": 2, "arrowwidth": 1.4, "standoff": 6, "startstandoff": 6},
}


def pareto_figure(views: Sequence[StudyView], x: str, y: str) -> go.Figure:
    """Plot trials over two objectives, with each study's front in these two as a line.

    A trial without one of the scores stands beyond the axis' worst score. Scores whose noise is known have their 95 %
    confidence interval as error bars. Where MACs or parameters are on an axis, so are the paper's networks of about
    the trials' size. Where accuracy is, an arrow leads from a trial to what its confirmation found.

    Args:
        views: Studies to show.
        x: Name of the objective on the horizontal axis.
        y: Name of the objective on the vertical axis.
    """
    ox, oy = named_objective(views, x), named_objective(views, y)
    figure = go.Figure()
    _add_marks(figure, views, x, y)
    for view, colour in coloured(views):
        figure.add_trace(_front_line(view, ox, oy, colour))
        for status, rows in by_status(view):
            name = legend_name(views, view, status)
            figure.add_trace(_points(views, rows, status, (ox, oy), name, colour, go.Scatter))
        _add_confirmed(figure, views, view, x, y, colour or CONFIRMED.colour)
    figure.update_layout(xaxis=score_axis(views, ox), yaxis=score_axis(views, oy), hovermode="closest", **layout())
    return figure


def pareto_3d_figure(views: Sequence[StudyView], x: str, y: str, z: str) -> go.Figure:
    """Plot trials over three objectives."""
    axes = [named_objective(views, name) for name in (x, y, z)]
    figure = go.Figure()
    for view, colour in coloured(views):
        for status, rows in by_status(view):
            name = legend_name(views, view, status)
            figure.add_trace(_points(views, rows, status, axes, name, colour, go.Scatter3d))
    scene = {f"{letter}axis": score_axis(views, axis) for letter, axis in zip("xyz", axes, strict=True)}
    figure.update_layout(scene=scene, **layout())
    return figure


def _points(
    views: Sequence[StudyView],
    rows: pd.DataFrame,
    status: str,
    axes: Sequence[Objective],
    name: str,
    colour: str | None,
    kind: type[go.Scatter] | type[go.Scatter3d],
) -> go.Scatter | go.Scatter3d:
    look = LOOKS[status]
    hover = [f"trial {row['number']}<br>{describe_params(row)}{_chance(row)}" for _, row in rows.iterrows()]
    shown = "<br>".join(f"{a.title}: %{{{letter}:{ticks(views, a)}}}" for letter, a in zip("xyz", axes, strict=False))
    trace = kind(
        mode="markers",
        name=name,
        marker={"color": colour or look.colour, "symbol": look.symbol, "size": look.size},
        customdata=rows["number"].tolist(),
        text=hover,
        hovertemplate=f"%{{text}}<br>{shown}<extra>{look.label}</extra>",
    )
    for letter, axis in zip("xyz", axes, strict=False):
        trace[letter] = _placed(views, rows, axis, status)
        if kind is go.Scatter and f"{axis.name}.low" in rows:
            trace[f"error_{letter}"] = _error(rows, axis)
    return trace


def _placed(views: Sequence[StudyView], rows: pd.DataFrame, axis: Objective, status: str) -> list[float | None]:
    """Return the scores; trials without one stand beyond the worst."""
    scores = rows[axis.name] if axis.name in rows else pd.Series(float("nan"), index=rows.index)
    edge = beyond(views, axis).get(status)
    return [edge if pd.isna(score) else float(score) for score in scores]


def _chance(row: pd.Series) -> str:
    share, smoothed = row.get("front_probability", float("nan")), row.get("accuracy.smoothed", float("nan"))
    if pd.isna(share):
        return ""
    if pd.isna(smoothed):
        return f"<br>on the front in {share:.0%} of the draws of its noise"
    return f"<br>smoothed accuracy {smoothed:.1%}<br>on the front of true scores with probability {share:.0%}"


def _error(rows: pd.DataFrame, axis: Objective) -> dict[str, object]:
    up = (rows[f"{axis.name}.high"] - rows[axis.name]).fillna(0).tolist()
    down = (rows[axis.name] - rows[f"{axis.name}.low"]).fillna(0).tolist()
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1, "width": 2}


def _front_line(view: StudyView, x: Objective, y: Objective, colour: str | None) -> go.Scatter:
    """Return the staircase of the front in these two objectives alone."""
    steps = [view.trials[place].evaluation.scores for place in pair_front(view, x, y)]
    return go.Scatter(
        x=[scores[x.name] for scores in steps],
        y=[scores[y.name] for scores in steps],
        mode="lines",
        name="front of this pair",
        showlegend=colour is None,
        line={"color": colour or LINE, "width": 2, "dash": "dot", "shape": "hv" if x.direction == "minimize" else "vh"},
        hoverinfo="skip",
    )


def _add_confirmed(figure: go.Figure, views: Sequence[StudyView], view: StudyView, x: str, y: str, colour: str) -> None:
    """Draw the confirmed accuracies of candidates with their intervals, and arrows from the search's scores to them."""
    places = list(_confirmed_places(view, x, y))
    if not places:
        return
    known = [one for one, _, _ in places]
    figure.add_scatter(
        x=[after[0] for _, _, after in places],
        y=[after[1] for _, _, after in places],
        mode="markers",
        name=f"{view.name}: {CONFIRMED.label}" if len(views) > 1 else CONFIRMED.label,
        text=[f"{one.candidate.name}, confirmed<br>{interval_of(one)}" for one in known],
        hovertemplate=f"%{{text}}<extra>{CONFIRMED.label}</extra>",
        marker={"color": colour, "symbol": CONFIRMED.symbol, "size": CONFIRMED.size},
    )
    up = [0.0 if one.high is None or one.accuracy is None else one.high - one.accuracy for one in known]
    down = [0.0 if one.low is None or one.accuracy is None else one.accuracy - one.low for one in known]
    bars = {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1, "width": 2}
    figure.data[-1]["error_x" if x == "accuracy" else "error_y"] = bars
    for _, before, after in places:
        if None not in before:
            figure.add_annotation(x=after[0], y=after[1], ax=before[0], ay=before[1], arrowcolor=colour, **ARROW)


def _confirmed_places(view: StudyView, x: str, y: str) -> Iterator[tuple["Confirmed", list[Any], list[Any]]]:
    """Yield candidates with their scores in the search and confirmed, where accuracy is one of the two objectives."""
    if view.confirmation is None or "accuracy" not in (x, y):
        return
    ours: dict[int | None, Mapping[str, float]] = {t.number: t.evaluation.scores for t in view.trials}
    for one in view.confirmation.members:
        scores = ours.get(one.candidate.number, one.candidate.scores)
        before, after = ([known.get(x), known.get(y)] for known in (scores, {**scores, "accuracy": one.accuracy}))
        if None not in after:
            yield one, before, after


def _add_marks(figure: go.Figure, views: Sequence[StudyView], x: str, y: str) -> None:
    """Draw the paper's networks: stars where both axes are counted, else lines."""
    found = marks(views, (x, y))
    if x in COUNTED and y in COUNTED:
        figure.add_scatter(
            x=[getattr(mark, x) for mark in found],
            y=[getattr(mark, y) for mark in found],
            text=[mark.name for mark in found],
            mode="markers+text",
            marker={"symbol": "star", "size": 11, "color": MARK},
            name="the paper's networks",
            textposition="top center",
            textfont_color=MARK,
        )
        return
    line = {"line_dash": "dash", "line_width": 1, "line_color": MARK, "annotation_font_color": MARK}
    for mark in found:
        text = mark.name if mark.named else None
        if x in COUNTED:
            figure.add_vline(x=getattr(mark, x), annotation_text=text, annotation_textangle=-90, **line)
        else:
            figure.add_hline(y=getattr(mark, y), annotation_text=text, **line)
