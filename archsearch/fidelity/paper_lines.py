"""Schedules against the top-1 that the paper prints."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from archsearch.fidelity.training_records import by_seed
from archsearch.stats.agreement import agreement, retest

#: Fewest rows of one of the paper's tables that are compared with it.
FEWEST_ROWS = 3


@dataclass(frozen=True)
class PaperLine:
    """A schedule against a table of the paper.

    Attributes:
        schedule: Name of the schedule.
        table: Number of the table.
        rows: Number of its rows that were trained.
        tau: Kendall's tau between the mean proxy accuracy and the printed top-1.
        low: Lower end of its bootstrap interval over rows.
        high: Upper end.
        retest: Kendall's tau between the schedule's own seeds; NaN with a single seed.
        order: Networks, best proxy first, with the top-1 of the proxy and of the paper in percent.
    """

    schedule: str
    table: str
    rows: int
    tau: float
    low: float
    high: float
    retest: float
    order: tuple[tuple[str, float, float], ...]


def paper_lines(records: pd.DataFrame) -> list[PaperLine]:
    """Compare the schedules that trained rows of the paper's tables with the top-1 that it prints."""
    groups = records.groupby(["schedule", "table"], sort=False)
    lines = (_paper_line(str(schedule), str(table), group) for (schedule, table), group in groups)
    return [line for line in lines if line is not None]


def _paper_line(schedule: str, table: str, group: pd.DataFrame) -> PaperLine | None:
    """Compare a schedule with a table of the paper; None where too few rows finished."""
    accuracy = by_seed(group).dropna()
    if len(accuracy) < FEWEST_ROWS:
        return None
    top1 = group.drop_duplicates("network").set_index("network")["top1"].loc[accuracy.index].to_numpy(float)
    mean = accuracy.to_numpy().mean(axis=1)
    found = agreement(mean, top1, np.arange(len(mean)), bins=1)
    order = sorted(zip(accuracy.index, mean * 100, top1, strict=True), key=lambda row: -row[1])
    return PaperLine(
        schedule=schedule,
        table=table,
        rows=len(mean),
        tau=found.tau.value,
        low=found.tau.low,
        high=found.tau.high,
        retest=retest(accuracy.to_numpy().T),
        order=tuple((str(name), float(ours), float(printed)) for name, ours, printed in order),
    )
