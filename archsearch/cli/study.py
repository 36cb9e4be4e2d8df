"""Search a space: draw candidates, count, time and train them, show the front."""

import argparse
import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.cli.engine_options import add_engine, engine_of
from archsearch.cli.options import (
    add_format,
    add_log_format,
    add_mixers,
    add_storage,
    add_verbosity,
    level,
    natural,
    positive_int,
    seconds,
)
from archsearch.cli.recipe_options import add_data, add_recipes, command_line, recipe_choice
from archsearch.errors import ArchsearchError, OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from archsearch.search.importance import Importance
    from archsearch.search.repeat_trial import Repetition
    from archsearch.search.resolve import ResolvedStudy
    from archsearch.search.result import StudyResult
    from archsearch.search.spec import StudySpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add = parser.add_argument
    add("--space", required=True, metavar="NAME|FILE", help="search space: a name (see `spaces`) or a YAML file")
    add(
        "--objective",
        default="pareto",
        metavar="LIST",
        help="objectives, separated by commas, or pareto for accuracy,macs,infer_throughput (%(default)s)",
    )
    add_data(parser)
    add("--n-trials", "--trials", type=positive_int, metavar="N", help="number of trials in all, with those of earlier "
        "runs (24; with --sampler grid: all)")  # fmt: skip
    add("--timeout", type=seconds, metavar="SECONDS", help="seconds after which no further trial is started")
    add("--seed", type=natural, default=0, metavar="N", help="seed of the sampler and the trainings (%(default)s)")
    add("--sampler", metavar="NAME", help="cost_aware, nsga2, nsga3, tpe, gp, qmc, random, grid (default: that of the "
        "stored study, else cost_aware)")  # fmt: skip
    add("--constraint", action="append", default=[], metavar="TEXT", help="'macs <= 1.5e9', 'infer_throughput >= 0.95 "
        "* baseline': candidates that break it are not trained (repeatable)")  # fmt: skip
    add("--seeds", type=positive_int, default=1, metavar="N", help="maximum number of training seeds per candidate; "
        "more than one only near the front (%(default)s)")  # fmt: skip
    stopping = parser.add_mutually_exclusive_group()
    stopping.add_argument("--no-early-stopping", dest="early_stopping", action="store_false", help="train every "
        "candidate to its end")  # fmt: skip
    stopping.add_argument("--stopping-level", type=level, default=0.9, metavar="P", help="probability of the upper "
        "bound that prunes a training when the front dominates it, from 0.5 to below 1: lower ones save more and prune "
        "more of the front (%(default)s; the table is in docs/results/stopping.md)")  # fmt: skip
    add("--device", default="auto", metavar="NAME", help="device: auto, cpu, cuda, cuda:1, mps (%(default)s)")
    add_engine(parser)
    add_recipes(parser)
    add("--speeds", metavar="FILE[:WORDS]", help="take measured scores from the JSON that `benchmark` wrote on another "
        "machine; only architectures that it has are candidates (WORDS: see `pareto --help`)")  # fmt: skip
    add("--study-name", metavar="NAME", help="name of the study (default: space, objectives and data set)")
    add("--start-from", action="append", default=[], metavar="WHAT", help="architectures to evaluate first: paper "
        "(the named networks), a .yaml or .json file, or the front of another study (repeatable)")  # fmt: skip
    add("--repeat", type=natural, metavar="TRIAL", help="evaluate this trial of the study again, and compare")
    add("--page", type=Path, metavar="FILE", help="HTML page to write (default: beside the storage)")
    add("--confirm", action="store_true", help="then confirm the front, as the verb `confirm` does "
        "by default; other formats than table then hold the confirmation alone")  # fmt: skip
    add_mixers(parser)
    add_storage(parser)
    add_format(parser)
    add_verbosity(parser)
    add_log_format(parser)


def run(args: argparse.Namespace) -> int:
    """Run the study, or go on with it; print the front and write the page."""
    from archsearch.cli.display import StudyProgress
    from archsearch.cli.report import page_path
    from archsearch.search.execute import result_of
    from archsearch.search.execute import run as run_study
    from archsearch.search.importance import importances
    from archsearch.search.repeat_trial import repeat
    from archsearch.search.resolve import resolve

    spec = spec_of(args)
    progress = StudyProgress(args.quiet, args.verbose, args.log_format)
    repeats = args.repeat is not None
    if repeats and args.confirm:
        raise OptionError("--confirm and --repeat exclude each other; leave one out")
    resolved = resolve(spec.in_this_process() if repeats else spec, create=not repeats)
    page = page_path(resolved.name, spec.storage, args.page, "--page")
    if args.confirm:
        _check_confirm(resolved)
    if repeats:
        _show_repetition(repeat(resolved, args.repeat, progress), args.format)
        return 0
    try:
        result = run_study(resolved, progress)
    except BaseException:
        with contextlib.suppress(Exception):  # what ended the study matters more, and there may be little time
            if progress.search is not None:
                _show(args, result_of(progress.search, spec.storage), page, {})
        raise
    code = _show(args, result, page, importances(result.study, [objective.name for objective in result.objectives]))
    if args.confirm:
        _confirm(args, result.name, page)
    return code


def _check_confirm(resolved: "ResolvedStudy") -> None:
    """Refuse a confirmation of what has no accuracy, before anything is evaluated."""
    if "accuracy" not in [objective.name for objective in resolved.objectives]:
        raise OptionError("--confirm trains the front for longer, and accuracy is no objective; leave it out")


def _confirm(args: argparse.Namespace, name: str, page: Path) -> None:
    """Confirm the front of the study that has just ended."""
    from archsearch.cli.confirm import confirm_and_show
    from archsearch.handover import ConfirmSpec

    spec = ConfirmSpec(
        study=name,
        storage=args.storage,
        data_root=args.data_root,
        device=args.device,
        workers=args.workers,
        mixers=tuple(args.mixers),
        command=command_line(args.storage),
    )
    confirm_and_show(spec, page, args.quiet, args.format)


def spec_of(args: argparse.Namespace) -> "StudySpec":
    """Return what the command line asks for.

    Raises:
        OptionError: A ``--set`` has another form.
    """
    from archsearch.search.spec import StudySpec

    choice = recipe_choice(args)
    return StudySpec(
        space=args.space,
        objectives=args.objective,
        n_trials=args.n_trials,
        timeout=args.timeout,
        seed=args.seed,
        sampler=args.sampler,
        constraints=args.constraint,
        seeds=args.seeds,
        early_stopping=args.early_stopping,
        stopping_level=args.stopping_level,
        device=args.device,
        engine=engine_of(args),
        dataset=args.dataset,
        data_root=args.data_root,
        proxy=choice.proxy,
        proxy_changes=choice.proxy_changes,
        bench=choice.bench,
        bench_changes=choice.bench_changes,
        mixers=args.mixers,
        storage=args.storage,
        study_name=args.study_name,
        speeds=args.speeds,
        start_from=args.start_from,
        retrain=args.retrain,
        remeasure=args.remeasure,
        command=command_line(args.storage),
    )


def _show(
    args: argparse.Namespace, result: "StudyResult", page: Path, importance: "Mapping[str, list[Importance]]"
) -> int:
    """Print the front and write the page.

    Raises:
        ArchsearchError: No trial of the study is complete.
    """
    from archsearch.cli import report
    from archsearch.cli.events import json_event
    from archsearch.report.frame import front_rows
    from archsearch.report.tables import trials_table, with_notes
    from archsearch.report.view import StudyView
    from archsearch.utils.tables import render

    view = StudyView(
        result.name,
        result.recipe,
        result.trials,
        result.command,
        dict(importance),
        images=result.val_images,
        small_maps=result.small_maps,
        ranking=result.ranking,
    )
    front = trials_table(front_rows(view.frame, view.objectives), view.objectives, view.chance_words)
    front = with_notes(front, view.small_maps)
    if args.format == "table" or not args.confirm:
        sys.stdout.write(render(front, args.format) + "\n")
        sys.stdout.flush()
    if result.trials:
        report.write(page, [view])
        count = len(result.trials)
        if args.log_format == "json" and not args.quiet:
            told = {"ranking": result.ranking} if result.ranking else {}
            json_event("finished", study=result.name, trials=count, storage=result.storage, page=str(page), **told)
        elif not args.quiet:
            print(f"study {result.name}: {count} trials in {result.storage}\npage: {page}", file=sys.stderr)
        _show_ranking(args, result.ranking)
    if result.failure is not None:
        raise ArchsearchError(result.failure)
    return 0


def _show_ranking(args: argparse.Namespace, words: str) -> None:
    """Print what is known of how the recipe ranks: below the table, or beside other formats."""
    if words and args.format == "table":
        print(words, flush=True)
    elif words and not args.quiet and args.log_format != "json":
        print(words, file=sys.stderr)


def _show_repetition(repetition: "Repetition", style: str) -> None:
    """Print the scores on record beside those of now."""
    from archsearch.objectives import OBJECTIVES
    from archsearch.utils.tables import Document, Table, render

    cells: list[list[Any]] = []
    for pair in repetition.scores:
        objective = OBJECTIVES[pair.score]
        shown = [
            "-" if value is None else f"{value * objective.scale:.{max(2, objective.precision)}f}"
            for value in (pair.recorded, pair.now)
        ]
        change = f"{pair.now / pair.recorded - 1:+.2%}" if pair.recorded and pair.now is not None else "-"
        cells.append([objective.label, *shown, "identical" if pair.now == pair.recorded else change])
    title = f"{repetition.study}, trial {repetition.trial.number}, evaluated again"
    table = Table(["score", "on record", "now", "change"], cells, title=title)
    document = Document([table], [dataclasses.asdict(pair) for pair in repetition.scores], bare=True)
    sys.stdout.write(render(document, style) + "\n")
