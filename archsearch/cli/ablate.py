"""Ablate: train a baseline and its variants with the same seeds, time them, and say what the differences are worth."""

import argparse
import contextlib
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from archsearch.cli.recipes import add_data, add_recipes, load_data, read_recipes, suited
from archsearch.errors import ArchsearchError, OptionError, StorageError, UserError

if TYPE_CHECKING:
    import optuna
    import torch

    from archsearch.arch import Arch
    from archsearch.cli.progress import Tally
    from archsearch.networks import TimmModel
    from archsearch.outcome import Outcome
    from archsearch.recipes import Bench, Proxy
    from archsearch.studyfile import ListStudy, Variant

#: As ``archsearch.report.ablation.FORMATS`` and ``archsearch.analysis.paired.METHODS``, which are slow to import.
FORMATS = ("table", "markdown", "latex", "csv", "json")
INTERVALS = ("t", "pooled", "bootstrap")
#: Recipes by kind of device: the shorter one of a CPU does not rank (see the README).
PROXY = {"cpu": "cpu_long", "gpu": "gpu"}
ENDINGS = {".md": "markdown", ".tex": "latex", ".csv": "csv", ".txt": "table"}


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
    add("--no-train", action="store_true", help="count and time only")
    add("--no-speed", action="store_true", help="count and train only")
    add("--workers", type=positive_int, metavar="N", help="trainings at a time (default: one per core; on a GPU 1)")
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (%(default)s)")
    add("--study-name", metavar="NAME", help="in the storage (default: ablate, study and data set)")
    add("--page", type=Path, metavar="FILE", help="the HTML page (default: beside the storage)")
    add("--results-file", type=Path, metavar="FILE", help="write the result here as well, by the name's ending or json")
    add_mixers(parser)
    add_storage(parser)
    add("-f", "--format", choices=FORMATS, default="table")
    add("-q", "--quiet", action="store_true", help="no progress")
    parser.set_defaults(unasked={name: parser.get_default(name) for name in ("study", "baseline", "only", "pairs")})


@dataclass(frozen=True)
class _Work:
    """What a command line asks for, checked; ``chosen`` is the study, or the factors of it that are wanted."""

    study: "ListStudy"
    chosen: "ListStudy"
    proxy: "Proxy"
    bench: "Bench"
    device: "torch.device"
    kind: str
    seeds: Sequence[int]
    name: str
    page: Path


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
    return _carry_out(args, work, args.importance or search)


def _check_statistics(args: argparse.Namespace) -> None:
    """What can be said about seeds before anything is read."""
    from archsearch.analysis.paired import FEWEST_RESAMPLED

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
    if args.no_train and args.no_speed:
        raise OptionError("--no-train and --no-speed leave only counting, which `describe` does; leave one out")


def _study(args: argparse.Namespace) -> "tuple[ListStudy, str | None, Proxy | None]":
    """The study, and of a found baseline the search that it comes from and its recipe."""
    from archsearch.arch import Arch
    from archsearch.networks import find
    from archsearch.shipped import shipped
    from archsearch.studyfile import load_study

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


def _found(args: argparse.Namespace) -> "tuple[ListStudy, str, Proxy]":
    from archsearch.recipes import Proxy
    from archsearch.search.records import trials_of
    from archsearch.search.storage import open_storage
    from archsearch.search.study import load, recipe_of
    from archsearch.shipped import shipped
    from archsearch.space import space_from_dict
    from archsearch.studyfile import around, load_study

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
    return study, name, Proxy(**recipe["proxy"])


def _operators(args: argparse.Namespace, study: "ListStudy") -> int:
    """Figure 3: counted, not trained."""
    from archsearch.cli.report import page_path
    from archsearch.measure.operators import kernel_costs
    from archsearch.report.kernels import figure_html, kernel_figure, kernels_as, kernels_title

    if args.format == "latex":
        raise OptionError("operators are told as table, markdown, csv or json; give another --format")
    network: Any = study.baseline.network
    costs = kernel_costs(network.dims[0], network.side(0), study.kernel_sizes)
    title = kernels_title(network.dims[0], network.side(0))
    page = page_path(args.study_name or study.name, args.storage, args.page, "--page")
    write_file(page, figure_html(kernel_figure(costs, title)), "--page")
    sys.stdout.write(kernels_as(args.format, costs, title) + "\n")
    if not args.quiet:
        print(f"page: {page}", file=sys.stderr)
    return 0


def _work(args: argparse.Namespace, study: "ListStudy", proxy: "Proxy | None") -> _Work:
    """Everything that the user may have got wrong is checked here, before anything is written."""
    from archsearch.cli.report import page_path
    from archsearch.recipes import check_dataset, override
    from archsearch.search.storage import check_place, check_storage

    chosen = study if args.only is None else study.only([name.strip() for name in args.only.split(",")])
    dataset = args.dataset or "drawn"
    args.no_train |= not study.train and args.dataset is None
    args.dataset = dataset
    check_dataset(dataset, args.data_root)
    recipes = {k: read_recipes(args, k, PROXY[k], study.proxy, study.changes[k]) for k in ("cpu", "gpu")}
    check_storage(args.storage, create=True)
    name = args.study_name or "-".join(("ablate", study.name, *([] if args.no_train else [dataset])))
    page = page_path(name, args.storage, args.page, "--page")
    if args.results_file is not None:
        check_place(args.results_file, "--results-file")
        check_writable(args.results_file, "--results-file")

    from archsearch.ablation import check_stand_ins
    from archsearch.measure.device import pick_device

    device = pick_device(args.device)
    kind = "cpu" if device.type == "cpu" else "gpu"
    made, bench = recipes[kind]
    if proxy is not None and args.proxy is None:
        made = override(proxy, _asked(args))
    if not args.no_train:
        check_stand_ins(chosen, made)
    bench = replace(suited(args, bench, device), reference=study.baseline.name)
    return _Work(study, chosen, made, bench, device, kind, range(args.seed, args.seed + args.seeds), name, page)


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    from archsearch.cli.options import assignments

    return assignments(args.set, ("proxy", "bench"))["proxy"] | ({"epochs": args.epochs} if args.epochs else {})


def _carry_out(args: argparse.Namespace, work: _Work, search: str | None) -> int:
    from archsearch.cli.progress import Tally
    from archsearch.measure.device import device_name, environment
    from archsearch.outcome import Outcome
    from archsearch.recipes import TRAINER
    from archsearch.search.ablation import create_or_resume
    from archsearch.search.engine import sole_owner
    from archsearch.search.storage import lock_path, open_storage

    data = None if args.no_train else load_data(args, work.proxy, work.device)
    recipe: dict[str, Any] = {
        "version": 1,
        "ablation": work.study.name,
        "space_name": work.study.name,
        "objectives": ["accuracy"],
        "bench": asdict(work.bench),
        "device": device_name(work.device),
    }
    if data is not None:
        samples = {"train_samples": len(data.train), "val_samples": len(data.val)}
        recipe |= {"proxy": asdict(work.proxy), "trainer": TRAINER}
        recipe["data"] = {"name": data.name, "fingerprint": data.fingerprint, **samples}
    del data  # workers load their own
    storage, tally = open_storage(args.storage, create=True), Tally(args.quiet)
    with sole_owner(work.name, lock_path(args.storage, work.name)):
        record = create_or_resume(work.name, recipe, storage)
        told = {**recipe, "environment": environment(work.device)}
        outcome = Outcome(
            work.study.name, work.study.title, (), told, _command(args), work.study.device, work.study.full
        )
        try:
            outcome = _measured(args, work, record, outcome, tally)
            outcome = _importance(args, outcome, search)
            if not args.no_train:
                outcome = _trained(args, work, record, outcome, tally)
        except BaseException:
            with contextlib.suppress(ArchsearchError):  # what ended it matters more
                _show(args, work, record)
            raise
        return _show(args, work, record)


def _command(args: argparse.Namespace) -> str:
    """The command line, without the passwords of its storage."""
    from archsearch.search.storage import masked

    words = ["python", "cli.py", *sys.argv[1:]]
    return shlex.join(word.replace(args.storage, masked(args.storage)) for word in words)


def _measured(
    args: argparse.Namespace, work: _Work, record: "optuna.Study", outcome: "Outcome", tally: "Tally"
) -> "Outcome":
    """Counts and times; what the record knows from before is kept."""
    from archsearch.ablation import counted, timed
    from archsearch.data.folder import cache_folder
    from archsearch.measure.device import environment
    from archsearch.search.ablation import OUTCOME, outcome_of, set_outcome
    from archsearch.speed.timer import Timer, Timings

    before = outcome_of(record) if OUTCOME in record.user_attrs else None
    known = {result.name: result for result in before.results} if before else {}
    keep = before is not None and before.recipe["bench"] == outcome.recipe["bench"] and not args.remeasure
    tally.say(f"{work.study.title}\ncounting {len(work.study.variants)} networks")
    results = {result.name: result for result in counted(work.study, known)}
    for name, result in results.items():
        if keep and name in known and known[name].network == result.network:
            results[name] = replace(result, speeds=known[name].speeds)
    if before and before.pairs:  # of an earlier run with --pairs
        results |= {n: r for n, r in known.items() if len(r.parts) == 2 and {*r.parts} <= {*results}}
        outcome = replace(outcome, pairs=before.pairs)
    outcome = replace(outcome, results=tuple(results.values()))
    set_outcome(record, outcome)
    wanted = [v for v in work.chosen.variants if not results[v.name].speeds or "error" in results[v.name].speeds]
    if args.no_speed or not wanted:
        return outcome
    timer = Timer(
        work.bench,
        str(work.device),
        Timings(cache_folder() / "timings", environment(work.device)),
        args.mixers,
        on_wait=lambda holder: tally.say(f"waiting for the device: {holder}"),
        remeasure=args.remeasure,
        reference=_timed(work, work.study.baseline),
    )
    with timer:
        for number, variant in enumerate(wanted, 1):
            speeds = timed(_timed(work, variant), timer)
            results[variant.name] = replace(results[variant.name], speeds=speeds)
            tally.say(_timing_line(number, len(wanted), results[variant.name]))
            outcome = replace(outcome, results=tuple(results.values()))
            set_outcome(record, outcome)
    return outcome


def _timed(work: _Work, variant: "Variant") -> "Arch | TimmModel":
    """The network at the resolution that it is timed with."""
    network = work.study.timed(variant, work.kind)
    return replace(network, img_size=work.bench.img_size) if work.bench.img_size else network


def _timing_line(number: int, total: int, result: Any) -> str:
    if "error" in result.speeds:
        return f"[{number}/{total}] {result.name}: not timed: {result.speeds['error']['error']}"
    speeds = []
    for speed, detail in result.speeds.items():
        ratio = "" if detail["ratio"] is None else f", ratio {detail['ratio']:.3f}"  # the baseline could not be timed
        speeds.append(f"{speed} {detail['throughput']:.1f} img/s{ratio}")
    return f"[{number}/{total}] {result.name}: {'; '.join(speeds)}"


def _importance(args: argparse.Namespace, outcome: "Outcome", search: str | None) -> "Outcome":
    """What a search says of its axes; of the baseline's own only where it has enough trials."""
    if search is None:
        return outcome
    from archsearch.search.importance import importance
    from archsearch.search.storage import open_storage
    from archsearch.search.study import load, objectives_of

    try:
        record = load(search, open_storage(args.storage, create=False))
        names = [objective.name for objective in objectives_of(record)]
        if "accuracy" not in names:
            raise StorageError(f"study {search!r} has no accuracy to explain; name another --importance")
        found = importance(record, names.index("accuracy"))
    except UserError:
        if args.importance:
            raise
        return outcome
    return replace(outcome, importance={"study": search, "axes": [asdict(axis) for axis in found]})


def _trained(
    args: argparse.Namespace, work: _Work, record: "optuna.Study", outcome: "Outcome", tally: "Tally"
) -> "Outcome":
    """Trains what the record does not know yet: the study's variants, then pairs of them."""
    from archsearch.ablation import all_pairs, split_seeds, to_screen, to_test, trainings, with_variants
    from archsearch.search.ablation import set_outcome, with_accuracies

    set_outcome(record, outcome)
    asked = trainings(work.chosen.variants, work.seeds)
    _train(args, work, record, asked[: args.n_trials], tally)
    if not args.pairs or (args.n_trials is not None and args.n_trials < len(asked)):
        return outcome
    outcome = with_accuracies(outcome, record)
    pairs = all_pairs(work.chosen, outcome, work.proxy)
    if not pairs:
        raise OptionError("--pairs: no two variants of different factors can be combined; leave it out")
    screening, testing = split_seeds(len(pairs), args.pairs, work.seeds)
    if not testing or len(testing) < 2:
        raise OptionError(f"--pairs {args.pairs}: {len(pairs)} pairs ask for screening, and that for --seeds 3 or more")
    study = work.chosen
    outcome = replace(outcome, pairs={"screened": list(screening), "tested": list(testing)})
    for stage in ("screened", "tested"):
        if stage == "screened":
            jobs = to_screen(pairs, args.pairs, screening)
        else:
            jobs = to_test(pairs, with_accuracies(outcome, record), args.pairs, screening, testing)
        if not jobs:
            continue
        tally.say(f"pairs, {stage} with {len({seed for _, seed in jobs})} seeds: {len({v.name for v, _ in jobs})}")
        study, outcome = with_variants(study, outcome, [variant for variant, _ in jobs])
        set_outcome(record, outcome)
        _train(args, work, record, jobs, tally)
    return outcome


def _train(
    args: argparse.Namespace,
    work: _Work,
    record: "optuna.Study",
    asked: "Sequence[tuple[Variant, int]]",
    tally: "Tally",
) -> None:
    from archsearch.measure.device import environment
    from archsearch.pool import Source, TrainJob, default_workers, train_all
    from archsearch.search.ablation import add, trainings

    known = {} if args.retrain else trainings(record)
    missing = [(v, seed, _arch(v)) for v, seed in asked if (_arch(v).key, seed) not in known]
    jobs = [TrainJob(arch, work.proxy, seed) for _, seed, arch in missing]
    if not jobs:
        return
    if len(jobs) < len(asked):
        tally.say(f"{len(asked) - len(jobs)} trainings are known")
    tally.begin(len(jobs), len(jobs))
    source = Source(args.dataset, args.data_root, str(work.device), tuple(args.mixers), args.retrain)
    facts = environment(work.device)
    for index, evaluation in train_all(jobs, source, args.workers or default_workers(work.device)):
        variant, seed, arch = missing[index]
        add(record, variant.name, arch, seed, evaluation, facts)
        seconds = sum(epoch.seconds for epoch in evaluation.curve)
        told = {"rung": variant.factor or "baseline", "seed": seed, "network": variant.name, "seconds": seconds}
        tally.tell({**told, "accuracy": evaluation.scores.get("accuracy"), "error": evaluation.error}, 1)


def _arch(variant: "Variant") -> "Arch":
    from archsearch.arch import Arch

    assert isinstance(variant.network, Arch)  # noqa: S101 - trainings are of these alone
    return variant.network


def _show(args: argparse.Namespace, work: _Work, record: "optuna.Study") -> int:
    """Prints the tables and writes the page, from the record alone."""
    from archsearch.cli.report import write_ablation
    from archsearch.search.ablation import outcome_of
    from archsearch.search.storage import masked

    outcome = outcome_of(record).of({variant.name for variant in work.chosen.variants})
    _tell(args, outcome)
    write_ablation(work.page, outcome, args.interval or "t")
    if not args.quiet:
        print(f"study {work.name} in {masked(args.storage)}\npage: {work.page}", file=sys.stderr)
    if outcome.seeds and not any(result.accuracies for result in outcome.results):
        raise ArchsearchError(f"all trainings failed; {next(iter(outcome.baseline.errors.values()), 'see the table')}")
    return 0


def _tell(args: argparse.Namespace, outcome: "Outcome") -> None:
    from archsearch.report.ablation import FORMATS as WRITERS
    from archsearch.report.ablation import Report

    report = Report.of(outcome, args.interval or "t")
    sys.stdout.write(WRITERS[args.format](report) + "\n")
    sys.stdout.flush()
    if args.results_file is not None:
        written = WRITERS[ENDINGS.get(args.results_file.suffix.lower(), "json")](report)
        write_file(args.results_file, written + "\n", "--results-file")


def _retold(args: argparse.Namespace) -> int:
    """Tells of an earlier result."""
    from archsearch.cli.report import page_path, write_ablation
    from archsearch.outcome import Outcome

    for name, default in args.unasked.items():
        if getattr(args, name) != default:
            raise OptionError(f"--from reads a result and trains nothing; leave {name} out")
    try:
        outcome = Outcome.from_dict(json.loads(args.outcome.read_text(encoding="utf-8")))
    except OSError as error:
        raise OptionError(f"--from {args.outcome}: {error.strerror}") from None
    except (ValueError, UserError) as error:
        raise OptionError(f"--from {args.outcome}: {error}; name a result that ablate wrote as json") from None
    _tell(args, outcome)
    if args.page:
        write_ablation(page_path(outcome.name, args.storage, args.page, "--page"), outcome, args.interval or "t")
    return 0
