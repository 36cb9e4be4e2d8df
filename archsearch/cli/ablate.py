"""Ablate: train a baseline and its variants with the same seeds, time them, and compare them pair by pair."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.ablation.spec import AblationRecord, AblationSpec
from archsearch.cli.options import add_mixers, add_storage, check_writable, natural, positive_int, write_file
from archsearch.cli.recipe_options import add_data, add_recipes, asked_changes, command_line
from archsearch.errors import ArchsearchError, OptionError, UserError

if TYPE_CHECKING:
    from archsearch.ablation.outcome import Outcome
    from archsearch.ablation.variants import ListStudy

FORMATS = ("table", "markdown", "latex", "csv", "json")
#: As ``archsearch.stats.paired.METHODS``, which is slow to import.
INTERVALS = ("t", "pooled", "bootstrap")
#: Formats of files by the ending of their names.
ENDINGS = {".json": "json", ".md": "markdown", ".tex": "latex", ".csv": "csv", ".txt": "table"}
#: Arguments that ``--from`` takes; with others it would have to train.
REPORTING = ("help", "outcome", "interval", "format", "page", "results_file", "quiet", "storage", "mixers")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add = parser.add_argument
    add("study", nargs="?", metavar="STUDY|FILE", help="name of a study (see studies/) or a YAML file")
    add("--from", dest="outcome", type=Path, metavar="FILE.json", help="report such a --results-file, train nothing")
    add("--baseline", metavar="MODEL", help="another baseline: a name, a .json, or study:NAME#TRIAL of a search")
    add("--only", metavar="LIST", help="factors to run, separated by commas (default: all)")
    add("--seeds", type=positive_int, default=3, metavar="N", help="number of training seeds per network (%(default)s)")
    add("--seed", type=natural, default=0, metavar="N", help="first training seed (%(default)s)")
    add("--interval", choices=INTERVALS, help="confidence intervals: t; pooled over all networks, which have to be "
        "about equally noisy: t where a test finds that they are not, which it may miss with 3 seeds (then 7 to 12 %% "
        "of ablations find a difference that is none); bootstrap (bootstrap-t), from 5 seeds (default: t)")  # fmt: skip
    add("--pairs", type=positive_int, metavar="N", help="also train pairs of variants, in at most N trainings")
    add("--importance", metavar="NAME", help="search whose parameter importances to report as well (default: the "
        "baseline's search)")  # fmt: skip
    add_data(parser, default=None)
    add("--n-trials", "--trials", type=positive_int, metavar="N", help="maximum number of trainings in all")
    add_recipes(parser)
    add("--weights", metavar="hub|DIR", help="evaluate published weights on the images in --data-root DIR/val instead")
    add("--no-train", action="store_true", help="count and time only")
    add("--no-speed", action="store_true", help="count and train only")
    add("--workers", type=positive_int, metavar="N", help="number of trainings at a time (default: one per core; up "
        "to 4 per GPU)")  # fmt: skip
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (%(default)s)")
    add("--study-name", metavar="NAME", help="name in the storage (default: ablate, study and data set)")
    add("--page", type=Path, metavar="FILE", help="HTML page to write (default: beside the storage)")
    add("--results-file", type=Path, metavar="FILE", help="file to write the result to: .json, .md, .tex, .csv, .txt")
    add_mixers(parser)
    add_storage(parser)
    add("-f", "--format", choices=FORMATS, default="table")
    add("-q", "--quiet", action="store_true", help="no progress")
    names = [action.dest for action in parser._actions if action.dest not in REPORTING]
    parser.set_defaults(unasked={name: parser.get_default(name) for name in names})


def run(args: argparse.Namespace) -> int:
    """Run an ablation, or what is missing of it; print its tables and write its page."""
    if args.outcome is not None:
        return _report_file(args)
    _check_interval(args)
    spec = _spec(args)

    from archsearch.ablation.baseline import read_networks

    networks = read_networks(spec)
    if networks.study.kernel_sizes:
        return _operators(args, networks.study)

    from archsearch.ablation import run as run_ablation
    from archsearch.ablation.resolve import resolve
    from archsearch.cli.ablation_progress import AblationProgress
    from archsearch.cli.report import page_path

    ablation = resolve(spec, networks)
    page = page_path(ablation.name, args.storage, args.page, "--page")
    check_writable(page, "--page")
    _check_results_file(args, page)
    progress = AblationProgress(args.quiet, lambda record: _show(args, page, record))
    _show(args, page, run_ablation(ablation, progress))
    return 0


def _spec(args: argparse.Namespace) -> AblationSpec:
    changes = asked_changes(args)
    return AblationSpec(
        study=args.study,
        baseline=args.baseline,
        only=() if args.only is None else tuple(name.strip() for name in args.only.split(",")),
        seeds=tuple(range(args.seed, args.seed + args.seeds)),
        train=not args.no_train,
        speed=not args.no_speed,
        weights=args.weights,
        pairs=args.pairs,
        max_trainings=args.n_trials,
        importance=args.importance,
        dataset=args.dataset,
        data_root=args.data_root,
        proxy=args.proxy,
        proxy_changes=changes["proxy"],
        bench=args.bench,
        bench_changes=changes["bench"],
        device=args.device,
        workers=args.workers,
        storage=args.storage,
        study_name=args.study_name,
        mixers=tuple(args.mixers),
        retrain=args.retrain,
        remeasure=args.remeasure,
        command=command_line(args.storage),
    )


def _check_interval(args: argparse.Namespace) -> None:
    from archsearch.stats.paired import FEWEST_RESAMPLED

    if args.interval and args.seeds < 2:
        raise OptionError(
            f"--interval {args.interval} needs at least two seeds; give --seeds 3, or leave --interval out"
        )
    if args.interval == "bootstrap" and args.seeds < FEWEST_RESAMPLED:
        raise OptionError(
            f"--interval bootstrap needs --seeds {FEWEST_RESAMPLED} or more; with fewer seeds use --interval t"
        )


def _show(args: argparse.Namespace, page: Path, record: AblationRecord) -> None:
    """Print the tables and write the page.

    Raises:
        ArchsearchError: Everything was trained in vain.
    """
    from archsearch.cli.report import write_ablation

    outcome = record.outcome
    _print(args, outcome)
    write_ablation(page, record.stored, args.interval or "t")
    if not args.quiet:
        print(f"study {record.study_name} in {record.storage}\npage: {page}", file=sys.stderr)
    if outcome.seeds and not any(result.accuracies for result in outcome.results):
        raise ArchsearchError(f"all trainings failed; {next(iter(outcome.baseline.errors.values()), 'see the table')}")


def _print(args: argparse.Namespace, outcome: "Outcome") -> None:
    """Print an outcome, and write the results file."""
    from archsearch.ablation.analysis import Report
    from archsearch.ablation.tables import ablation_document
    from archsearch.utils.tables import render

    document = ablation_document(Report.of(outcome, args.interval or "t"))
    sys.stdout.write(render(document, args.format) + "\n")
    sys.stdout.flush()
    if args.results_file is not None:
        written = render(document, ENDINGS[args.results_file.suffix.lower()])
        write_file(args.results_file, written + "\n", "--results-file")


def _operators(args: argparse.Namespace, study: "ListStudy") -> int:
    """Print what operators cost by kernel size (Figure 3), and write the page."""
    from archsearch.ablation.measure import operator_costs
    from archsearch.cli.report import page_path
    from archsearch.report.kernel_costs import figure_html, kernel_figure, kernels_table, kernels_title
    from archsearch.utils.tables import render

    for name in ("only", "pairs", "importance", "weights", "baseline", "dataset", "results_file"):
        if getattr(args, name) is not None:
            raise OptionError(f"{study.name} counts operators and trains nothing; leave --{name.replace('_', '-')} out")
    if args.format == "latex":
        raise OptionError("operators are printed as table, markdown, csv or json; give another --format")
    network: Any = study.baseline.network
    costs = operator_costs(study)
    title = kernels_title(network.dims[0], network.side(0))
    page = page_path(args.study_name or study.name, args.storage, args.page, "--page")
    write_file(page, figure_html(kernel_figure(costs, title)), "--page")
    sys.stdout.write(render(kernels_table(costs, title), args.format) + "\n")
    if not args.quiet:
        print(f"page: {page}", file=sys.stderr)
    return 0


def _check_results_file(args: argparse.Namespace, page: Path | None) -> None:
    """Check that a result may be written to its file: in a known format, and over nothing that is read or kept.

    Raises:
        UserError: It may not.
    """
    from archsearch.search.storage.opening import check_place, sqlite_path

    path = args.results_file
    if path is None:
        return
    if path.suffix.lower() not in ENDINGS:
        raise OptionError(f"--results-file {path}: the name must end in one of {', '.join(ENDINGS)}")
    taken = (args.study, args.baseline, args.outcome, page, sqlite_path(args.storage))
    if any(other is not None and Path(other).resolve() == path.resolve() for other in taken):
        raise OptionError(f"--results-file {path} would replace what this command reads or keeps; name another file")
    check_place(path, "--results-file")
    check_writable(path, "--results-file")


def _report_file(args: argparse.Namespace) -> int:
    """Report the result of an earlier ablation."""
    from archsearch.cli.report import page_path, write_ablation
    from archsearch.stats.paired import FEWEST_RESAMPLED

    for name, default in args.unasked.items():
        if getattr(args, name) != default:
            option = "the study" if name == "study" else f"--{name.replace('_', '-')}"
            raise OptionError(f"--from reads a result and trains nothing; leave {option} out")
    outcome = _read_outcome(args.outcome)
    if args.interval == "bootstrap" and len(outcome.seeds) < FEWEST_RESAMPLED:
        raise OptionError(f"--interval bootstrap needs {FEWEST_RESAMPLED} seeds, and {args.outcome} has fewer")
    _check_results_file(args, args.page)
    _print(args, outcome)
    if args.page:
        write_ablation(page_path(outcome.name, args.storage, args.page, "--page"), outcome, args.interval or "t")
    return 0


def _read_outcome(path: Path) -> "Outcome":
    from archsearch.ablation.outcome import Outcome

    try:
        return Outcome.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise OptionError(f"--from {path}: {error.strerror}") from None
    except (ValueError, UserError) as error:
        raise OptionError(f"--from {path}: {error}; name a result that ablate wrote as json") from None
