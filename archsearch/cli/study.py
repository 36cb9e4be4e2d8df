"""Search a space: draw candidates, count, time and train them, show the front."""

import argparse
import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.cli.engine_options import add_engine, carry_out, check_engine, place_of
from archsearch.cli.options import (
    add_format,
    add_log_format,
    add_mixers,
    add_storage,
    add_verbosity,
    load_own_mixers,
    natural,
    positive_int,
    seconds,
)
from archsearch.cli.recipe_options import add_data, add_recipes, command_line, load_data, precision_asked, read_recipes
from archsearch.errors import ArchsearchError, OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from archsearch.cli.engine_options import Place
    from archsearch.data import ImageData
    from archsearch.objectives import Objective
    from archsearch.recipes import BenchRecipe, ProxyRecipe
    from archsearch.search.definition import Study
    from archsearch.search.importance import Importance
    from archsearch.search.samplers.features import CountCosts
    from archsearch.search.search import Search
    from archsearch.search.warm_start import Start
    from archsearch.space.space import Space
    from archsearch.trial import Trial


#: Of a study, where nobody says how many.
TRIALS = 24
#: Of a new study, where nobody says which; benchmarks/tabular.py says why.
SAMPLER = "cost_aware"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add = parser.add_argument
    add("--space", required=True, metavar="NAME|FILE", help="search space: a name (see `spaces`) or a YAML file")
    add("--objective", default="pareto", metavar="LIST", help="pareto, or objectives separated by commas (%(default)s)")
    add_data(parser)
    add("--n-trials", "--trials", type=positive_int, metavar="N", help=f"the study's total ({TRIALS}; with --sampler "
        "grid: all)")  # fmt: skip
    add("--timeout", type=seconds, metavar="SECONDS", help="start no further trial after this long")
    add("--seed", type=natural, default=0, metavar="N", help="of sampler and training (%(default)s)")
    add("--sampler", metavar="NAME", help="cost_aware, nsga2, nsga3, tpe, gp, qmc, random, grid (that of the study, or "
        f"{SAMPLER})")  # fmt: skip
    add("--constraint", action="append", default=[], metavar="TEXT", help="'macs <= 1.5e9', 'infer_throughput >= 0.95 "
        "* baseline': what breaks it is not trained; may be repeated")  # fmt: skip
    add("--seeds", type=positive_int, default=1, metavar="N", help="trainings of a candidate at most: more than one "
        "only near the front (%(default)s)")  # fmt: skip
    add("--no-early-stopping", dest="early_stopping", action="store_false", help="train every candidate to its end")
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (%(default)s)")
    add_engine(parser)
    add_recipes(parser)
    add("--study-name", metavar="NAME", help="default: space, objectives and data set")
    add("--start-from", action="append", default=[], metavar="WHAT", help="evaluate first (repeatable): paper (the "
        "named networks), the architectures of a .yaml or .json file, or the front of another study")  # fmt: skip
    add("--repeat", type=natural, metavar="TRIAL", help="only evaluate this trial of the study again, and compare")
    add("--page", type=Path, metavar="FILE", help="the HTML page (default: beside the storage)")
    add_mixers(parser)
    add_storage(parser)
    add_format(parser)
    add_verbosity(parser)
    add_log_format(parser)


def run(args: argparse.Namespace) -> int:
    """Runs or continues the study; prints the front and writes the page.

    Everything that the user may have got wrong is checked before anything is written.
    """
    from archsearch.cli.limits import check_reachable
    from archsearch.cli.repeat import in_this_process, repeat
    from archsearch.cli.report import page_path
    from archsearch.complexity.parts import PartCounter
    from archsearch.evaluate.constraint import parse_constraints
    from archsearch.objectives import parse_objectives
    from archsearch.recipes import check_dataset
    from archsearch.search.definition import recorded
    from archsearch.search.storage.opening import check_storage
    from archsearch.search.warm_start import read_starts
    from archsearch.space.yaml import load_space
    from archsearch.utils.package_data import shipped
    from archsearch.utils.workers import prepare

    objectives = parse_objectives(args.objective)
    load_own_mixers(args.mixers)
    space = load_space(args.space, shipped("search_spaces"))
    args.constraints = parse_constraints(args.constraint)
    name = _name(args, space)
    before = recorded(name, args.storage)
    _settle(args, before or {}, space, objectives)
    if args.repeat is not None:
        in_this_process(args)
    check_engine(args, objectives)
    check_dataset(args.dataset, args.data_root)
    recipes = {kind: read_recipes(args, kind, None, space.proxy) for kind in ("cpu", "gpu")}
    check_storage(args.storage, create=args.repeat is None)
    page = page_path(name, args.storage, args.page, "--page")
    words, remarks = [] if args.repeat is not None else args.start_from, list[str]()
    starts = read_starts(words, space, name, args.storage, remarks.append)

    if args.engine == "local" and args.workers != 0 and args.repeat is None:
        prepare(["archsearch.evaluate.pool"])
    with place_of(args) as place:
        study, data = _prepare(args, name, space, objectives, recipes, place)
        if args.repeat is not None:
            return repeat(args, study, data)
        count = PartCounter("activations" in {quantity.name for quantity in study.quantities})
        if not before:
            starts += check_reachable(args, study, count, place, starts, partial(_say, args))
        for remark in remarks:
            _say(args, remark)
        return _search(args, study, data, page, place, count, starts)


def _name(args: argparse.Namespace, space: "Space") -> str:
    """The study's, or one that says what it is about."""
    if args.study_name == "":
        raise OptionError("--study-name is empty; leave it out for the default name")
    return args.study_name or "-".join((space.name, *map(str.strip, args.objective.split(",")), args.dataset))


def _settle(
    args: argparse.Namespace, before: "Mapping[str, Any]", space: "Space", objectives: "Sequence[Objective]"
) -> None:
    """Fills in what was left to the study, or to its recipe from before: its sampler, and how many trials."""
    from archsearch.objectives import Tier
    from archsearch.search.samplers.by_name import check_sampler

    args.sampler = args.sampler or before.get("sampler", SAMPLER)
    check_sampler(args.sampler, space)
    if args.n_trials is None:
        args.n_trials = (args.sampler == "grid" and space.distinct()) or TRIALS
    if args.seeds > 1 and all(objective.tier is not Tier.TRAINED for objective in objectives):
        raise OptionError(f"--seeds {args.seeds}: nothing is trained for {args.objective}; leave it out")


def _say(args: argparse.Namespace, text: str) -> None:
    """A remark on stderr, as the user wants them."""
    from archsearch.cli.events import json_event

    if args.quiet:
        return
    if args.log_format == "json":
        json_event("note", text=text)
    else:
        print(text, file=sys.stderr)


def _prepare(
    args: argparse.Namespace,
    name: str,
    space: "Space",
    objectives: "tuple[Objective, ...]",
    recipes: "Mapping[str, tuple[ProxyRecipe, BenchRecipe]]",
    place: "Place",
) -> "tuple[Study, ImageData]":
    """The study as it will be run at a place, and its data; everything about them is checked."""
    from archsearch.arch.networks import find
    from archsearch.benchmark.reported import check_reported
    from archsearch.search.definition import Study

    proxy, bench = recipes[place.kind]
    bench = place.suited(bench, precision_asked(args))
    quantities = dict.fromkeys((*objectives, *(c.objective for c in args.constraints)))
    place.ask(partial(check_reported, quantities, place.device))
    space.check_proxy(proxy)
    space.check_bench(bench)
    find(bench.reference, bench.img_size or None)
    if args.mixers:
        _try_mixers(space, proxy, bench)
    data = load_data(args, proxy, place.here)
    study = Study(
        name=name,
        space=space,
        objectives=objectives,
        proxy=proxy,
        bench=bench,
        data={"name": data.name, "fingerprint": data.fingerprint},
        device=place.name,
        sampler=args.sampler,
        seed=args.seed,
        population=max(8, min(50, args.n_trials // 4)),
        constraints=args.constraints,
        seeds=args.seeds,
        early_stopping=args.early_stopping,
    )
    return study, data


def _try_mixers(space: "Space", proxy: "ProxyRecipe", bench: "BenchRecipe") -> None:
    """Runs the user's mixers as targets and proxies will have them, before anything is trained."""
    from archsearch.nn import check_mixers

    targets = (space.arch(params) for params in space.some())
    check_mixers(
        arch for target in targets for arch in (target, bench.resized(target), proxy.shrink(target, num_classes=10))
    )


def _search(
    args: argparse.Namespace,
    study: "Study",
    data: "ImageData",
    page: Path,
    place: "Place",
    count: "CountCosts",
    starts: "list[Start]",
) -> int:
    """Takes the study up in its storage, runs it, and shows how it stands, whatever ended it."""
    from archsearch.search.definition import VAL_IMAGES, create_or_resume
    from archsearch.search.importance import importances
    from archsearch.search.search import Search
    from archsearch.search.storage.lock import owned, sign
    from archsearch.search.storage.mirror import StorageMirror
    from archsearch.search.storage.opening import in_words, open_storage

    storage = open_storage(args.storage, create=True)
    with owned(study.name, args.storage) as check:
        with in_words():
            record = create_or_resume(study, storage)
            sign(record)
            record.set_user_attr("command", command_line(args.storage))
            record.set_user_attr(VAL_IMAGES, len(data.val))
            search = Search(study, StorageMirror(record, check), count, starts)
        try:
            _evaluate(args, search, data, place)
        except BaseException:
            with contextlib.suppress(Exception):  # what ended the study matters more, and there may be little time
                _show(args, search, page, {})
            raise
        return _show(
            args, search, page, importances(search.mirror.in_memory, [objective.name for objective in study.objectives])
        )


def _evaluate(args: argparse.Namespace, search: "Search", data: "ImageData", place: "Place") -> None:
    """Candidate after candidate, with what the user sees of it."""
    from archsearch.cli.progress import display
    from archsearch.search.early_stopping import EarlyStopping
    from archsearch.search.engines.runner import Runner
    from archsearch.search.storage.reuse import ResultReuse

    study = search.study
    reuse = ResultReuse(study, search.mirror, trainings=not args.retrain, timings=not args.remeasure)
    with display(search, args.n_trials, quiet=args.quiet, verbose=args.verbose, log_format=args.log_format) as listener:
        search.mirror.trouble = listener.say
        judge = EarlyStopping(search, study.proxy.epochs)
        carry_out(args, Runner(search, args.n_trials, listener, args.timeout, judge, reuse), study, data, place)


def _show(args: argparse.Namespace, search: "Search", page: Path, importance: "dict[str, list[Importance]]") -> int:
    """Prints the front and writes the page."""
    from archsearch.cli import report
    from archsearch.cli.events import json_event
    from archsearch.report.frame import front_rows
    from archsearch.report.tables import trials_table
    from archsearch.report.view import StudyView
    from archsearch.search.definition import validation_images
    from archsearch.search.storage.opening import masked
    from archsearch.utils.tables import render

    command, images = search.record.user_attrs.get("command", ""), validation_images(search.record)
    view = StudyView(search.study.name, search.study.recipe(), search.trials, command, importance, images=images)
    frame = view.frame
    front = trials_table(front_rows(frame, view.objectives), view.objectives)
    sys.stdout.write(render(front, args.format) + "\n")
    sys.stdout.flush()
    if frame.empty and search.samplers.spent:
        raise ArchsearchError(
            "no architecture was found that keeps the constraints; relax --constraint, or widen the space"
        )
    if frame.empty:
        return 0
    report.write(page, [view])
    place = masked(args.storage)
    if args.log_format == "json" and not args.quiet:
        json_event("finished", study=search.study.name, trials=len(frame), storage=place, page=str(page))
    elif not args.quiet:
        print(f"study {search.study.name}: {len(frame)} trials in {place}\npage: {page}", file=sys.stderr)
    if not (frame["state"] == "complete").any():
        raise ArchsearchError(nothing_done(search.trials))
    return 0


def nothing_done(trials: "Sequence[Trial]") -> str:
    """Why a study without a complete trial has none.

    Args:
        trials: at least one, none of them complete.
    """
    from archsearch.evaluate.constraint import missed

    failed = [trial for trial in trials if trial.evaluation.error]
    if failed:
        how_many = f"all {len(trials)}" if len(failed) == len(trials) else f"no trial is complete: {len(failed)}"
        return f"{how_many} trials failed; the last one: {failed[-1].evaluation.error}"
    nearest = min(trials, key=lambda trial: max(trial.evaluation.excess.values(), default=0.0)).evaluation.excess
    return (
        f"all {len(trials)} trials are infeasible: the nearest misses {missed(nearest)}; relax --constraint, or widen "
        "the space"
    )
