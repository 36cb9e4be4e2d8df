"""Measure speed: images per second, latency, memory; interleaved with a reference, with intervals."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.cli.models import HELP, Model, find_models, study_models
from archsearch.cli.options import (
    add_format,
    add_mixers,
    add_storage,
    assignments,
    check_writable,
    natural,
    positive_int,
    seconds,
    write_file,
)
from archsearch.errors import ArchsearchError, OptionError, UserError, unknown
from archsearch.utils.tables import FORMATS

if TYPE_CHECKING:
    from archsearch.ablation.variants import ListStudy
    from archsearch.benchmark.jobs import Job, Measured
    from archsearch.recipes import BenchRecipe
    from archsearch.report.speed_tables import Entry

#: Precisions under timm's names and ours.
PRECISIONS = {
    "float32": "fp32",
    "fp32": "fp32",
    "tf32": "tf32",
    "bfloat16": "bf16",
    "bf16": "bf16",
    "float16": "fp16",
    "fp16": "fp16",
}
#: More patience than a study has for each of its trials; a quiet GPU needs none of it.
THOROUGH = {"layout": "both", "max_rounds": 100}
#: On a CPU, which has nothing to choose or to heat up, a step that has not settled by then never will.
CPU_WARMUP_S = 5.0
BENCHES = {"infer": ("infer", "latency"), "train": ("train",), "both": ("train", "infer", "latency")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help=HELP)
    add("--study", metavar="NAME|FILE", help="instead of models: the networks of a study (see studies/)")
    add("--bench", choices=tuple(BENCHES), default="both", help="steps to time (%(default)s)")
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (%(default)s)")
    add("-b", "--batch-size", type=positive_int, metavar="N", help="images per step (default: 128, on a CPU 2)")
    add("--img-size", type=positive_int, metavar="PX", help="side of the images (default: each network's own)")
    add("--precision", choices=tuple(PRECISIONS), help="of the arithmetic (default: tf32 where there is, else float32)")
    add("--amp", action="store_true", help="autocast instead")
    add("--amp-dtype", choices=("float16", "bfloat16"), help="of autocast (default: float16, on a CPU bfloat16)")
    add("--channels-last", action="store_true", help="this layout only (default: both, the better one marked)")
    add("--channels-first", action="store_true", help="this layout only")
    add("--mode", metavar="LIST", help="of eager, compile, cudagraph, between commas (default: eager)")
    add("--torchcompile", action="store_true", help="short for --mode compile")
    add(
        "--reference", metavar="MODEL", help="what ratios are to (default: inceptionnext_tiny, or the study's baseline)"
    )
    add("--rounds", type=positive_int, metavar="N", help="timed blocks of each step (default: 10, and more as needed)")
    add(
        "--patience",
        type=seconds,
        metavar="SECONDS",
        help="for rounds until ratios are known within 1 %% (default: 120)",
    )
    add("--fit-batch", action="store_true", help="halve the batch, for all alike, until every network fits")
    add("--seed", type=natural, default=0, metavar="N", help="of the order in the rounds (%(default)s)")
    add("--roofline", action="store_true", help="also where the time goes, beside what the device can do")
    add("--drawing", type=Path, metavar="FILE.html", help="the roofline as a figure")
    add("--set", nargs="+", action="extend", default=[], metavar="bench.FIELD=VALUE", help="change the recipe's field")
    add("--results-file", type=Path, metavar="FILE", help="write the results here as well, with the raw blocks")
    add("--results-format", choices=FORMATS, help="of that file (default: by its name's ending, else csv)")
    add("-q", "--quiet", action="store_true", help="no progress")
    add_mixers(parser)
    add_storage(parser)
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Measures, prints the table, and says what disturbed the measurement."""
    from archsearch.benchmark.session import Session
    from archsearch.cli.options import load_own_mixers
    from archsearch.cli.progress import Meter
    from archsearch.search.storage.opening import check_place

    study = _checked(args)
    for path, option in ((args.results_file, "--results-file"), (args.drawing, "--drawing")):
        if path:
            check_place(path, option)
            check_writable(path, option)
    load_own_mixers(args.mixers)
    models = find_models(args.models, args.img_size, args.storage)
    if models and all(model.error for model in models):
        raise OptionError("; ".join(str(model.error) for model in models))
    with Meter(args.quiet) as meter, Session(args.device, args.mixers, meter.event, args.fit_batch) as session:
        kind = "cpu" if session.facts["kind"] == "cpu" else "gpu"
        models = study_models(study, kind, args.img_size) if study else models
        known = [model for model in models if model.network is not None]
        meter.names = [model.name for model in known]
        job = _job(args, known, _bench(args, study, kind, session.facts["tf32"]), study)
        measured = session.run(job)
    return _tell(args, study, job.bench, _entries(models, measured))


def _entries(models: list[Model], measured: "list[Measured]") -> "list[Entry]":
    from archsearch.benchmark.jobs import Measured
    from archsearch.report.speed_tables import Entry

    results = iter(measured)
    return [
        Entry(
            model.name,
            model.network,
            next(results) if model.network is not None else Measured(error=model.error, users_fault=True),
            model.paper,
            model.paper_ratios,
        )
        for model in models
    ]


def _tell(args: argparse.Namespace, study: "ListStudy | None", bench: "BenchRecipe", entries: "list[Entry]") -> int:
    """Prints the table, writes the files, then says what is wrong; returns the exit code."""
    from archsearch.report.speed_tables import speed_table, told, warnings
    from archsearch.utils.tables import render

    if all(entry.measured.users_fault for entry in entries):
        raise OptionError("; ".join(dict.fromkeys(str(entry.measured.error) for entry in entries)))
    if args.format == "table":
        sys.stdout.write(told(entries, bench, study) + "\n\n")
    table = speed_table(entries, bench.reference)
    sys.stdout.write(render(table, args.format) + "\n")
    if args.roofline:
        _roofline(args, entries)
    sys.stdout.flush()
    for line in warnings(entries):
        print(f"archsearch: {line}", file=sys.stderr)
    if args.results_file:
        write_file(args.results_file, render(table, _results_format(args)) + "\n", "--results-file")
    if any(entry.measured.users_fault for entry in entries):
        return OptionError.exit_code
    timed = [t for entry in entries for t in entry.measured.timings if not t.error and t.setting.kind != "latency"]
    return 0 if timed else ArchsearchError.exit_code


def _results_format(args: argparse.Namespace) -> str:
    endings = {".json": "json", ".md": "markdown", ".txt": "table"}
    return args.results_format or endings.get(args.results_file.suffix.lower(), "csv")


def _roofline(args: argparse.Namespace, entries: "list[Entry]") -> None:
    from archsearch.report.kernel_costs import figure_html
    from archsearch.report.roofline_figure import roofline_figure, roofline_table

    views = [(entry.name, entry.measured.roofline) for entry in entries if entry.measured.roofline]
    if args.format == "table":
        for name, view in views:
            sys.stdout.write("\n" + roofline_table(name, view) + "\n")
    drawable = [(name, view) for name, view in views if "error" not in view]
    if args.drawing and drawable:
        write_file(args.drawing, figure_html(roofline_figure(drawable)), "--drawing")


def _checked(args: argparse.Namespace) -> "ListStudy | None":
    """What can be said about the options before anything is started; the study file, if one is named."""
    from archsearch.ablation.yaml import load_study
    from archsearch.recipes import MODES
    from archsearch.utils.package_data import shipped

    if bool(args.models) == (args.study is not None):
        raise OptionError("name one or more MODELs, or --study NAME for the rows of one of the paper's tables")
    if args.study is not None and args.reference is not None:
        raise OptionError("--reference: a study's ratios are to its baseline; leave it out")
    if args.channels_last and args.channels_first:
        raise OptionError("--channels-last and --channels-first: leave both out to time both")
    if args.precision and args.amp:
        raise OptionError("--amp and --precision exclude each other; --amp-dtype says what autocast uses")
    if args.amp_dtype and not args.amp:
        raise OptionError("--amp-dtype belongs to --amp; add it")
    if args.torchcompile and args.mode not in (None, "compile"):
        raise OptionError("--torchcompile is short for --mode compile; leave one of them out")
    for mode in args.mode.split(",") if args.mode is not None else ():
        if mode not in MODES:
            raise OptionError(unknown("mode", mode, MODES))
    if args.drawing and not (args.roofline and args.drawing.suffix.lower() == ".html"):
        raise OptionError("--drawing draws the --roofline, into a file whose name ends in .html")
    _settle(args)
    return None if args.study is None else load_study(args.study, shipped("studies"))


#: Fields of the recipe that have an option of their own.
OPTIONS = {
    "img_size": "img_size",
    "batch_size": "batch_size",
    "rounds": "rounds",
    "reference": "reference",
    "mode": "mode",
    "precision": "precision",
    "patience_s": "patience",
}


def _settle(args: argparse.Namespace) -> None:
    """Takes fields out of ``--set`` that have an option of their own, and refuses those that are given twice."""
    for field, value in assignments(args.set, ("bench",))["bench"].items():
        option = OPTIONS.get(field)
        if option and getattr(args, option) is not None:
            raise OptionError(f"--set bench.{field} and --{option.replace('_', '-')} say the same; leave one out")
        if field == "img_size" and isinstance(value, int) and value > 0:
            args.img_size = value


def _bench(args: argparse.Namespace, study: "ListStudy | None", kind: str, has_tf32: bool) -> "BenchRecipe":
    """The recipe: by kind of device, then the study's changes, then the command line's."""
    from archsearch.recipes import BENCHES as RECIPES
    from archsearch.recipes import override

    bench = override(RECIPES[kind], THOROUGH | ({"warmup_limit_s": CPU_WARMUP_S} if kind == "cpu" else {}))
    bench = override(bench, {**study.changes[kind], "reference": study.baseline.name} if study else {})
    if bench.precision == "tf32" and not has_tf32:
        bench = override(bench, {"precision": "fp32"})
    changes: dict[str, Any] = {}
    if args.precision or args.amp:
        dtype = args.amp_dtype or ("bfloat16" if kind == "cpu" else "float16")
        changes["precision"] = f"amp_{PRECISIONS[dtype]}" if args.amp else PRECISIONS[args.precision]
    if args.channels_last or args.channels_first:
        changes["layout"] = "channels_last" if args.channels_last else "channels_first"
    if args.rounds:
        changes["max_rounds"] = args.rounds
    for field in ("batch_size", "rounds", "reference", "patience_s"):
        if getattr(args, OPTIONS[field]) is not None:
            changes[field] = getattr(args, OPTIONS[field])
    changes |= assignments(args.set, ("bench",))["bench"]
    try:
        return override(bench, changes)
    except UserError as error:
        raise OptionError(f"--set: {error}") from None


def _job(args: argparse.Namespace, models: list[Model], bench: "BenchRecipe", study: "ListStudy | None") -> "Job":
    from archsearch.arch.networks import find
    from archsearch.benchmark.jobs import Job

    networks = tuple(model.network for model in models if model.network is not None)
    of_study = [model.network for model in models if study and model.network and model.name == bench.reference]
    words = "compile" if args.torchcompile else args.mode or bench.mode
    return Job(
        networks=networks,
        reference=of_study[0] if of_study else find(bench.reference, args.img_size),
        bench=bench,
        kinds=BENCHES[args.bench],
        modes=tuple(dict.fromkeys(words.split(","))),
        seed=args.seed,
        thorough=True,
        roofline=args.roofline,
    )
