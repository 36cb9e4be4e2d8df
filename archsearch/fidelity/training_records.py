"""Records of a fidelity study: a row per training, as a data frame."""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from archsearch.errors import DataError
from archsearch.fidelity.plan import Plan, Schedule
from archsearch.rankings.known import recipe_fields
from archsearch.trial import Evaluation, refuse_non_finite

if TYPE_CHECKING:
    from archsearch.data import ImageData
    from archsearch.evaluate.machine import Machine
    from archsearch.fidelity.subjects import Subject

#: Columns that records must have. In older files ``schedule`` is called ``rung``.
NEEDED = ("network", "table", "schedule", "seed", "accuracy", "seconds", "top1", "macs", "params")
#: What to do about a file that holds none.
REMEDY = "name a file that `fidelity --results-file` wrote"
#: Columns that say how its seconds were taken: unknown of a training that was in the disk cache.
TIMED = ("threads", "workers", "date")


def facts_of(plan: Plan, schedule: Schedule, data: "ImageData", machine: "Machine") -> dict[str, Any]:
    """Return what every record of a schedule says of recipe, data and device, with those of ``TIMED``.

    Args:
        plan: Plan of the schedule.
        schedule: Schedule.
        data: Data set at its resolution.
        machine: Devices and workers.
    """
    import torch

    from archsearch.nn.device import device_name

    split, count = plan.split_of(schedule), schedule.proxy.val_samples or len(data.val)
    return {
        "judged": split,
        "images": len(data.test) if split == "test" else min(count, len(data.val)),
        "recipe": json.dumps(recipe_fields(schedule.proxy)),
        "space": plan.space.name,
        "data": data.name,
        "fingerprint": data.fingerprint,
        "device": device_name(machine.device(0)),
        "threads": machine.threads if machine.workers else torch.get_num_threads(),
        "workers": max(1, machine.workers),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def record_of(
    subject: "Subject", schedule: Schedule, seed: int, evaluation: Evaluation, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the record of a training.

    Its ``losses`` are the training loss of each epoch, with label smoothing, as ``Epoch.train_loss``; its
    ``val_losses`` the loss on the validation images after each, as ``Epoch.val_loss``.

    Args:
        subject: Architecture that was trained.
        schedule: Schedule that trained it.
        seed: Seed of the training.
        evaluation: Its results.
        facts: What ``facts_of`` knows of the schedule.
    """
    evaluation = refuse_non_finite(evaluation)
    unknown = TIMED if "accuracy" in evaluation.reused else ()
    return {
        "network": subject.name,
        "table": subject.table,
        "schedule": schedule.name,
        "seed": seed,
        "accuracy": evaluation.scores.get("accuracy"),
        "losses": _joined([epoch.train_loss for epoch in evaluation.curve]),
        "val_losses": _joined([epoch.val_loss for epoch in evaluation.curve]),
        "seconds": round(sum(epoch.seconds for epoch in evaluation.curve), 2),
        "error": evaluation.error,
        "top1": subject.top1,
        "macs": subject.complexity.macs,
        "params": subject.complexity.params,
        **{name: None if name in unknown else value for name, value in facts.items()},
        **{f"axis.{name}": value for name, value in subject.params.items()},
    }


def _joined(losses: Sequence[float | None]) -> str | None:
    """Return losses as one text; None where one is not known, as in trainings that an older version cached."""
    return None if None in losses else " ".join(f"{loss:.5f}" for loss in losses) or None


def read_records(path: Path) -> pd.DataFrame:
    """Read the records that ``fidelity --results-file`` wrote.

    Raises:
        DataError: The file cannot be read, or is no such table.
    """
    try:
        frame = pd.read_csv(path).rename(columns={"rung": "schedule"})
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, pd.errors.ParserError):
        raise DataError(f"{path} holds no table of comma-separated values; {REMEDY}") from None
    missing = [name for name in NEEDED if name not in frame]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}; {REMEDY}")
    numbers = ["seed", "accuracy", "seconds", "top1", "macs", "params"]
    frame[numbers] = frame[numbers].apply(pd.to_numeric, errors="coerce").replace([np.inf, -np.inf], np.nan)
    frame["table"] = [None if pd.isna(table) else str(table).removesuffix(".0") for table in frame["table"]]
    if "recipe" in frame:
        frame["recipe"] = frame.groupby("schedule", sort=False)["recipe"].ffill()  # as its first row has it
    return frame


def by_seed(records: pd.DataFrame, score: str = "accuracy") -> pd.DataFrame:
    """Return a score by network and seed; failed trainings are missing."""
    return records.pivot_table(index="network", columns="seed", values=score, sort=False, dropna=False)


def log_likelihood(records: pd.DataFrame) -> pd.DataFrame:
    """Return the mean log-likelihood of the validation images by network and seed, in nats; NaN where unknown."""
    known = records["val_losses"] if "val_losses" in records else pd.Series(np.nan, records.index)
    last = pd.to_numeric([str(text).rpartition(" ")[2] for text in known], errors="coerce")  # "nan" and "None": unknown
    return by_seed(records.assign(log_likelihood=-np.asarray(last, dtype=float)), "log_likelihood")
