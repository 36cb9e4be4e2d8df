"""A front as text: for the terminal, CSV, JSON, Markdown."""

import json
from collections.abc import Callable
from typing import Any

import pandas as pd

from archsearch.objectives import Objective
from archsearch.utils.tables import markdown_table, terminal_table


def shown(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> pd.DataFrame:
    """The columns that people read, under their labels and in their display units."""
    columns: dict[str, Any] = {"trial": frame["number"]}
    for objective in objectives:
        scaled = frame[objective.name] * objective.scale
        columns[objective.label] = [f"{v:.{objective.precision}f}" if pd.notna(v) else "-" for v in scaled]
    if "front_probability" in frame:
        shares = frame["front_probability"]
        columns["P(front) (%)"] = [f"{100 * share:.0f}" if pd.notna(share) else "-" for share in shares]
    columns["architecture"] = [describe_params(row) for _, row in frame.iterrows()]
    return pd.DataFrame(columns)


def describe_params(row: pd.Series) -> str:
    """The parameters of a row, the mixer first.

    >>> describe_params(pd.Series({"params.token_mixer": "depthwise", "params.kernel_size": 5.0}))
    'depthwise, kernel_size 5'
    """
    parts = {str(k).removeprefix("params."): v for k, v in row.items() if str(k).startswith("params.")}
    words = [f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in parts.items() if not pd.isna(v)]
    return ", ".join(words).removeprefix("token_mixer ")


def as_table(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> str:
    """For the terminal, folded to its width; in a pipe, a line per row."""
    text = shown(frame, objectives)
    return terminal_table(list(text.columns), text.to_numpy().tolist(), left=(len(text.columns) - 1,))


def as_markdown(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> str:
    """A Markdown table in display units."""
    text = shown(frame, objectives)
    return markdown_table(list(text.columns), text.to_numpy().tolist(), left=(len(text.columns) - 1,))


def as_csv(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> str:
    """All columns, in the units of the record."""
    return frame.to_csv(index=False).rstrip("\n")


def as_json(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> str:
    """A list of objects with all columns, in the units of the record; missing values are null."""
    return json.dumps(json.loads(frame.to_json(orient="records", double_precision=15)), indent=1)


#: Output formats by name.
FORMATS: dict[str, Callable[[pd.DataFrame, tuple[Objective, ...]], str]] = {
    "table": as_table,
    "csv": as_csv,
    "json": as_json,
    "markdown": as_markdown,
}
