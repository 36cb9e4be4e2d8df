"""Measure speed: images per second, latency, memory; interleaved with a reference, with intervals."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.cli.models import HELP, named_networks
from archsearch.cli.options import (
    add_format,
    add_mixers,
    add_storage,
    assignments,
    check_writable,
    keyword_arguments,
    natural,
    positive_int,
    seconds,
    write_file,
)
from archsearch.errors import ArchsearchError, OptionError, UserError
from archsearch.utils.tables import FORMATS

if TYPE_CHECKING:
    from archsearch.ablation.variants import ListStudy
    from archsearch.benchmark import BenchmarkResult, BenchmarkSpec
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
#: Types that autocast uses by default, by kind of device.
AMP = {"cpu": "bfloat16", "gpu": "float16"}
BENCHES = {"infer": ("infer", "latency"), "train": ("train",), "both": ("train", "infer", "latency")}
#: Options that set a field of the recipe.
FIELDS = {
    "img_size": "img_size",
    "batch_size": "batch_size",
    "rounds": "rounds",
    "reference": "reference",
    "patience": "patience_s",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help=HELP)
    add("--study", metavar="NAME|FILE", help="time the networks of a study (see studies/) instead of MODELs")
    add("--bench", choices=tuple(BENCHES), default="both", help="steps to time (%(default)s)")
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (%(default)s)")
    _add_networks(parser)
    _add_conditions(parser)
    _add_rounds(parser)
    energy = "do not read the energy per image, which takes 3 s per step on a GPU"
    add("--no-energy", dest="energy", action="store_false", help=energy)
    add("--roofline", action="store_true", help="also time each network's parts, beside the device's limits")
    add("--drawing", type=Path, metavar="FILE.html", help="write a figure of the --roofline")
    add("--results-file", type=Path, metavar="FILE", help="write the results here too, with the raw block times")
    add("--results-format", choices=FORMATS, help="format of that file (default: by its suffix, else csv)")
    add("-q", "--quiet", action="store_true", help="no progress")
    add_mixers(parser)
    add_storage(parser)
    add_format(parser)


def _add_networks(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how MODELs are made."""
    add = parser.add_argument
    add("--model-kwargs", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="arguments of timm's "
        "networks, and fields of the architectures of ours, as in drop_path_rate=0.1")  # fmt: skip
    merge = "count and time inference in the deploy form, of MODELs and reference: norms folded, branches merged"
    add("--reparam", action="store_true", help=merge)


def _add_conditions(parser: argparse.ArgumentParser) -> None:
    """Add the options that say under which conditions a step is timed."""
    add = parser.add_argument
    add("-b", "--batch-size", type=positive_int, metavar="N", help="images per step (default: 128, on a CPU 2)")
    add("--fit-batch", action="store_true", help="halve the batch, for all networks alike, until every one fits")
    add("--img-size", type=positive_int, metavar="PX", help="side of the images (default: each network's own)")
    add("--input-size", nargs=3, type=positive_int, metavar=("3", "PX", "PX"), help="the same in timm's words")
    arithmetic = "arithmetic (default: tf32 where the device has it, else float32)"
    add("--precision", choices=tuple(PRECISIONS), help=arithmetic)
    add("--amp", action="store_true", help="use automatic mixed precision (autocast) instead of --precision")
    autocast = "type that autocast uses (default: float16, on a CPU bfloat16)"
    add("--amp-dtype", choices=("float16", "bfloat16"), help=autocast)
    layout = "time this memory layout only (default: both, the faster one marked)"
    add("--channels-last", action="store_true", help=layout)
    add("--channels-first", action="store_true", help=layout)
    modes = "comma-separated modes: eager, compile, cudagraph, onnxruntime (default: eager)"
    add("--mode", metavar="LIST", help=modes)
    add("--torchcompile", action="store_true", help="short for --mode compile")


def _add_rounds(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how networks are compared in rounds."""
    add = parser.add_argument
    reference = "network that throughputs are compared with (default: inceptionnext_tiny, or the study's baseline)"
    add("--reference", metavar="MODEL", help=reference)
    add("--rounds", type=positive_int, metavar="N", help="timed blocks of each step (default: 10, and more as needed)")
    patience = "time limit for further rounds, until relative throughputs are known within 1 %% (default: 120)"
    add("--patience", type=seconds, metavar="SECONDS", help=patience)
    add("--seed", type=natural, default=0, metavar="N", help="seed of the order within rounds (%(default)s)")
    change = "change a field of the timing recipe"
    add("--set", nargs="+", action="extend", default=[], metavar="bench.FIELD=VALUE", help=change)


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, and report what disturbed the measurement; return the exit code."""
    from archsearch.benchmark import run as run_benchmark
    from archsearch.cli.meters import Meter
    from archsearch.cli.options import load_own_mixers
    from archsearch.report.speed_tables import entries
    from archsearch.search.storage.opening import check_place

    _check(args)
    changes, study = _changes(args), _study(args)
    for path, option in ((args.results_file, "--results-file"), (args.drawing, "--drawing")):
        if path:
            check_place(path, option)
            check_writable(path, option)
    load_own_mixers(args.mixers)
    with Meter(args.quiet) as meter:
        result = run_benchmark(_spec(args, study, changes), meter.event)
    return _print(args, study, result, entries(result.records, study))


def _check(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other, before anything is started."""
    if bool(args.models) == (args.study is not None):
        raise OptionError("name one or more MODELs, or --study NAME for the rows of one of the paper's tables")
    if args.study is not None and args.reference is not None:
        raise OptionError("--reference: a study's ratios are to its baseline; leave it out")
    if args.study is not None and args.model_kwargs:
        raise OptionError("--model-kwargs: a study's networks are what it says; leave it out")
    _check_input_size(args)
    if args.channels_last and args.channels_first:
        raise OptionError("--channels-last and --channels-first: leave both out to time both")
    if args.precision and args.amp:
        raise OptionError("--amp and --precision exclude each other; --amp-dtype says what autocast uses")
    if args.amp_dtype and not args.amp:
        raise OptionError("--amp-dtype belongs to --amp; add it")
    if args.torchcompile and args.mode not in (None, "compile"):
        raise OptionError("--torchcompile is short for --mode compile; leave one of them out")
    if args.drawing and not (args.roofline and args.drawing.suffix.lower() == ".html"):
        raise OptionError("--drawing draws the --roofline, into a file whose name ends in .html")


def _check_input_size(args: argparse.Namespace) -> None:
    if args.input_size is None:
        return
    channels, height, width = args.input_size
    given = f"--input-size {channels} {height} {width}"
    if channels != 3 or height != width:
        raise OptionError(f"{given}: images have 3 channels and are square; write --input-size 3 {height} {height}")
    if args.img_size not in (None, height):
        raise OptionError(f"{given} and --img-size {args.img_size} differ; leave one of them out")


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of the recipe that the command line sets, with an option of their own or with ``--set``."""
    from archsearch.recipes import BenchRecipe, override

    options = {field: getattr(args, option) for option, field in FIELDS.items() if getattr(args, option) is not None}
    if args.input_size:
        options["img_size"] = args.input_size[-1]
    if args.precision:
        options["precision"] = PRECISIONS[args.precision]
    if args.reparam:
        options["form"] = "deploy"
    if args.channels_last or args.channels_first:
        options["layout"] = "channels_last" if args.channels_last else "channels_first"
    assigned = assignments(args.set, ("bench",))["bench"]
    for name in (*FIELDS, "mode", "precision"):
        field = FIELDS.get(name, name)
        if field in assigned and getattr(args, name) is not None:
            raise OptionError(f"--set bench.{field} and --{name.replace('_', '-')} say the same; leave one out")
    if args.reparam and "form" in assigned:
        raise OptionError("--set bench.form and --reparam say the same; leave one out")
    if args.input_size and "img_size" in assigned:
        raise OptionError("--set bench.img_size and --input-size say the same; leave one out")
    limit = {"max_rounds": args.rounds} if args.rounds else {}
    changes = options | limit | assigned
    try:
        override(BenchRecipe(), changes)
    except UserError as error:
        raise OptionError(f"--set: {error}") from None
    return changes


def _study(args: argparse.Namespace) -> "ListStudy | None":
    from archsearch.ablation.yaml import load_study
    from archsearch.utils.package_data import shipped

    return None if args.study is None else load_study(args.study, shipped("studies"))


def _spec(args: argparse.Namespace, study: "ListStudy | None", changes: dict[str, Any]) -> "BenchmarkSpec":
    from archsearch.benchmark import BenchmarkSpec, NamedNetwork

    networks: tuple[NamedNetwork | str, ...]
    if study:
        kinds = ("cpu", "gpu")
        networks = tuple(NamedNetwork(v.name, {kind: study.timed(v, kind) for kind in kinds}) for v in study.variants)
    else:
        networks = named_networks(args.models, args.storage)
    return BenchmarkSpec(
        networks=networks,
        device=args.device,
        kinds=BENCHES[args.bench],
        modes=_modes(args),
        device_changes={kind: _device_changes(args, study, kind) for kind in AMP},
        changes=changes,
        seed=args.seed,
        roofline=args.roofline,
        fit_batch=args.fit_batch,
        energy=args.energy,
        mixers=tuple(args.mixers),
        model_kwargs=keyword_arguments(args.model_kwargs, "--model-kwargs"),
    )


def _modes(args: argparse.Namespace) -> tuple[str, ...]:
    words = "compile" if args.torchcompile else args.mode
    return () if words is None else tuple(dict.fromkeys(words.split(",")))


def _device_changes(args: argparse.Namespace, study: "ListStudy | None", kind: str) -> dict[str, Any]:
    """Fields of the recipe that a study, or autocast, changes on a kind of device."""
    changes = {**study.changes[kind], "reference": study.baseline.name} if study else {}
    return changes | ({"precision": f"amp_{PRECISIONS[args.amp_dtype or AMP[kind]]}"} if args.amp else {})


def _print(
    args: argparse.Namespace, study: "ListStudy | None", result: "BenchmarkResult", entries: "list[Entry]"
) -> int:
    """Print the table, write the files, then say what went wrong; return the exit code."""
    from archsearch.report.speed_tables import speed_table, told, warnings
    from archsearch.utils.tables import render

    recipe = result.recipe
    if args.format == "table":
        sys.stdout.write(told(entries, recipe, study) + "\n\n")
    table = speed_table(entries, recipe.reference)
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

    def named(entry: "Entry") -> str:
        form = entry.measured.form
        return entry.name if form == "train" else f"{entry.name} ({form} form)"

    views = [(named(entry), entry.measured.roofline) for entry in entries if entry.measured.roofline]
    if args.format == "table":
        for name, view in views:
            sys.stdout.write("\n" + roofline_table(name, view) + "\n")
    drawable = [(name, view) for name, view in views if "error" not in view]
    if args.drawing and drawable:
        write_file(args.drawing, figure_html(roofline_figure(drawable)), "--drawing")
