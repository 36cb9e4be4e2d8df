"""A front, or all trials of a study, as a table."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from archsearch.objectives import Objective
from archsearch.utils.tables import Document, Table

#: Names of the fronts that a trial is on: that of observed scores, that of smoothed ones.
FRONTS = {(True, True): "both", (True, False): "observed", (False, True): "smoothed", (False, False): "-"}


def shown(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> pd.DataFrame:
    """Return the columns that people read, under their labels and in display units."""
    columns: dict[str, Any] = {"trial": frame["number"]}
    for objective in objectives:
        columns[objective.label] = _numbers(frame[objective.name] * objective.scale, objective.precision)
        if f"{objective.name}.smoothed" in frame:
            smoothed = frame[f"{objective.name}.smoothed"] * objective.scale
            columns[f"smoothed {objective.label}"] = _numbers(smoothed, objective.precision)
    if "front_smoothed" in frame:
        marks = zip(frame["front"], frame["front_smoothed"], strict=True)
        columns["front"] = [FRONTS[bool(observed), bool(smoothed)] for observed, smoothed in marks]
    if "front_probability" in frame:
        columns["P(front) (%)"] = _numbers(100 * frame["front_probability"], 0)
    columns["architecture"] = [describe_params(row) for _, row in frame.iterrows()]
    return pd.DataFrame(columns)


def _numbers(values: pd.Series, precision: int) -> list[str]:
    return [f"{value:.{precision}f}" if pd.notna(value) else "-" for value in values]


def describe_params(row: pd.Series) -> str:
    """Return the parameters of a row in words, the mixer first.

    >>> describe_params(pd.Series({"params.token_mixer": "depthwise", "params.kernel_size": 5.0}))
    'depthwise, kernel_size 5'
    """
    parts = {str(k).removeprefix("params."): v for k, v in row.items() if str(k).startswith("params.")}
    words = [f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in parts.items() if not pd.isna(v)]
    return ", ".join(words).removeprefix("token_mixer ")


def trials_table(frame: pd.DataFrame, objectives: tuple[Objective, ...], chance_words: str = "") -> Document:
    """Return trials in display units for people; all columns in the units of the record for CSV and JSON.

    Args:
        frame: Rows of ``archsearch.report.frame.trials_frame``.
        objectives: Objectives of the study.
        chance_words: What P(front) is, for people.
    """
    text = shown(frame, objectives)
    notes = [f"P(front) is {chance_words}."] if chance_words else []
    table = Table(list(text.columns), text.to_numpy().tolist(), words=_words(text), notes=notes)
    columns = [str(name) for name in frame.columns]
    cells = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    records = [dict(zip(columns, row, strict=True)) for row in cells]
    data = json.loads(frame.to_json(orient="records", double_precision=15))
    return Document([table], records, columns=columns, data=data, bare=True)


def with_notes(document: Document, notes: Sequence[str]) -> Document:
    """Return a document with more notes under its first table, for people alone."""
    first, *others = document.tables
    return replace(document, tables=[replace(first, notes=[*first.notes, *notes]), *others])


def _words(text: pd.DataFrame) -> tuple[int, ...]:
    return tuple(place for place, name in enumerate(text.columns) if name in ("front", "architecture"))
