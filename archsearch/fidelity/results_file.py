"""The file of a fidelity study's records: its text, and records added to those that it holds."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from archsearch.errors import DataError
from archsearch.fidelity.training_records import TIMED

#: Columns that name a training.
TRAINING = ("network", "schedule", "seed")
#: Columns of whole numbers that some rows may lack.
COUNTS = ("seed", "images", "threads", "workers")
#: Columns that records of one schedule have to share, in words.
SHARED = {
    "recipe": "another recipe",
    "judged": "other images to judge by",
    "space": "another space",
    "data": "another data set",
    "fingerprint": "other images",
}


def records_text(records: pd.DataFrame) -> str:
    """Return records as CSV; a schedule's recipe, which is long, stands in its first row alone.

    Counts and values of axes stay whole numbers where other rows have none: pandas makes them fractions.
    """
    shown = records.copy()
    if "recipe" in shown:
        before = records.groupby("schedule", sort=False)["recipe"].shift()
        shown["recipe"] = records["recipe"].where(records["recipe"] != before)
    for name in (name for name in shown if name in COUNTS or str(name).startswith("axis.")):
        values = [int(value) if isinstance(value, float) and value.is_integer() else value for value in shown[name]]
        shown[name] = pd.Series(values, shown.index, dtype=object)
    return str(shown.to_csv(index=False))


def check_mergeable(old: pd.DataFrame, facts: Mapping[str, Mapping[str, Any]], name: str) -> None:
    """Make sure that records of other trainings may stand beside those of a file.

    Args:
        old: Records of the file.
        facts: What the new ones say of recipe, data and device, by schedule.
        name: Name of the file, for the message.

    Raises:
        DataError: A schedule of the same name was another one there, or trained on other data.
    """
    for schedule, new in facts.items():
        there = old[old["schedule"] == schedule]
        for column, words in SHARED.items():
            known = set(there[column].dropna()) if column in there else set()
            if known - {new[column]}:
                raise DataError(f"{name}: {schedule!r} has {words} there; name another --results-file, or schedule")
        if len(there) and "judged" not in there and new["judged"] == "test":
            raise DataError(
                f"{name}: {schedule!r} was judged on validation images there; name another --results-file, or give "
                "the plan's reference `judged: val`"
            )


def merged(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return the records of a file and new ones, which replace those of the same training.

    Where a new one was in the disk cache, how the old one was timed stays known.
    """
    rows = {_training(row): row for row in old.to_dict("records")}
    for row in new.to_dict("records"):
        before = rows.get(_training(row), {})
        kept = {name: before[name] for name in TIMED if name in before and pd.isna(row.get(name))}
        rows[_training(row)] = row | kept
    return pd.DataFrame(list(rows.values()))


def _training(row: Mapping[Any, Any]) -> tuple[str, ...]:
    return tuple(f"{row[name]:g}" if name == "seed" else str(row[name]) for name in TRAINING)
