"""A front, or all trials of a study, as a table."""

import json
from typing import Any

import pandas as pd

from archsearch.objectives import Objective
from archsearch.utils.tables import Document, Table


def shown(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> pd.DataFrame:
    """Return the columns that people read, under their labels and in display units."""
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
    """Return the parameters of a row in words, the mixer first.

    >>> describe_params(pd.Series({"params.token_mixer": "depthwise", "params.kernel_size": 5.0}))
    'depthwise, kernel_size 5'
    """
    parts = {str(k).removeprefix("params."): v for k, v in row.items() if str(k).startswith("params.")}
    words = [f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in parts.items() if not pd.isna(v)]
    return ", ".join(words).removeprefix("token_mixer ")


def trials_table(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> Document:
    """Return trials in display units for people; all columns in the units of the record for CSV and JSON.

    Args:
        frame: Rows of ``archsearch.report.frame.trials_frame``.
        objectives: Objectives of the study.
    """
    text = shown(frame, objectives)
    table = Table(list(text.columns), text.to_numpy().tolist(), words=(len(text.columns) - 1,))
    columns = [str(name) for name in frame.columns]
    cells = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    records = [dict(zip(columns, row, strict=True)) for row in cells]
    data = json.loads(frame.to_json(orient="records", double_precision=15))
    return Document([table], records, columns=columns, data=data)
