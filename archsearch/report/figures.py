"""Figures as plain functions that return ``plotly.graph_objects.Figure``."""

from itertools import combinations

import pandas as pd
import plotly.graph_objects as go

from archsearch.analysis.fronts import on_front
from archsearch.objectives import Objective
from archsearch.report.tables import describe_params

#: Okabe and Ito's colours, told apart with any colour vision; shapes differ too.
FRONT, PAIR_FRONT, OTHER = "#d55e00", "#e69f00", "#0072b2"


def pairs(objectives: tuple[Objective, ...]) -> list[tuple[Objective, Objective]]:
    """Every pair of objectives as (x, y); the first objective is on the y axis where it takes part."""
    return [(second, first) for first, second in combinations(objectives, 2)]


def pareto_figure(frame: pd.DataFrame, x: Objective, y: Objective) -> go.Figure:
    """Trials over two objectives: the front's members, the step line of this pair's front, and the rest.

    Args:
        frame: of ``trials_frame``.
        x: on the horizontal axis.
        y: on the vertical axis.
    """
    done = frame[frame["state"] == "complete"]
    figure = go.Figure()
    figure.add_trace(_front_line(done, x, y))
    for rows, name, colour, symbol, size in (
        (done[~done["front"]], "dominated", OTHER, "circle-open", 8),
        (done[done["front"]], "on the front", FRONT, "diamond", 11),
    ):
        figure.add_trace(_points(rows, x, y, name, colour, symbol, size))
    figure.update_layout(
        xaxis_title=_axis_title(x),
        yaxis_title=_axis_title(y),
        hovermode="closest",
        margin={"l": 60, "r": 15, "t": 35, "b": 50},
        legend={"orientation": "h", "y": -0.18, "yanchor": "top"},
        template="plotly_white",
    )
    return figure


def _axis_title(objective: Objective) -> str:
    return f"{objective.label}, {'more' if objective.direction == 'maximize' else 'less'} is better"


def _front_line(done: pd.DataFrame, x: Objective, y: Objective) -> go.Scatter:
    """The staircase of the front in these two objectives alone."""
    steps = done[on_front(done, (x, y))].sort_values(x.name)
    shape = "hv" if x.direction == "minimize" else "vh"
    return go.Scatter(
        x=(steps[x.name] * x.scale).tolist(),
        y=(steps[y.name] * y.scale).tolist(),
        mode="lines",
        name="front of this pair",
        line={"color": PAIR_FRONT, "width": 2, "dash": "dot", "shape": shape},
        hoverinfo="skip",
    )


def _points(
    rows: pd.DataFrame, x: Objective, y: Objective, name: str, colour: str, symbol: str, size: int
) -> go.Scatter:
    hover = [f"trial {row['number']}<br>{describe_params(row)}" for _, row in rows.iterrows()]
    return go.Scatter(
        x=(rows[x.name] * x.scale).tolist(),
        y=(rows[y.name] * y.scale).tolist(),
        mode="markers",
        name=name,
        marker={"color": colour, "symbol": symbol, "size": size, "line": {"width": 1.5, "color": colour}},
        customdata=rows["number"].tolist(),
        text=hover,
        hovertemplate=f"%{{text}}<br>{x.label}: %{{x:.4~g}}<br>{y.label}: %{{y:.4~g}}<extra></extra>",
    )
