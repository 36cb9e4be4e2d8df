"""Figures as plain functions that return ``plotly.graph_objects.Figure``, for notebooks and papers.

>>> from archsearch.report.view import read_view
>>> view = read_view("inception_dw-pareto-drawn", "runs/archsearch.db")  # doctest: +SKIP
>>> pareto_figure([view], "macs", "accuracy").show()                     # doctest: +SKIP
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from archsearch.errors import OptionError
from archsearch.objectives import OBJECTIVES, Objective
from archsearch.report.page.marks import COUNTED, near
from archsearch.report.tables import describe_params
from archsearch.report.view import StudyView, common_box, own_box, shared_objectives
from archsearch.stats.fronts import on_front
from archsearch.stats.hypervolume import hypervolume_trace


@dataclass(frozen=True)
class Look:
    """How trials of a kind are drawn: colours of Okabe and Ito, and shapes that differ too.

    Attributes:
        label: in the legend.
        colour: where there is one study; several are told apart by colour.
        symbol: in two dimensions and in three.
        size: in pixels.
        beyond: how far beyond an axis' worst value those stand that have no score, as a share of its range.
    """

    label: str
    colour: str
    symbol: str
    size: int
    beyond: float = 0.0


LOOKS = {
    "dominated": Look("dominated", "#0072b2", "circle-open", 7),
    "front": Look("on the front", "#d55e00", "diamond", 11),
    "infeasible": Look("infeasible", "#cc79a7", "square-open", 8, 0.06),
    "pruned": Look("pruned", "#009e73", "cross", 8, 0.11),
    "failed": Look("failed", "#7f7f7f", "x", 7, 0.16),
}
#: Of studies, where there are several.
PALETTE = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
LINE, MARK = "#e69f00", "#59636e"
#: Of lines that are many, by their score: legible on light and dark.
SCALE = ((0.0, "#b8c4d0"), (0.5, "#56b4e9"), (1.0, "#d55e00"))
#: Lines that a figure of curves holds at most.
MOST_CURVES = 40


def pairs(objectives: Sequence[Objective]) -> list[tuple[Objective, Objective]]:
    """Every pair of objectives as (x, y); the first objective is on the y axis where it takes part."""
    return [(second, first) for first, second in combinations(objectives, 2)]


def statuses(frame: pd.DataFrame) -> pd.Series:
    """A key of ``LOOKS`` for every trial."""
    return frame["state"].where(frame["state"] != "complete", frame["front"].map({True: "front", False: "dominated"}))


def pareto_figure(views: Sequence[StudyView], x: str, y: str) -> go.Figure:
    """Trials over two objectives, with each study's front in these two as a line.

    A trial without one of the scores (it failed, or was pruned) stands beyond the axis' worst value. Scores whose
    noise is known have their 95 % interval as error bars. Where MACs or parameters are on an axis, so are the paper's
    networks of about the trials' size.

    Args:
        views: the studies.
        x: name of the objective on the horizontal axis.
        y: on the vertical axis.
    """
    ox, oy = OBJECTIVES[x], OBJECTIVES[y]
    figure = go.Figure()
    _add_marks(figure, views, x, y)
    for view, colour in _coloured(views):
        figure.add_trace(_front_line(view, ox, oy, colour))
        for status, rows in _by_status(view):
            figure.add_trace(_points(views, rows, status, (ox, oy), _name(views, view, status), colour, go.Scatter))
    figure.update_layout(xaxis=_axis(ox), yaxis=_axis(oy), hovermode="closest", **_layout())
    return figure


def pareto_3d_figure(views: Sequence[StudyView], x: str, y: str, z: str) -> go.Figure:
    """Trials over three objectives."""
    axes = [OBJECTIVES[name] for name in (x, y, z)]
    figure = go.Figure()
    for view, colour in _coloured(views):
        for status, rows in _by_status(view):
            figure.add_trace(_points(views, rows, status, axes, _name(views, view, status), colour, go.Scatter3d))
    scene = {f"{letter}axis": _axis(axis) for letter, axis in zip("xyz", axes, strict=True)}
    figure.update_layout(scene=scene, **_layout())
    return figure


def parallel_figure(views: Sequence[StudyView]) -> go.Figure:
    """Parameters and objectives of the finished trials, a line each, coloured by the first objective."""
    objectives = shared_objectives(views)
    frame = pd.concat([view.frame[view.frame["state"] == "complete"] for view in views], ignore_index=True)
    params = [column for column in frame.columns if column.startswith("params.")]
    dimensions: list[dict[str, object]] = [
        {"label": o.noun, "values": frame[o.name].tolist(), "tickformat": o.ticks} for o in objectives
    ]
    dimensions += [_choice(frame[column], column.removeprefix("params.")) for column in params]
    first = objectives[0]
    bar = {"title": {"text": first.noun}, "tickformat": first.ticks}
    line = {"color": frame[first.name].tolist(), "colorscale": SCALE, "showscale": True, "colorbar": bar}
    figure = go.Figure(go.Parcoords(dimensions=dimensions, line=line))
    figure.update_layout(**_layout() | {"margin": {"l": 90, "r": 40, "t": 70, "b": 30}})
    return figure


def hypervolume_figure(views: Sequence[StudyView], over: str = "trials") -> go.Figure:
    """The share of the box of best and worst scores that each study's front dominates.

    Args:
        views: with the same objectives, so that one box holds them all; else each has its own.
        over: ``trials`` or ``seconds`` (of evaluating, all workers together).
    """
    box = common_box(views)
    figure = go.Figure()
    for view, colour in _coloured(views):
        counts, seconds, shares = hypervolume_trace(view.objectives, view.trials, box or own_box(view))
        x = counts if over == "trials" else seconds
        line = {"shape": "hv", "color": colour or PALETTE[1]}
        figure.add_scatter(x=x, y=shares, mode="lines", name=view.name, line=line)
    title = "trials" if over == "trials" else "seconds of evaluating, all workers together"
    figure.update_layout(
        xaxis_title=title, yaxis_title="hypervolume, share of the box", yaxis_rangemode="tozero", **_layout()
    )
    return figure


def curves_figure(view: StudyView, numbers: Sequence[int] | None = None) -> go.Figure:
    """Learning curves of the proxies.

    Args:
        view: the study.
        numbers: of the trials; by default those on the front.
    """
    wanted = set(view.frame.loc[view.frame["front"], "number"] if numbers is None else numbers)
    figure = go.Figure()
    for trial in [trial for trial in view.trials if trial.number in wanted][:MOST_CURVES]:
        epochs = [epoch.epoch for epoch in trial.evaluation.curve]
        accuracy = [epoch.accuracy for epoch in trial.evaluation.curve]
        figure.add_scatter(x=epochs, y=accuracy, mode="lines+markers", name=f"trial {trial.number}")
    accuracy_axis = _axis(OBJECTIVES["accuracy"])
    figure.update_layout(xaxis_title="epoch of the proxy", yaxis=accuracy_axis, **_layout())
    return figure


def importance_figure(view: StudyView) -> go.Figure:
    """How much of each objective's variance every axis explains, with the range over forests."""
    figure = go.Figure()
    for colour, (name, axes) in zip(PALETTE, view.importance.items(), strict=False):
        low, high = [a.share - a.low for a in axes], [a.high - a.share for a in axes]
        figure.add_bar(
            y=[axis.axis for axis in axes],
            x=[axis.share for axis in axes],
            error_x={"type": "data", "symmetric": False, "array": high, "arrayminus": low},
            orientation="h",
            name=OBJECTIVES[name].title,
            marker_color=colour,
        )
    figure.update_layout(xaxis_title="share of the variance", xaxis_tickformat=".0%", **_layout())
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def slice_figure(views: Sequence[StudyView], axis: str, objective: str) -> go.Figure:
    """An objective over the values of one axis of the space.

    Args:
        views: the studies.
        axis: name of the axis.
        objective: name of the objective.
    """
    score = OBJECTIVES[objective]
    figure = go.Figure()
    for view, colour in _coloured(views):
        column = f"params.{axis}"
        for status, rows in _by_status(view):
            rows = rows.dropna(subset=[column, objective]) if column in rows else rows.iloc[:0]
            look = LOOKS[status]
            figure.add_scatter(
                x=[_word(value) for value in rows[column]] if len(rows) else [],
                y=rows[objective].tolist() if len(rows) else [],
                mode="markers",
                name=_name(views, view, status),
                marker={"color": colour or look.colour, "symbol": look.symbol, "size": look.size},
            )
    found = {v for view in views for v in _values(view, f"params.{axis}")}
    values = dict.fromkeys(_word(v) for v in sorted(found, key=lambda v: (isinstance(v, str), v)))
    xaxis = {"title": {"text": axis}, "type": "category", "categoryorder": "array", "categoryarray": list(values)}
    figure.update_layout(xaxis=xaxis, yaxis=_axis(score), **_layout())
    return figure


def all_figures(views: Sequence[StudyView]) -> dict[str, Callable[[], go.Figure]]:
    """Every figure that can be drawn of some studies, by a name that can be a file's."""
    objectives = shared_objectives(views)
    drawn: dict[str, Callable[[], go.Figure]] = {
        f"pareto-{x.name}-{y.name}": partial(pareto_figure, views, x.name, y.name) for x, y in pairs(objectives)
    }
    for three in combinations(objectives, 3):
        names = [objective.name for objective in three]
        drawn[f"pareto3d-{'-'.join(names)}"] = partial(pareto_3d_figure, views, names[1], names[2], names[0])
    drawn["parallel"] = partial(parallel_figure, views)
    for over in ("trials", "seconds"):
        drawn[f"hypervolume-{over}"] = partial(hypervolume_figure, views, over)
    for place, view in enumerate(views, 1):
        mark = f"-{place}" if len(views) > 1 else ""
        drawn[f"curves{mark}"] = partial(curves_figure, view)
        if view.importance:
            drawn[f"importance{mark}"] = partial(importance_figure, view)
    axes = dict.fromkeys(c.removeprefix("params.") for v in views for c in v.frame.columns if c.startswith("params."))
    for axis in axes:
        for objective in objectives:
            drawn[f"slice-{axis}-{objective.name}"] = partial(slice_figure, views, axis, objective.name)
    return drawn


def write_image(figure: go.Figure, path: Path) -> None:
    """Writes a figure as the file's suffix says (svg, png, pdf).

    Raises:
        OptionError: kaleido is missing, or the browser that it draws with.
    """
    try:
        figure.write_image(path, width=900, height=600, scale=2 if path.suffix == ".png" else 1)
    except (ImportError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise OptionError(
            f"no figure can be drawn as {path.suffix[1:]} here: {reason}; "
            "pip install 'archsearch[figures]', which needs Chrome or Chromium"
        ) from None


def _coloured(views: Sequence[StudyView]) -> Iterator[tuple[StudyView, str | None]]:
    for place, view in enumerate(views):
        yield view, PALETTE[place % len(PALETTE)] if len(views) > 1 else None


def _by_status(view: StudyView) -> Iterator[tuple[str, pd.DataFrame]]:
    status = statuses(view.frame)
    for name in LOOKS:
        rows = view.frame[status == name]
        if len(rows):
            yield name, rows


def _name(views: Sequence[StudyView], view: StudyView, status: str) -> str:
    return f"{view.name}: {LOOKS[status].label}" if len(views) > 1 else LOOKS[status].label


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
    shown = "<br>".join(f"{a.title}: %{{{letter}:{a.ticks}}}" for letter, a in zip("xyz", axes, strict=False))
    trace = kind(
        mode="markers",
        name=name,
        marker={"color": colour or look.colour, "symbol": look.symbol, "size": look.size},
        customdata=rows["number"].tolist(),
        text=hover,
        hovertemplate=f"%{{text}}<br>{shown}<extra>{look.label}</extra>",
    )
    for letter, axis in zip("xyz", axes, strict=False):
        trace[letter] = _placed(views, rows, axis, look.beyond)
        if kind is go.Scatter and f"{axis.name}.low" in rows:
            trace[f"error_{letter}"] = _error(rows, axis)
    return trace


def _placed(views: Sequence[StudyView], rows: pd.DataFrame, axis: Objective, share: float) -> list[float | None]:
    """Scores; what was not finished and has none stands beyond the worst."""
    scores = rows[axis.name] if axis.name in rows else pd.Series(float("nan"), index=rows.index)
    known = pd.concat([view.frame[axis.name].dropna() for view in views if axis.name in view.frame] or [pd.Series()])
    beyond: float | None = None
    if share and len(known):
        width = (known.max() - known.min()) or abs(known.max()) or 1.0
        beyond = known.min() - share * width if axis.direction == "maximize" else known.max() + share * width
    return [beyond if pd.isna(score) else float(score) for score in scores]


def _chance(row: pd.Series) -> str:
    share = row.get("front_probability", float("nan"))
    return "" if pd.isna(share) else f"<br>on the front in {share:.0%} of the draws of its noise"


def _error(rows: pd.DataFrame, axis: Objective) -> dict[str, object]:
    up = (rows[f"{axis.name}.high"] - rows[axis.name]).fillna(0).tolist()
    down = (rows[axis.name] - rows[f"{axis.name}.low"]).fillna(0).tolist()
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1, "width": 2}


def _front_line(view: StudyView, x: Objective, y: Objective, colour: str | None) -> go.Scatter:
    """The staircase of the front in these two objectives alone."""
    done = view.frame[view.frame["state"] == "complete"].reindex(columns=[x.name, y.name])
    steps = done[on_front(done, (x, y))].sort_values(x.name)
    return go.Scatter(
        x=steps[x.name].tolist(),
        y=steps[y.name].tolist(),
        mode="lines",
        name="front of this pair",
        showlegend=colour is None,
        line={"color": colour or LINE, "width": 2, "dash": "dot", "shape": "hv" if x.direction == "minimize" else "vh"},
        hoverinfo="skip",
    )


def _add_marks(figure: go.Figure, views: Sequence[StudyView], x: str, y: str) -> None:
    ranges = {}
    for name in {x, y} & set(COUNTED):
        known = pd.concat([view.frame[name].dropna() for view in views if name in view.frame] or [pd.Series()])
        if len(known):
            ranges[name] = (float(known.min()), float(known.max()))
    marks = near(ranges, [trial.arch.img_size for view in views for trial in view.trials]) if ranges else []
    if len(ranges) == 2:
        at = {"x": [getattr(mark, x) for mark in marks], "y": [getattr(mark, y) for mark in marks]}
        star = {"symbol": "star", "size": 11, "color": MARK}
        figure.add_scatter(
            **at, text=[m.name for m in marks], mode="markers+text", marker=star, name="the paper's networks",
            textposition="top center", textfont_color=MARK,
        )  # fmt: skip
        return
    line = {"line_dash": "dash", "line_width": 1, "line_color": MARK, "annotation_font_color": MARK}
    for mark in marks:
        if x in ranges:
            figure.add_vline(x=getattr(mark, x), annotation_text=mark.name, annotation_textangle=-90, **line)
        else:
            figure.add_hline(y=getattr(mark, y), annotation_text=mark.name, **line)


def _axis(objective: Objective) -> dict[str, object]:
    better = "more" if objective.direction == "maximize" else "less"
    return {"title": {"text": f"{objective.axis}, {better} is better"}, "tickformat": objective.ticks}


def _choice(values: pd.Series, label: str) -> dict[str, object]:
    """A parameter as a dimension: its distinct values, evenly spaced; ``-`` where an architecture does not have it."""
    present = sorted(values.dropna().unique().tolist(), key=lambda v: (isinstance(v, str), v))
    ticks = (["-"] if values.isna().any() else []) + [_word(v) for v in present]
    place = {value: i + len(ticks) - len(present) for i, value in enumerate(present)}
    return {
        "label": label,
        "values": [0 if pd.isna(value) else place[value] for value in values],
        "tickvals": list(range(len(ticks))),
        "ticktext": ticks,
    }


def _values(view: StudyView, column: str) -> list[object]:
    return view.frame[column].dropna().unique().tolist() if column in view.frame else []


def _word(value: object) -> str:
    """A value of a parameter; whole numbers are floats where other trials lack the parameter."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _layout() -> dict[str, object]:
    return {
        "margin": {"l": 60, "r": 15, "t": 35, "b": 50},
        "legend": {"orientation": "h", "y": -0.18, "yanchor": "top"},
        "template": "plotly_white",
    }
