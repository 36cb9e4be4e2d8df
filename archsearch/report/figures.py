"""Figures of studies for notebooks and papers: functions that return ``plotly.graph_objects.Figure``.

>>> from archsearch.report.view import read_view
>>> view = read_view("inception_dw-pareto-drawn", "runs/archsearch.db")  # doctest: +SKIP
>>> pareto_figure([view], "macs", "accuracy").show()                     # doctest: +SKIP
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from archsearch.errors import OptionError, first_line
from archsearch.objectives import OBJECTIVES, Objective
from archsearch.report.figure_parts import by_status, coloured, layout, legend_name, score_axis
from archsearch.report.front_figures import pareto_3d_figure, pareto_figure
from archsearch.report.looks import LOOKS, PALETTE, SCALE
from archsearch.report.view import StudyView, common_box, named_objective, own_box, shared_objectives
from archsearch.stats.hypervolume import hypervolume_trace

#: Maximum number of lines in a figure of curves.
MOST_CURVES = 40


def pairs(objectives: Sequence[Objective]) -> list[tuple[Objective, Objective]]:
    """Return every pair of objectives as (x, y); the first objective is on the y axis where it takes part."""
    return [(second, first) for first, second in combinations(objectives, 2)]


def parallel_figure(views: Sequence[StudyView]) -> go.Figure:
    """Plot parameters and objectives of the complete trials, one line each, coloured by the first objective."""
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
    figure.update_layout(**layout() | {"margin": {"l": 90, "r": 40, "t": 70, "b": 30}})
    return figure


def hypervolume_figure(views: Sequence[StudyView], over: str = "trials") -> go.Figure:
    """Plot the share of the box of best and worst scores that each study's front dominates.

    Args:
        views: Studies to show; with the same objectives they share one box, otherwise each has its own.
        over: ``trials`` or ``seconds`` (of evaluating, all workers together).
    """
    box = common_box(views)
    figure = go.Figure()
    for view, colour in coloured(views):
        counts, seconds, shares = hypervolume_trace(view.objectives, view.trials, box or own_box(view))
        x = counts if over == "trials" else seconds
        line = {"shape": "hv", "color": colour or PALETTE[1]}
        figure.add_scatter(x=x, y=shares, mode="lines", name=view.name, line=line)
    title = "trials" if over == "trials" else "seconds of evaluation, all workers together"
    figure.update_layout(
        xaxis_title=title,
        yaxis_title="hypervolume, share of the box of best and worst scores",
        yaxis_rangemode="tozero",
        **layout(),
    )
    return figure


def curves_figure(view: StudyView, numbers: Sequence[int] | None = None) -> go.Figure:
    """Plot learning curves of the proxy networks.

    Args:
        view: Study to show.
        numbers: Numbers of the trials; by default those on the front.
    """
    wanted = set(view.frame.loc[view.frame["front"], "number"] if numbers is None else numbers)
    figure = go.Figure()
    for trial in [trial for trial in view.trials if trial.number in wanted][:MOST_CURVES]:
        epochs = [epoch.epoch for epoch in trial.evaluation.curve]
        accuracy = [epoch.accuracy for epoch in trial.evaluation.curve]
        figure.add_scatter(x=epochs, y=accuracy, mode="lines+markers", name=f"trial {trial.number}")
    accuracy_axis = score_axis([view], OBJECTIVES["accuracy"])
    figure.update_layout(xaxis_title="epoch of the proxy network", yaxis=accuracy_axis, **layout())
    return figure


def importance_figure(view: StudyView) -> go.Figure:
    """Plot the share of each objective's variance that every axis explains, with the range over forests."""
    figure = go.Figure()
    for colour, (name, axes) in zip(PALETTE, view.importance.items(), strict=False):
        low, high = [a.share - a.low for a in axes], [a.high - a.share for a in axes]
        figure.add_bar(
            y=[axis.axis for axis in axes],
            x=[axis.share for axis in axes],
            error_x={"type": "data", "symmetric": False, "array": high, "arrayminus": low},
            orientation="h",
            name=named_objective([view], name).title,
            marker_color=colour,
        )
    figure.update_layout(xaxis_title="share of the variance", xaxis_tickformat=".0%", **layout())
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def slice_figure(views: Sequence[StudyView], axis: str, objective: str) -> go.Figure:
    """Plot an objective over the values of one axis of the space.

    Args:
        views: Studies to show.
        axis: Name of the axis.
        objective: Name of the objective.
    """
    score = named_objective(views, objective)
    figure = go.Figure()
    for view, colour in coloured(views):
        column = f"params.{axis}"
        for status, rows in by_status(view):
            rows = rows.dropna(subset=[column, objective]) if column in rows else rows.iloc[:0]
            look = LOOKS[status]
            figure.add_scatter(
                x=[_word(value) for value in rows[column]] if len(rows) else [],
                y=rows[objective].tolist() if len(rows) else [],
                mode="markers",
                name=legend_name(views, view, status),
                marker={"color": colour or look.colour, "symbol": look.symbol, "size": look.size},
            )
    found = {v for view in views for v in _values(view, f"params.{axis}")}
    values = dict.fromkeys(_word(v) for v in sorted(found, key=lambda v: (isinstance(v, str), v)))
    xaxis = {"title": {"text": axis}, "type": "category", "categoryorder": "array", "categoryarray": list(values)}
    figure.update_layout(xaxis=xaxis, yaxis=score_axis(views, score), **layout())
    return figure


def all_figures(views: Sequence[StudyView]) -> dict[str, Callable[[], go.Figure]]:
    """Return functions that draw every figure of some studies, by a name that is valid as a file name."""
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
    """Write a figure in the format of the file's suffix (svg, png, pdf).

    Raises:
        OptionError: kaleido or its browser is missing.
    """
    try:
        figure.write_image(path, width=900, height=600, scale=2 if path.suffix == ".png" else 1)
    except (ImportError, ValueError, RuntimeError) as error:
        raise OptionError(
            f"no figure can be drawn as {path.suffix[1:]} here: {first_line(error)}; "
            "pip install 'archsearch[figures]', which needs Chrome or Chromium"
        ) from None


def _choice(values: pd.Series, label: str) -> dict[str, object]:
    """Return a parameter as a dimension: its distinct values, evenly spaced; ``-`` where a trial lacks it."""
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
    """Return a parameter's value as text; whole numbers are floats where other trials lack the parameter."""
    return f"{value:g}" if isinstance(value, float) else str(value)
