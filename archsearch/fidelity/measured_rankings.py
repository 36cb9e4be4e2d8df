"""What records of a fidelity study say of recipes' rankings, for studies to tell."""

import json
from typing import Any

import numpy as np
import pandas as pd

from archsearch.fidelity.training_records import by_seed
from archsearch.fidelity.verdicts import FidelityReport, ScoreLine
from archsearch.rankings.known import Interval, Ranking, keep, kept_folder
from archsearch.rankings.words import title_of
from archsearch.recipes import ProxyRecipe
from archsearch.stats.agreement import Estimate
from archsearch.utils.disk_cache import digest


def rankings_of(records: pd.DataFrame, name: str, title: str | None = None) -> list[Ranking]:
    """Return the rankings of the schedules whose recipe is on record.

    Args:
        records: Records, as ``read_records`` returns them.
        name: Name of their file.
        title: Data set in words; None for that of its name.

    Raises:
        DataError: Too few architectures finished the reference.
    """
    if "recipe" not in records:
        return []
    report, own = FidelityReport.of(records), records[records["table"].isna()]
    found = []
    for line in report.lines:
        rows = own[own["schedule"] == line.name]
        recipe = _recipe(_first(rows, "recipe"))
        if line.trainings == 1 and recipe is not None:
            found.append(_ranking(line, rows, recipe, report, name, title))
    return found


def _recipe(text: Any) -> dict[str, Any] | None:
    """The recipe of a record; None where it is none, which would count as one of the first release."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, dict) and set(ProxyRecipe.FIRST) <= found.keys() else None


def _ranking(
    line: ScoreLine, rows: pd.DataFrame, recipe: dict[str, Any], report: FidelityReport, name: str, title: str | None
) -> Ranking:
    facts, agreement = {column: _first(rows, column) for column in rows.columns}, line.agreement
    known = line.machine_seconds is not None and np.isfinite(line.machine_seconds)
    seeds = "1 seed" if report.reference_seeds == 1 else f"{report.reference_seeds} seeds"
    return Ranking(
        recipe=recipe,
        space=facts.get("space", ""),
        data=facts.get("data", ""),
        fingerprint=facts.get("fingerprint", ""),
        title=title or title_of(facts.get("data", "")),
        device=facts.get("device", ""),
        date=facts.get("date", ""),
        archs=line.archs,
        tau=_ends(agreement.tau),
        within=_ends(agreement.within),
        regret=_ends(agreement.regret),
        noise=seed_noise(rows),
        reference=f"{seeds}, judged on {report.truth}, {report.reference_seconds:.0f} s each",
        seconds=round(float(line.seconds or 0), 2),
        machine_seconds=round(float(line.machine_seconds or 0), 2) if known else None,
        records=name,
    )


def _first(rows: pd.DataFrame, column: str) -> Any:
    """The first value of a column that is on record; an empty text without any."""
    known = rows[column].dropna()
    return known.iloc[0] if len(known) else ""


def _ends(estimate: Estimate) -> Interval:
    value, low, high = (round(float(end), 4) for end in (estimate.value, estimate.low, estimate.high))
    return value, low, high


def seed_noise(rows: pd.DataFrame) -> float | None:
    """Return the standard deviation of one training's accuracy between seeds, pooled over architectures.

    Args:
        rows: Records of one schedule.

    Returns:
        A fraction; None with a single seed.
    """
    accuracy = by_seed(rows).dropna()
    if accuracy.shape[1] < 2:
        return None
    return round(float(np.sqrt(accuracy.var(axis=1, ddof=1).mean())), 5)


def make_known(records: pd.DataFrame, name: str) -> int:
    """Keep what records say of recipes' rankings in the cache of this machine, where studies find it.

    What was known of the same recipe, space and images is replaced.

    Args:
        records: Records, as ``read_records`` returns them.
        name: Name of their file.

    Returns:
        Number of recipes.

    Raises:
        DataError: Too few architectures finished the reference.
        OSError: The cache cannot be written.
    """
    found = rankings_of(records, name)
    for one in found:
        what = {"recipe": one.recipe, "space": one.space, "data": one.data, "fingerprint": one.fingerprint}
        keep([one], kept_folder(), digest(what))
    return len(found)
