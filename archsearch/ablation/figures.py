"""Figures of an ablation: bars with confidence intervals beside the paper's, and accuracy against throughput."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from archsearch.ablation.analysis import Report
from archsearch.ablation.notes import notes
from archsearch.ablation.outcome import Result
from archsearch.ablation.rows import paper_ratio
from archsearch.ablation.statistics import Comparison
from archsearch.ablation.tables import tables
from archsearch.ablation.variants import SPEEDS
from archsearch.utils.tables import Table

#: Okabe and Ito's colours, which differ for any colour vision; the paper's bars are hatched as well.
HERE, PAPER = "#0072b2", "#e69f00"
#: Height of a variant's bars in pixels.
BAR_HEIGHT = 34


def ablation_data(report: Report) -> dict[str, Any]:
    """Return the figures, tables and notes of an ablation as JSON-ready data for its page."""
    outcome = report.outcome
    return {
        "name": outcome.name,
        "title": outcome.title,
        "command": outcome.command,
        "figures": [json.loads(draw().to_json()) for draw in ablation_figures(report).values()],
        "tables": [_table_data(table) for table in tables(report)],
        "notes": notes(report),
        "recipe": dict(outcome.recipe),
    }


def _table_data(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "header": table.header,
        "cells": table.rows,
        "left": list(table.words),
        "grouped": table.grouped,
    }


def ablation_figures(report: Report) -> dict[str, Callable[[], go.Figure]]:
    """Return a function that draws each figure, by name."""
    figures: dict[str, Callable[[], go.Figure]] = {
        f"factor-{factor}": partial(factor_figure, report, factor) for factor in _factors(report)
    }
    tradeoff = tradeoff_figure(report)
    return figures | ({"tradeoff": lambda: tradeoff} if tradeoff else {})


def _factors(report: Report) -> list[str]:
    """Return the factors with something to draw; a combination of factors is one of them."""
    drawn = dict.fromkeys(c.result.factor for c in report.comparisons if c.result.factor)
    return [factor for factor in drawn if any(_panels(_of(report, factor)))]


def _of(report: Report, factor: str) -> list[Comparison]:
    return [c for c in report.comparisons if c.result.factor == factor]


def _panels(group: Sequence[Comparison]) -> list[str]:
    panels = ["difference"] if any(c.difference or c.paper is not None for c in group) else []
    return panels + [s for s in SPEEDS if any(c.result.speeds.get(s) or c.result.paper.get(s) for c in group)]


def factor_figure(report: Report, factor: str) -> go.Figure:
    """Draw the bars of one factor: differences in points and relative throughputs, beside the paper's.

    Args:
        report: Ablation and its statistics.
        factor: Name of the factor.
    """
    group = _of(report, factor)
    panels = _panels(group)
    base, form = group[0].result.base, report.outcome.form_of("infer")
    titles = {
        "difference": f"top-1, points to {base}",
        "train": "training images/s, ratio",
        "infer": "inference, ratio" if form == "train" else f"inference of the {form} form, ratio",
    }
    figure = make_subplots(cols=len(panels), shared_yaxes=True, subplot_titles=[titles[p] for p in panels])
    for column, panel in enumerate(panels, 1):
        traces = _differences(group) if panel == "difference" else _ratios(report, group, panel)
        for trace in (t for t in traces if any(x is not None for x in t.x)):
            trace.showlegend = trace.name not in {other.name for other in figure.data}
            figure.add_trace(trace, row=1, col=column)
        figure.add_vline(x=0 if panel == "difference" else 1, line={"color": "#59636e", "width": 1}, row=1, col=column)
        if panel != "difference":
            figure.update_xaxes(range=[0, None], row=1, col=column)
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_layout(
        title={"text": factor, "font": {"size": 15}},
        barmode="group",
        template="plotly_white",
        height=165 + BAR_HEIGHT * len(group),
        margin={"l": 20, "r": 15, "t": 70, "b": 60},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yanchor": "bottom", "yref": "container"},
    )
    return figure


def _differences(group: Sequence[Comparison]) -> list[go.Bar]:
    found = [c.difference for c in group]
    ends = [None if d is None or d.low is None or d.high is None else (d.low, d.high) for d in found]
    here = _bar([c.result for c in group], [None if d is None else d.mean for d in found], ends, "here", HERE)
    paper = _bar([c.result for c in group], [c.paper for c in group], None, "paper", PAPER)
    return [here, paper]


def _ratios(report: Report, group: Sequence[Comparison], speed: str) -> list[go.Bar]:
    results = [c.result for c in group]
    details = [result.speeds.get(speed, {}) for result in results]
    ends = [tuple(d["ratio_interval"]) if d.get("ratio_interval") else None for d in details]
    here = _bar(results, [d.get("ratio") for d in details], ends, "here", HERE)
    printed = [paper_ratio(report.outcome, result, speed) for result in results]
    return [here, _bar(results, printed, None, "paper", PAPER)]


def _bar(
    results: Sequence[Result],
    values: Sequence[float | None],
    ends: Sequence[Any] | None,
    name: str,
    colour: str,
) -> go.Bar:
    bar = go.Bar(
        y=[
            result.name if result.base == results[0].base else f"{result.name}<br>to {result.base}"
            for result in results
        ],
        x=list(values),
        orientation="h",
        name=name,
        legendgroup=name,
        marker={"color": colour, "pattern": {"shape": "/" if colour == PAPER else ""}},
        hovertemplate="%{y}: %{x:.3~f}<extra>" + name + "</extra>",
    )
    if ends and any(ends):
        up = [e[1] - v if e and v is not None else 0 for e, v in zip(ends, values, strict=True)]
        down = [v - e[0] if e and v is not None else 0 for e, v in zip(ends, values, strict=True)]
        bar.error_x = {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "color": "#1b1f24"}
    return bar


def tradeoff_figure(report: Report) -> go.Figure | None:
    """Draw accuracy against training throughput, in the paper (Figure 1) and here; None without any."""
    results = {c.result.name: c for c in report.comparisons if len(c.result.parts) < 2}
    printed = [(n, c.result.paper["train"], c.result.top1) for n, c in results.items() if c.result.paper.get("train")]
    printed = [(name, x, y) for name, x, y in printed if y is not None]
    timed = {n: c.result.speeds["train"]["throughput"] for n, c in results.items() if "train" in c.result.speeds}
    trained = {n: c.accuracy.mean for n, c in results.items() if c.accuracy and n in timed}
    own = trained or {n: c.result.top1 for n, c in results.items() if c.result.top1 is not None and n in timed}
    if not printed and not own:
        return None
    accuracy = "top-1 of the proxy (%)" if trained else "top-1 in the paper (%)"
    panels = [(printed, PAPER, "diamond", f"the paper, {report.outcome.device}", "top-1 (%)")] if printed else []
    if own:
        panels.append(([(n, timed[n], y) for n, y in own.items()], HERE, "circle", "measured here", accuracy))
    figure = make_subplots(cols=len(panels), subplot_titles=[panel[3] for panel in panels], horizontal_spacing=0.1)
    for column, (points, colour, symbol, _, axis) in enumerate(panels, 1):
        figure.add_trace(_marks(points, colour, symbol), row=1, col=column)
        figure.update_yaxes(title_text=axis, row=1, col=column)
    figure.update_xaxes(title_text="training images/s of the target")
    figure.update_layout(
        title={"text": "accuracy against training throughput", "font": {"size": 15}},
        template="plotly_white",
        height=440,
        showlegend=False,
        margin={"l": 20, "r": 15, "t": 80, "b": 50},
    )
    return figure


def _marks(points: Sequence[tuple[str, float, float | None]], colour: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=[x for _, x, _ in points],
        y=[y for _, _, y in points],
        text=[name.removeprefix("timm:") for name, _, _ in points],
        mode="markers+text",
        textposition="top center",
        textfont={"size": 11},
        marker={"color": colour, "symbol": symbol, "size": 10},
        hovertemplate="%{text}: %{x:.4~g} img/s, %{y:.2~f} %<extra></extra>",
        cliponaxis=False,
    )
