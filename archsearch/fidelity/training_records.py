"""Records of a fidelity study: a row per training, as a data frame and as a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from archsearch.errors import DataError
from archsearch.fidelity.plan import Schedule
from archsearch.trial import Evaluation, refuse_non_finite

if TYPE_CHECKING:
    from archsearch.fidelity.subjects import Subject

#: Columns that records must have. In older files ``schedule`` is called ``rung``, and there are no ``losses``.
NEEDED = ("network", "table", "schedule", "seed", "accuracy", "seconds", "top1", "macs", "params")


def record_of(subject: "Subject", schedule: Schedule, seed: int, evaluation: Evaluation) -> dict[str, Any]:
    """Return the record of a training.

    Its ``losses`` are the training loss of each epoch, with label smoothing, as ``Epoch.train_loss``.
    """
    evaluation = refuse_non_finite(evaluation)
    return {
        "network": subject.name,
        "table": subject.table,
        "schedule": schedule.name,
        "seed": seed,
        "accuracy": evaluation.scores.get("accuracy"),
        "losses": " ".join(f"{epoch.train_loss:.4f}" for epoch in evaluation.curve) or None,
        "seconds": round(sum(epoch.seconds for epoch in evaluation.curve), 2),
        "error": evaluation.error,
        "top1": subject.top1,
        "macs": subject.complexity.macs,
        "params": subject.complexity.params,
        **{f"axis.{name}": value for name, value in subject.params.items()},
    }


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
        raise DataError(f"{path} holds no table of comma-separated values") from None
    missing = [name for name in NEEDED if name not in frame]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}; name a file that `fidelity --results-file` wrote")
    numbers = ["seed", "accuracy", "seconds", "top1", "macs", "params"]
    frame[numbers] = frame[numbers].apply(pd.to_numeric, errors="coerce").replace([np.inf, -np.inf], np.nan)
    return frame
