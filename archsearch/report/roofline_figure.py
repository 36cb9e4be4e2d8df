"""Roofline of a network: the speed of its parts beside what the device allows, as a table and as a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from archsearch.utils.tables import Document, Table, render

#: Okabe and Ito's colours, which differ for any colour vision.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
#: Symbols of stages and of their parts.
SYMBOLS = ("circle", "diamond")


@dataclass(frozen=True)
class Point:
    """One part of a network.

    Attributes:
        level: Depth in the tree, from 0.
        name: Name of the part.
        ms: Milliseconds per step.
        share: Share of the step's time.
        gflops: Speed in billion FLOPs per second (a multiply-add is two).
        gbytes: Speed in billion bytes per second.
        intensity: FLOPs per byte.
        bound: The roof above it, ``compute`` or ``memory``.
        reached: Share of the speed that this roof allows.
    """

    level: int
    name: str
    ms: float
    share: float
    gflops: float
    gbytes: float
    intensity: float
    bound: str
    reached: float


def points(view: dict[str, Any]) -> list[Point]:
    """Return the parts of ``archsearch.benchmark.roofline.view`` that take time."""
    roofs, parts = view["roofs"], [part for part in view["parts"] if part["seconds"] > 0]
    total = sum(part["seconds"] for part in parts if part["level"] == 0)
    told = []
    for part in parts:
        seconds, flops, moved = part["seconds"], part["flops"], part["bytes_moved"]
        compute, memory = flops / roofs["flops_per_s"], moved / roofs["bytes_per_s"]
        told.append(
            Point(
                level=part["level"],
                name=part["name"],
                ms=seconds * 1e3,
                share=seconds / total,
                gflops=flops / seconds / 1e9,
                gbytes=moved / seconds / 1e9,
                intensity=flops / moved if moved else 0.0,
                bound="compute" if compute > memory else "memory",
                reached=max(compute, memory) / seconds,
            )
        )
    return told


def roofline_table(name: str, view: dict[str, Any]) -> str:
    """Return a table for the terminal: the time of each part, and how near it comes to the device's best."""
    if "error" in view:
        return f"{name}: no roofline: {view['error']}"
    roofs = view["roofs"]
    header = ["part", "ms", "share", "GFLOP/s", "GB/s", "FLOP/byte", "below the roof of", "reached"]
    cells = [
        [
            "  " * p.level + p.name,
            f"{p.ms:.2f}",
            f"{p.share:.1%}",
            f"{p.gflops:.1f}",
            f"{p.gbytes:.1f}",
            f"{p.intensity:.1f}",
            p.bound,
            f"{p.reached:.0%}",
        ]
        for p in points(view)
    ]
    title = (
        f"{name}: a forward pass by its parts, beside a large matrix product "
        f"({roofs['flops_per_s'] / 1e9:.0f} GFLOP/s) and a large copy "
        f"({roofs['bytes_per_s'] / 1e9:.1f} GB/s) on this device"
    )
    return render(Document([Table(header, cells, words=(0, 6), title=title)], []), "table")


def roofline_figure(views: Sequence[tuple[str, dict[str, Any]]]) -> go.Figure:
    """Plot speed against intensity on logarithmic axes below the measured roofs, one colour per network.

    Args:
        views: At least one network's name and its ``archsearch.benchmark.roofline.view``, of one device.
    """
    figure = go.Figure()
    told = {name: [point for point in points(view) if point.gflops > 0] for name, view in views}
    for number, (name, shown) in enumerate(told.items()):
        figure.add_scatter(
            x=[p.intensity for p in shown],
            y=[p.gflops for p in shown],
            name=name,
            mode="markers",
            marker={
                "color": COLOURS[number % len(COLOURS)],
                "size": [6 + 40 * p.share**0.5 for p in shown],
                "symbol": [SYMBOLS[min(p.level, 1)] for p in shown],
                "opacity": 0.7,
            },
            text=[f"{p.name}: {p.ms:.2f} ms, {p.share:.1%} of the step, {p.reached:.0%} of its roof" for p in shown],
            hovertemplate="%{text}<br>%{x:.1f} FLOP/byte, %{y:.1f} GFLOP/s<extra>%{fullData.name}</extra>",
        )
    intensities = [p.intensity for shown in told.values() for p in shown]
    figure.add_trace(_roofs(views[0][1]["roofs"], min(intensities) / 3, max(intensities) * 3))
    figure.update_xaxes(type="log", dtick=1, title="FLOP per byte moved")
    figure.update_yaxes(type="log", dtick=1, title="GFLOP/s reached")
    title = "Forward pass by parts: circles are stages, diamonds what they are made of, area their share of the time"
    return figure.update_layout(template="plotly_white", title={"text": title, "font": {"size": 14}})


def _roofs(roofs: dict[str, float], low: float, high: float) -> go.Scatter:
    flops, rate = roofs["flops_per_s"] / 1e9, roofs["bytes_per_s"] / 1e9
    ridge = flops / rate
    left, right = min(low, ridge), max(high, ridge)
    return go.Scatter(
        x=[left, ridge, right],
        y=[left * rate, flops, flops],
        name="measured roofs",
        mode="lines",
        line={"color": "black"},
        hoverinfo="skip",
    )
