"""Ablate: train a baseline and its variants with the same seeds, time them, and say what the differences are worth."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.cli.ablation import ENDINGS, Work, carry_out, tell
from archsearch.cli.models import STUDY
from archsearch.cli.options import (
    add_mixers,
    add_storage,
    check_writable,
    load_own_mixers,
    natural,
    positive_int,
    write_file,
)
from archsearch.cli.recipe_options import add_data, add_recipes, asked_changes, precision_asked, read_recipes
from archsearch.errors import OptionError, UserError

if TYPE_CHECKING:
    from archsearch.ablation.variants import ListStudy, Variant
    from archsearch.recipes import ProxyRecipe

#: As ``archsearch.ablation.tables.FORMATS`` and ``archsearch.stats.paired.METHODS``, which are slow to import.
FORMATS = ("table", "markdown", "latex", "csv", "json")
INTERVALS = ("t", "pooled", "bootstrap")
#: Recipes by kind of device: the shorter one of a CPU does not rank (see the README).
PROXY = {"cpu": "cpu_long", "gpu": "gpu"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add = parser.add_argument
    add("study", nargs="?", metavar="STUDY|FILE", help="a study's name (see studies/) or a YAML file")
    add("--from", dest="outcome", type=Path, metavar="FILE.json", help="tell of such a --results-file, train nothing")
    add("--baseline", metavar="MODEL", help="another baseline: a name, a .json, or study:NAME#TRIAL of a search")
    add("--only", metavar="LIST", help="factors, between commas")
    add("--seeds", type=positive_int, default=3, metavar="N", help="trainings of each network (%(default)s)")
    add("--seed", type=natural, default=0, metavar="N", help="the first of them (%(default)s)")
    add("--interval", choices=INTERVALS, help="of differences: t, pooled over all networks, bootstrap (default: t)")
    add("--pairs", type=positive_int, metavar="N", help="also: pairs of variants, in at most N trainings")
    add("--importance", metavar="NAME", help="also: what a search says of its axes (default: the baseline's search)")
    add_data(parser, default=None)
    add("--n-trials", "--trials", type=positive_int, metavar="N", help="at most so many trainings in all")
    add_recipes(parser, proxy="cpu_long on a CPU, gpu on a GPU")
    add("--weights", metavar="hub|DIR", help="top-1 of trained weights on the images in --data-root DIR/val instead")
    add("--no-train", action="store_true", help="count and time only")
    add("--no-speed", action="store_true", help="count and train only")
    add("--workers", type=positive_int, metavar="N", help="trainings at a time (default: one per core; on a GPU 1)")
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (%(default)s)")
    add("--study-name", metavar="NAME", help="in the storage (default: ablate, study and data set)")
    add("--page", type=Path, metavar="FILE", help="the HTML page (default: beside the storage)")
    add("--results-file", type=Path, metavar="FILE", help="write the result here as well: .json, .md, .tex, .csv, .txt")
    add_mixers(parser)
    add_storage(parser)
    add("-f", "--format", choices=FORMATS, default="table")
    add("-q", "--quiet", action="store_true", help="no progress")
    told = ("help", "outcome", "interval", "format", "page", "results_file", "quiet", "storage", "mixers")
    names = [action.dest for action in parser._actions if action.dest not in told]
    parser.set_defaults(unasked={name: parser.get_default(name) for name in names})


def run(args: argparse.Namespace) -> int:
    """Carries out an ablation, or what is missing of it; prints its table and writes its page."""
    if args.outcome is not None:
        return _retold(args)
    if args.study is None and args.baseline is None:
        raise OptionError("name a STUDY (see studies/), or --baseline study:NAME#TRIAL for what a search found")
    _check_statistics(args)
    load_own_mixers(args.mixers)
    study, search, proxy = _study(args)
    if study.kernel_sizes:
        return _operators(args, study)
    work = _work(args, study, proxy)
    return carry_out(args, work, args.importance or search)


def _check_statistics(args: argparse.Namespace) -> None:
    """What can be said about seeds before anything is read."""
    from archsearch.stats.paired import FEWEST_RESAMPLED

    if args.interval and args.seeds < 2:
        raise OptionError(
            f"--interval {args.interval} needs at least two seeds; give --seeds 3, or leave --interval out"
        )
    if args.interval == "bootstrap" and args.seeds < FEWEST_RESAMPLED:
        raise OptionError(
            f"--interval bootstrap needs --seeds {FEWEST_RESAMPLED} or more; with fewer, t is the honest one"
        )
    if args.pairs and args.no_train:
        raise OptionError("--pairs are trained; leave --no-train out")
    if args.weights is not None:
        if args.data_root is None or args.pairs:
            raise OptionError(
                "--weights are tried on --data-root DIR, whose val/ has ImageNet's classes; nothing is trained"
            )
        args.no_train = True
    if args.no_train and args.no_speed and args.weights is None:
        raise OptionError("--no-train and --no-speed leave only counting, which `describe` does; leave one out")


def _study(args: argparse.Namespace) -> "tuple[ListStudy, str | None, ProxyRecipe | None]":
    """The study, and of a found baseline the search that it comes from and its recipe, whose data is the default."""
    from archsearch.ablation.yaml import load_study
    from archsearch.arch import Arch
    from archsearch.arch.networks import find
    from archsearch.utils.package_data import shipped

    if args.baseline is None:
        return load_study(args.study, shipped("studies")), None, None
    if not args.baseline.startswith(STUDY):
        if args.study is None:
            raise OptionError("--baseline alone must be study:NAME#TRIAL, whose space says what can be changed")
        network = find(args.baseline)
        if not isinstance(network, Arch):
            raise OptionError(f"--baseline {args.baseline} comes ready made from timm and has no parts to change")
        return load_study(args.study, shipped("studies"), (args.baseline, network)), None, None
    return _found(args)


def _found(args: argparse.Namespace) -> "tuple[ListStudy, str, ProxyRecipe]":
    from archsearch.ablation.variants import around
    from archsearch.ablation.yaml import load_study
    from archsearch.recipes import ProxyRecipe
    from archsearch.search.definition import load, recipe_of
    from archsearch.search.storage.opening import open_storage
    from archsearch.search.storage.records import trials_of
    from archsearch.space.space import space_from_dict
    from archsearch.utils.package_data import shipped

    name, mark, number = args.baseline.removeprefix(STUDY).rpartition("#")
    if not mark or not number.isascii() or not number.isdigit():
        raise OptionError(f"--baseline {args.baseline}: write study:NAME#TRIAL with the number of a trial")
    record = load(name, open_storage(args.storage, create=False))
    recipe = recipe_of(record)
    if "space" not in recipe:
        raise OptionError(f"--baseline {args.baseline}: {name!r} is an ablation; name a trial of a search")
    trial = next((trial for trial in trials_of(record) if trial.number == int(number)), None)
    if trial is None:
        raise OptionError(f"study {name!r} has no finished trial {number} with an architecture of its own")
    if args.study is not None:
        study = load_study(args.study, shipped("studies"), (args.baseline, trial.arch))
    else:
        space = space_from_dict(recipe["space_name"], recipe["space"])
        study = around(args.baseline, space, trial.params, trial.arch)
    if args.dataset is None:
        args.dataset = recipe["data"]["name"]
    return study, name, ProxyRecipe(**recipe["proxy"])


def _operators(args: argparse.Namespace, study: "ListStudy") -> int:
    """Figure 3: counted, not trained."""
    from archsearch.cli.report import page_path
    from archsearch.complexity.operators import kernel_costs
    from archsearch.report.kernel_costs import figure_html, kernel_figure, kernels_table, kernels_title
    from archsearch.utils.tables import render

    for name in ("only", "pairs", "importance", "weights", "baseline", "dataset", "results_file"):
        if getattr(args, name) is not None:
            raise OptionError(f"{study.name} counts operators and trains nothing; leave --{name.replace('_', '-')} out")
    if args.format == "latex":
        raise OptionError("operators are told as table, markdown, csv or json; give another --format")
    network: Any = study.baseline.network
    costs = kernel_costs(network.dims[0], network.side(0), study.kernel_sizes)
    title = kernels_title(network.dims[0], network.side(0))
    page = page_path(args.study_name or study.name, args.storage, args.page, "--page")
    write_file(page, figure_html(kernel_figure(costs, title)), "--page")
    sys.stdout.write(render(kernels_table(costs, title), args.format) + "\n")
    if not args.quiet:
        print(f"page: {page}", file=sys.stderr)
    return 0


def _work(args: argparse.Namespace, study: "ListStudy", proxy: "ProxyRecipe | None") -> Work:
    """Everything that the user may have got wrong is checked here, before anything is written."""
    from archsearch.cli.report import page_path
    from archsearch.recipes import check_dataset, override
    from archsearch.search.storage.opening import check_storage

    chosen = study if args.only is None else study.only([name.strip() for name in args.only.split(",")])
    dataset = args.dataset or "drawn"
    args.no_train |= not study.train and args.dataset is None
    if args.weights is not None and not any(_weights(variant) for variant in chosen.variants):
        raise OptionError(f"--weights: study {study.name} names none; imagenet_table4 does")
    args.dataset = dataset
    check_dataset(dataset, args.data_root)
    recipes = {k: read_recipes(args, k, PROXY[k], study.proxy, study.changes[k]) for k in ("cpu", "gpu")}
    check_storage(args.storage, create=True)
    words = ["ablate", study.name, *([args.baseline] if args.baseline and args.study else [])]
    name = args.study_name or "-".join([*words, *([] if args.no_train else [dataset])])
    page = page_path(name, args.storage, args.page, "--page")
    check_writable(page, "--page")
    _check_results_file(args, page)
    if args.importance is not None:
        from archsearch.search.definition import load
        from archsearch.search.storage.opening import open_storage

        load(args.importance, open_storage(args.storage, create=False))

    from archsearch.ablation.measure import check_proxies
    from archsearch.benchmark.timed_steps import suited
    from archsearch.nn.device import pick_device

    device = pick_device(args.device)
    kind = "cpu" if device.type == "cpu" else "gpu"
    made, bench = recipes[kind]
    if proxy is not None and args.proxy is None:
        made = override(proxy, {**study.proxy, **asked_changes(args)["proxy"]})
    if not args.no_train:
        check_proxies(chosen, made)
    seeds = range(args.seed, args.seed + args.seeds)
    if args.pairs:
        from archsearch.ablation.pairs import all_pairs, plan_pairs

        plan_pairs(len(all_pairs(chosen, made)), args.pairs, seeds)
    bench = replace(suited(bench, precision_asked(args), str(device)), reference=study.baseline.name)
    return Work(study, chosen, made, bench, device, kind, seeds, name, page)


def _check_results_file(args: argparse.Namespace, page: Path | None) -> None:
    """Whether a result may be written where it is wanted: in a known form, and over nothing that is read or kept.

    Raises:
        UserError: it may not.
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


def _weights(variant: "Variant") -> str | None:
    """Timm's name for the weights of a row."""
    return variant.row.figures.get("weights") if variant.row else None


def _retold(args: argparse.Namespace) -> int:
    """Tells of an earlier result."""
    from archsearch.ablation.outcome import Outcome
    from archsearch.cli.report import page_path, write_ablation
    from archsearch.stats.paired import FEWEST_RESAMPLED

    for name, default in args.unasked.items():
        if getattr(args, name) != default:
            option = "the study" if name == "study" else f"--{name.replace('_', '-')}"
            raise OptionError(f"--from reads a result and trains nothing; leave {option} out")
    try:
        outcome = Outcome.from_dict(json.loads(args.outcome.read_text(encoding="utf-8")))
    except OSError as error:
        raise OptionError(f"--from {args.outcome}: {error.strerror}") from None
    except (ValueError, UserError) as error:
        raise OptionError(f"--from {args.outcome}: {error}; name a result that ablate wrote as json") from None
    if args.interval == "bootstrap" and len(outcome.seeds) < FEWEST_RESAMPLED:
        raise OptionError(f"--interval bootstrap needs {FEWEST_RESAMPLED} seeds, and {args.outcome} has fewer")
    _check_results_file(args, args.page)
    tell(args, outcome)
    if args.page:
        write_ablation(page_path(outcome.name, args.storage, args.page, "--page"), outcome, args.interval or "t")
    return 0
