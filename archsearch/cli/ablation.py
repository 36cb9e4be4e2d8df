"""An ablation under way: counted, timed, trained, recorded and told."""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.cli.options import write_file
from archsearch.cli.recipe_options import command_line, load_data
from archsearch.errors import ArchsearchError, StorageError, UserError

if TYPE_CHECKING:
    import optuna
    import torch

    from archsearch.ablation.outcome import Outcome
    from archsearch.ablation.variants import ListStudy, Variant
    from archsearch.arch import Arch
    from archsearch.arch.networks import TimmModel
    from archsearch.cli.progress import Tally
    from archsearch.recipes import BenchRecipe, ProxyRecipe

#: Formats of files by the ending of their names.
ENDINGS = {".json": "json", ".md": "markdown", ".tex": "latex", ".csv": "csv", ".txt": "table"}


@dataclass(frozen=True)
class Work:
    """What a command line asks for, checked; ``chosen`` is the study, or the factors of it that are wanted."""

    study: "ListStudy"
    chosen: "ListStudy"
    proxy: "ProxyRecipe"
    bench: "BenchRecipe"
    device: "torch.device"
    kind: str
    seeds: Sequence[int]
    name: str
    page: Path


def carry_out(args: argparse.Namespace, work: Work, search: str | None) -> int:
    """Does what is missing, prints the tables and writes the page; returns the exit code.

    Args:
        args: of the verb.
        work: what they ask for.
        search: a study whose importances are told beside.
    """
    from archsearch.ablation.measure import key_of
    from archsearch.ablation.outcome import Outcome
    from archsearch.ablation.record import create_or_resume
    from archsearch.cli.progress import Tally
    from archsearch.nn.device import device_name, environment
    from archsearch.recipes import TRAINER
    from archsearch.search.definition import own_mixers, recipe_of
    from archsearch.search.storage.lock import owned
    from archsearch.search.storage.opening import open_storage

    data = None if args.no_train else load_data(args, work.proxy, work.device)
    recipe: dict[str, Any] = {
        "version": 1,
        "ablation": work.study.name,
        "space_name": work.study.name,
        "objectives": ["accuracy"],
        "bench": asdict(work.bench),
        "baseline": key_of(work.study.baseline.network),
        "timed": {"resolution": work.study.resolutions[work.kind]},
        "device": device_name(work.device),
        "mixers": own_mixers(_token_mixers(work.study)),
    }
    if data is not None:
        samples = {"train_samples": len(data.train), "val_samples": len(data.val)}
        recipe |= {"proxy": asdict(work.proxy), "trainer": TRAINER}
        recipe["data"] = {"name": data.name, "fingerprint": data.fingerprint, **samples}
    del data  # workers load their own
    storage, tally = open_storage(args.storage, create=True), Tally(args.quiet)
    with owned(work.name, args.storage):
        record = create_or_resume(work.name, recipe, storage)
        told = {**recipe_of(record), "environment": environment(work.device)}
        outcome = Outcome(
            work.study.name, work.study.title, (), told, command_line(args.storage), work.study.device, work.study.full
        )
        try:
            outcome = _counted(args, work, record, outcome, tally)
            if not args.no_speed:
                outcome = _measured(args, work, record, outcome, tally)
            if args.weights is not None:
                outcome = _weighed(args, work, record, outcome, tally)
            outcome = _importance(args, record, outcome, search)
            if not args.no_train:
                outcome = _trained(args, work, record, outcome, tally)
        except BaseException:
            with contextlib.suppress(ArchsearchError):  # what ended it matters more
                _show(args, work, record)
            raise
        return _show(args, work, record)


def _token_mixers(study: "ListStudy") -> set[str]:
    from archsearch.arch import Arch

    networks = [variant.network for variant in study.variants]
    return {mixer.token_mixer for n in networks if isinstance(n, Arch) for mixer in n.mixers}


def _counted(
    args: argparse.Namespace, work: Work, record: "optuna.Study", outcome: "Outcome", tally: "Tally"
) -> "Outcome":
    """The outcome with every network of the study, and what the record knows of them from before."""
    from archsearch.ablation.measure import carried, counted
    from archsearch.ablation.record import OUTCOME, outcome_of, set_outcome

    before = outcome_of(record) if OUTCOME in record.user_attrs else None
    known = {result.name: result for result in before.results} if before else {}
    recipes = [{name: o.recipe.get(name) for name in ("bench", "timed")} for o in (outcome, before) if o]
    keep = before is not None and recipes[0] == recipes[1] and not args.remeasure
    tally.say(f"{work.study.title}\ncounting {len(work.study.variants)} networks")
    results = counted(work.study, known)
    for place, result in enumerate(results):
        old = known.get(result.name)
        if old and old.key == result.key:
            results[place] = replace(result, speeds=old.speeds if keep else {}, trained=old.trained)
    if before:
        results = carried(work.study, results, before)
        outcome = replace(outcome, pairs=before.pairs, importance=before.importance)
    outcome = replace(outcome, results=tuple(results))
    set_outcome(record, outcome)
    return outcome


def _measured(
    args: argparse.Namespace, work: Work, record: "optuna.Study", outcome: "Outcome", tally: "Tally"
) -> "Outcome":
    """Times the networks that are wanted and have no speeds yet."""
    from archsearch.ablation.measure import timed
    from archsearch.ablation.record import set_outcome
    from archsearch.benchmark.timer import Timer, Timings
    from archsearch.data.folder import cache_folder
    from archsearch.nn.device import environment

    results = {result.name: result for result in outcome.results}
    wanted = [v for v in work.chosen.variants if not results[v.name].speeds or "error" in results[v.name].speeds]
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


def _timed(work: Work, variant: "Variant") -> "Arch | TimmModel":
    """The network at the resolution that it is timed with."""
    network = work.study.timed(variant, work.kind)
    return replace(network, img_size=work.bench.img_size) if work.bench.img_size else network


def _weighed(
    args: argparse.Namespace, work: Work, record: "optuna.Study", outcome: "Outcome", tally: "Tally"
) -> "Outcome":
    """Tries trained weights; those that the record knows are not tried again."""
    from archsearch.ablation.record import set_outcome
    from archsearch.evaluate.pretrained import trained_top1

    folder = None if args.weights == "hub" else Path(args.weights)
    results = {result.name: result for result in outcome.results}
    for variant in work.chosen.variants:
        weights = variant.row.figures.get("weights") if variant.row else None
        if not weights or results[variant.name].trained.get("weights") == weights:
            continue
        trained = trained_top1(weights, folder, args.data_root, work.device)
        tally.say(f"{variant.name}: {trained['correct']} of {trained['images']} with {weights}")
        results[variant.name] = replace(results[variant.name], trained=trained)
        outcome = replace(outcome, results=tuple(results.values()))
        set_outcome(record, outcome)
    return outcome


def _timing_line(number: int, total: int, result: Any) -> str:
    if "error" in result.speeds:
        return f"[{number}/{total}] {result.name}: not timed: {result.speeds['error']['error']}"
    speeds = []
    for speed, detail in result.speeds.items():
        ratio = "" if detail["ratio"] is None else f", ratio {detail['ratio']:.3f}"  # the baseline could not be timed
        speeds.append(f"{speed} {detail['throughput']:.1f} img/s{ratio}")
    return f"[{number}/{total}] {result.name}: {'; '.join(speeds)}"


def _importance(args: argparse.Namespace, record: "optuna.Study", outcome: "Outcome", search: str | None) -> "Outcome":
    """What a search says of its axes; of the baseline's own only where it has enough trials."""
    if search is None:
        return outcome
    from archsearch.ablation.record import set_outcome
    from archsearch.search.definition import load, objectives_of
    from archsearch.search.importance import importance
    from archsearch.search.storage.opening import open_storage

    try:
        searched = load(search, open_storage(args.storage, create=False))
        names = [objective.name for objective in objectives_of(searched)]
        if "accuracy" not in names:
            raise StorageError(f"study {search!r} has no accuracy to explain; name another --importance")
        found = importance(searched, names.index("accuracy"))
    except UserError:
        if args.importance:
            raise
        return outcome
    outcome = replace(outcome, importance={"study": search, "axes": [asdict(axis) for axis in found]})
    set_outcome(record, outcome)
    return outcome


def _trained(
    args: argparse.Namespace, work: Work, record: "optuna.Study", outcome: "Outcome", tally: "Tally"
) -> "Outcome":
    """Trains what the record does not know yet: the study's variants, then pairs of them."""
    from archsearch.ablation.measure import trainings

    asked = trainings(work.chosen.variants, work.seeds)
    _train(args, work, record, asked[: args.n_trials], tally)
    if args.pairs and args.n_trials is not None and args.n_trials <= len(asked):
        tally.say(f"--n-trials {args.n_trials} leaves none for pairs: there are {len(asked)} without them")
    elif args.pairs:
        most = args.pairs if args.n_trials is None else min(args.pairs, args.n_trials - len(asked))
        return _pairs(args, work, record, outcome, tally, most)
    return outcome


def _pairs(
    args: argparse.Namespace, work: Work, record: "optuna.Study", outcome: "Outcome", tally: "Tally", most: int
) -> "Outcome":
    """Screens pairs and tests those that stand out, in at most so many trainings."""
    from archsearch.ablation.measure import with_variants
    from archsearch.ablation.pairs import all_pairs, plan_pairs, to_screen, to_test
    from archsearch.ablation.record import set_outcome, with_accuracies

    pairs, study = all_pairs(work.chosen, work.proxy), work.chosen
    used = outcome.pairs.get("screened", [])
    budget = plan_pairs(len(pairs), most, work.seeds, used)
    told = {"screened": sorted({*used, *budget.screening}), "tested": list(budget.testing)}
    outcome = replace(outcome, pairs=told)
    if budget.screening:
        jobs = to_screen(pairs, with_accuracies(outcome, record), budget)
        pairs = _unique(jobs)
        tally.say(f"{len(pairs)} pairs are screened, with seeds {', '.join(map(str, budget.screening))}")
        study, outcome = with_variants(study, outcome, pairs)
        set_outcome(record, outcome)
        _train(args, work, record, jobs, tally)
    jobs = to_test(pairs, with_accuracies(outcome, record), budget)
    tally.say(f"{len(_unique(jobs))} pairs are tested, with seeds {', '.join(map(str, budget.testing))}")
    study, outcome = with_variants(study, outcome, _unique(jobs))
    set_outcome(record, outcome)
    _train(args, work, record, jobs, tally)
    return outcome


def _unique(jobs: "Sequence[tuple[Variant, int]]") -> "list[Variant]":
    return list({variant.name: variant for variant, _ in jobs}.values())


def _train(
    args: argparse.Namespace,
    work: Work,
    record: "optuna.Study",
    asked: "Sequence[tuple[Variant, int]]",
    tally: "Tally",
) -> None:
    from archsearch.ablation.record import add, trainings
    from archsearch.evaluate.pool import Machine, Source, TrainJob, default_workers, train_all
    from archsearch.nn.device import environment

    known = {} if args.retrain else {key for key, trained in trainings(record).items() if trained.settled}
    missing = [(v, seed, _arch(v)) for v, seed in asked if (_arch(v).key, seed) not in known]
    jobs = [TrainJob(arch, work.proxy, seed) for _, seed, arch in missing]
    if not jobs:
        return
    if len(jobs) < len(asked):
        tally.say(f"{len(asked) - len(jobs)} trainings are known")
    tally.begin(len(jobs), len(jobs))
    source = Source(args.dataset, args.data_root, tuple(args.mixers), args.retrain)
    devices = (str(work.device),)
    machine = Machine.here(devices, args.workers or default_workers(devices), threads=1)
    facts = environment(work.device)
    for index, evaluation in train_all(jobs, source, machine):
        variant, seed, arch = missing[index]
        add(record, variant.name, arch, seed, evaluation, facts)
        seconds = sum(epoch.seconds for epoch in evaluation.curve)
        told = {"rung": variant.factor or "baseline", "seed": seed, "network": variant.name, "seconds": seconds}
        tally.tell({**told, "accuracy": evaluation.scores.get("accuracy"), "error": evaluation.error}, 1)


def _arch(variant: "Variant") -> "Arch":
    from archsearch.arch import Arch

    assert isinstance(variant.network, Arch)  # noqa: S101 - trainings are of these alone
    return variant.network


def _show(args: argparse.Namespace, work: Work, record: "optuna.Study") -> int:
    """Prints the tables and writes the page, from the record alone."""
    from archsearch.ablation.record import outcome_of
    from archsearch.cli.report import write_ablation
    from archsearch.search.storage.opening import masked

    whole = outcome_of(record)
    outcome = whole.of({variant.name for variant in work.chosen.variants})
    tell(args, outcome)
    write_ablation(work.page, whole, args.interval or "t")
    if not args.quiet:
        print(f"study {work.name} in {masked(args.storage)}\npage: {work.page}", file=sys.stderr)
    if outcome.seeds and not any(result.accuracies for result in outcome.results):
        raise ArchsearchError(f"all trainings failed; {next(iter(outcome.baseline.errors.values()), 'see the table')}")
    return 0


def tell(args: argparse.Namespace, outcome: "Outcome") -> None:
    """Prints an outcome in the format that is asked for, and writes the file."""
    from archsearch.ablation.tables import FORMATS as WRITERS
    from archsearch.ablation.tables import Report

    report = Report.of(outcome, args.interval or "t")
    sys.stdout.write(WRITERS[args.format](report) + "\n")
    sys.stdout.flush()
    if args.results_file is not None:
        written = WRITERS[ENDINGS[args.results_file.suffix.lower()]](report)
        write_file(args.results_file, written + "\n", "--results-file")
