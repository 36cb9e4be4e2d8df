"""Search a space: draw candidates, count, time and train them, show the front."""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from archsearch.cli.engines import add_engine, carry_out, check_engine, place_of
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
from archsearch.cli.recipes import add_data, add_recipes, command_line, load_data, precision_asked, read_recipes
from archsearch.errors import ArchsearchError, OptionError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from archsearch.cli.engines import Place
    from archsearch.data import ImageData
    from archsearch.objectives import Objective
    from archsearch.recipes import Bench, Proxy
    from archsearch.search.importance import Importance
    from archsearch.search.search import Search
    from archsearch.search.study import Study
    from archsearch.space import Space


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add = parser.add_argument
    add("--space", required=True, metavar="NAME|FILE", help="search space: a name (see `spaces`) or a YAML file")
    add("--objective", default="pareto", metavar="LIST", help="pareto, or objectives separated by commas (%(default)s)")
    add_data(parser)
    add("--n-trials", "--trials", type=positive_int, default=24, metavar="N", help="the study's total (%(default)s)")
    add("--timeout", type=seconds, metavar="SECONDS", help="start no further trial after this long")
    add("--seed", type=natural, default=0, metavar="N", help="of sampler and training (%(default)s)")
    add("--sampler", default="nsga2", metavar="NAME", help="nsga2 or random (%(default)s)")
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (%(default)s)")
    add_engine(parser)
    add_recipes(parser)
    add("--study-name", metavar="NAME", help="default: space, objectives and data set")
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
    from archsearch.cli.repeat import in_this_process, repeat
    from archsearch.cli.report import page_path
    from archsearch.objectives import parse_objectives
    from archsearch.recipes import check_dataset
    from archsearch.search.samplers import SAMPLERS
    from archsearch.search.storage import check_storage
    from archsearch.shipped import shipped
    from archsearch.spacefile import load_space
    from archsearch.workers import prepare

    objectives = parse_objectives(args.objective)
    load_own_mixers(args.mixers)
    space = load_space(args.space, shipped("search_spaces"))
    if args.sampler not in SAMPLERS:
        raise OptionError(unknown("sampler", args.sampler, SAMPLERS))
    if args.repeat is not None:
        in_this_process(args)
    check_engine(args, objectives)
    check_dataset(args.dataset, args.data_root)
    name = args.study_name
    if name == "":
        raise OptionError("--study-name is empty; leave it out for the default name")
    if name is None:
        name = "-".join((space.name, *map(str.strip, args.objective.split(",")), args.dataset))
    recipes = {kind: read_recipes(args, kind, None, space.proxy) for kind in ("cpu", "gpu")}
    check_storage(args.storage, create=args.repeat is None)
    page = page_path(name, args.storage, args.page, "--page")

    if args.engine == "local" and args.workers != 0 and args.repeat is None:
        prepare(["archsearch.pool"])
    with place_of(args) as place:
        study, data = _prepare(args, name, space, objectives, recipes, place)
        if args.repeat is not None:
            return repeat(args, study, data)
        return _search(args, study, data, page, place)


def _prepare(
    args: argparse.Namespace,
    name: str,
    space: "Space",
    objectives: "tuple[Objective, ...]",
    recipes: "Mapping[str, tuple[Proxy, Bench]]",
    place: "Place",
) -> "tuple[Study, ImageData]":
    """The study as it will be run at a place, and its data; everything about them is checked."""
    from archsearch.networks import find
    from archsearch.search.study import Study

    proxy, bench = recipes[place.kind]
    bench = place.suited(bench, precision_asked(args))
    if not place.device.startswith("cuda") and any(objective.name == "peak_memory_mb" for objective in objectives):
        raise OptionError(f"objective peak_memory_mb is read from a GPU's allocator; leave it out on {place.device}")
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
    )
    return study, data


def _try_mixers(space: "Space", proxy: "Proxy", bench: "Bench") -> None:
    """Runs the user's mixers as targets and proxies will have them, before anything is trained."""
    from archsearch.nn import check_mixers

    targets = (space.arch(params) for params in space.some())
    check_mixers(
        arch for target in targets for arch in (target, bench.resized(target), proxy.shrink(target, num_classes=10))
    )


def _search(args: argparse.Namespace, study: "Study", data: "ImageData", page: Path, place: "Place") -> int:
    from archsearch.cli.progress import display
    from archsearch.search.engine import Runner
    from archsearch.search.importance import importances
    from archsearch.search.ledger import Ledger
    from archsearch.search.ownership import owned, sign
    from archsearch.search.search import Search
    from archsearch.search.storage import in_words, open_storage
    from archsearch.search.study import create_or_resume

    storage = open_storage(args.storage, create=True)
    with owned(study.name, args.storage) as check:
        with in_words():
            record = create_or_resume(study, storage)
            sign(record)
            record.set_user_attr("command", command_line(args.storage))
            search = Search(study, Ledger(record, check))
        try:
            with display(
                search, args.n_trials, quiet=args.quiet, verbose=args.verbose, log_format=args.log_format
            ) as watch:
                search.ledger.trouble = watch.say
                carry_out(args, Runner(search, args.n_trials, watch, args.timeout), study, data, place)
        except BaseException:
            with contextlib.suppress(Exception):  # what ended the study matters more, and there may be little time
                _show(args, search, page, {})
            raise
        return _show(
            args, search, page, importances(search.ledger.mirror, [objective.name for objective in study.objectives])
        )


def _show(args: argparse.Namespace, search: "Search", page: Path, importance: "dict[str, list[Importance]]") -> int:
    """Prints the front and writes the page."""
    from archsearch.cli import report
    from archsearch.cli.progress import json_event
    from archsearch.report.frame import front_rows, trials_frame
    from archsearch.report.tables import FORMATS
    from archsearch.report.view import StudyView
    from archsearch.search.storage import masked

    objectives = search.study.objectives
    frame = trials_frame(search.trials, objectives)
    sys.stdout.write(FORMATS[args.format](front_rows(frame, objectives), objectives) + "\n")
    sys.stdout.flush()
    if frame.empty:
        return 0
    command = search.record.user_attrs.get("command", "")
    report.write(page, [StudyView(search.study.name, search.study.recipe(), search.trials, command, importance)])
    place = masked(args.storage)
    if args.log_format == "json" and not args.quiet:
        json_event("finished", study=search.study.name, trials=len(frame), storage=place, page=str(page))
    elif not args.quiet:
        print(f"study {search.study.name}: {len(frame)} trials in {place}\npage: {page}", file=sys.stderr)
    if not (frame["state"] == "complete").any():
        raise ArchsearchError(f"all {len(frame)} trials failed; the last one: {frame['error'].iloc[-1]}")
    return 0
