"""Costs of operators by kernel size, as Table 2 and Figure 3 of the paper."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from archsearch.utils.tables import Document, Table

if TYPE_CHECKING:
    from archsearch.complexity.operators import KernelCost

#: Operators of Figure 3, with Okabe and Ito's colours and a symbol of their own.
DRAWN = {"depthwise": ("#0072b2", "circle"), "inception": ("#d55e00", "diamond")}


def kernels_title(dim: int, side: int) -> str:
    """Return the title of the table and the figure."""
    return f"operators of {dim} channels on a map of {side} x {side}, one image, without biases; bytes in float32"


def kernels_table(costs: Sequence["KernelCost"], title: str) -> Document:
    """Return the costs as a table under a title."""
    cells = [(c.operator, c.kernel_size, f"{c.weights:,}", f"{c.macs:,}", f"{c.bytes_moved:,}") for c in costs]
    table = Table(["operator", "kernel", "weights", "MACs", "bytes moved"], cells, title=title)
    return Document([table], [asdict(cost) for cost in costs], bare=True)


def kernel_figure(costs: Sequence["KernelCost"], title: str) -> go.Figure:
    """Plot weights and MACs over the kernel size: quadratic for depthwise, linear for Inception depthwise."""
    figure = make_subplots(cols=2, subplot_titles=("weights", "MACs"), horizontal_spacing=0.12)
    for column, quantity in enumerate(("weights", "macs"), 1):
        for operator, (colour, symbol) in DRAWN.items():
            rows = [cost for cost in costs if cost.operator == operator]
            figure.add_trace(
                go.Scatter(
                    x=[cost.kernel_size for cost in rows],
                    y=[getattr(cost, quantity) for cost in rows],
                    name=f"{operator} convolution" if operator == "depthwise" else "Inception depthwise convolution",
                    mode="lines+markers",
                    line={"color": colour},
                    marker={"symbol": symbol, "size": 8},
                    showlegend=column == 1,
                ),
                row=1,
                col=column,
            )
        figure.update_yaxes(rangemode="tozero", exponentformat="SI", row=1, col=column)
    figure.update_xaxes(title_text="kernel size", dtick=4, tick0=3)
    figure.update_layout(
        template="plotly_white", legend={"orientation": "h", "y": -0.2}, title={"text": title, "font": {"size": 14}}
    )
    return figure


def figure_html(figure: go.Figure) -> str:
    """Return an HTML page that needs no network connection."""
    return str(figure.to_html(include_plotlyjs=True, full_html=True))
