"""``study --repeat``: one trial of a study evaluated again, beside what is on record."""

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from archsearch.cli.engine_options import work_of
from archsearch.errors import ArchsearchError, OptionError

if TYPE_CHECKING:
    from archsearch.data import ImageData
    from archsearch.search.definition import Study
    from archsearch.trial import Evaluation, Trial


@dataclasses.dataclass(frozen=True)
class Score:
    """One score, on record and now."""

    score: str
    recorded: float | None
    now: float | None


def repeat(args: argparse.Namespace, study: "Study", data: "ImageData") -> int:
    """Counts, times and trains a finished trial anew, and prints both; the study stays as it is.

    Raises:
        OptionError: the study has no such trial.
        ArchsearchError: it fails now.
    """
    from archsearch.evaluate.pool import Machine, devices_for, evaluate_again

    trial = _recorded(args, study)
    work = work_of(args, study, Machine.here(devices_for(args.device), 0))
    source = dataclasses.replace(work.source, retrain=True)
    work = dataclasses.replace(work, source=source, remeasure=True, data=data)
    if not args.quiet:
        print(f"trial {trial.number} of {study.name} again; this changes nothing on record", file=sys.stderr)
    now = evaluate_again(work, trial)
    if now.error is not None and (now.error != trial.evaluation.error or not now.scores):
        when = "fails now" if now.error != trial.evaluation.error else "fails again, as on record"
        raise ArchsearchError(f"trial {trial.number} {when}: {now.error}")
    _show(args, study, trial, now)
    return 0


def in_this_process(args: argparse.Namespace) -> None:
    """Leaves out the options of the engine that the study was run by."""
    args.engine, args.workers = "local", 0
    args.ray_address = args.cpus_per_trial = args.gpus_per_trial = args.trial_timeout = None


def _recorded(args: argparse.Namespace, study: "Study") -> "Trial":
    from archsearch.search.definition import create_or_resume, load
    from archsearch.search.storage.opening import in_words, open_storage
    from archsearch.search.storage.records import trials_of

    storage = open_storage(args.storage, create=False)
    with in_words():
        load(study.name, storage)  # so that none is made
        trials = {trial.number: trial for trial in trials_of(create_or_resume(study, storage))}
    if args.repeat not in trials:
        raise OptionError(
            f"--repeat {args.repeat}: study {study.name!r} has no finished trial of that number "
            "with an architecture of its own; see `pareto STUDY --all`"
        )
    return trials[args.repeat]


def _show(args: argparse.Namespace, study: "Study", trial: "Trial", now: "Evaluation") -> None:
    from archsearch.objectives import OBJECTIVES
    from archsearch.utils.tables import Document, Table, render

    names = [name for name in OBJECTIVES if name in {*trial.evaluation.scores, *now.scores}]
    found = [Score(name, trial.evaluation.scores.get(name), now.scores.get(name)) for name in names]
    cells: list[list[Any]] = []
    for one in found:
        objective = OBJECTIVES[one.score]
        shown = [
            "-" if value is None else f"{value * objective.scale:.{max(2, objective.precision)}f}"
            for value in (one.recorded, one.now)
        ]
        change = f"{one.now / one.recorded - 1:+.2%}" if one.recorded and one.now is not None else "-"
        if one.now == one.recorded:
            change = "identical"
        cells.append([objective.label, *shown, change])
    title = f"{study.name}, trial {trial.number}, evaluated again"
    table = Table(["score", "on record", "now", "change"], cells, title=title)
    document = Document([table], [dataclasses.asdict(one) for one in found], bare=True)
    sys.stdout.write(render(document, args.format) + "\n")
