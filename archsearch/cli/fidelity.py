"""How far can cheap proxies be trusted? Train the same architectures briefly and for long, and compare the rankings."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.cli.options import (
    add_format,
    add_mixers,
    check_writable,
    load_own_mixers,
    natural,
    positive_int,
    write_file,
)
from archsearch.cli.recipe_options import add_data
from archsearch.errors import OptionError, StudyFileError, UserError

if TYPE_CHECKING:
    from archsearch.fidelity.plan import Plan

#: The plan for the drawn data, and for others by kind of device.
DRAWN, OTHERS = "inception_dw_drawn", {"cpu": "inception_dw", "cuda": "inception_dw_gpu"}
#: What asks for trainings.
TRAINING = (
    "plan",
    "dataset",
    "data_root",
    "n_archs",
    "seeds",
    "seed",
    "workers",
    "device",
    "retrain",
    "results_file",
    "mixers",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add = parser.add_argument
    add(
        "plan",
        nargs="?",
        metavar="PLAN|FILE",
        help="name of a plan or a YAML file (default: by data set and device)",
    )
    add("--from", dest="records", type=Path, metavar="FILE", help="report on such a --results-file, train nothing")
    add_data(parser)
    add("--n-archs", type=positive_int, metavar="N", help="architectures (default: the plan's)")
    add("--seeds", type=positive_int, metavar="N", help="trainings of each at each rung (default: the plan's)")
    add("--seed", type=natural, default=0, metavar="N", help="of the drawing of architectures (%(default)s)")
    add("--workers", type=positive_int, metavar="N", help="trainings at a time (default: one per core; on a GPU 1)")
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (%(default)s)")
    add("--retrain", action="store_true", help="train again what was trained on this device before")
    add("--results-file", type=Path, metavar="FILE.csv", help="a row per training")
    add_mixers(parser)
    add_format(parser)
    add("-q", "--quiet", action="store_true", help="no progress")
    parser.set_defaults(unasked={name: parser.get_default(name) for name in TRAINING})


def run(args: argparse.Namespace) -> int:
    """Trains what is not known yet and prints how far each rung agrees with the reference."""
    import sys

    from archsearch.fidelity.tables import Report, agreement_table, read_records
    from archsearch.utils.tables import render

    if args.records is not None:
        for name, default in args.unasked.items():
            if getattr(args, name) != default:
                option = "the plan" if name == "plan" else f"--{name.replace('_', '-')}"
                raise OptionError(f"--from reads records and trains nothing; leave {option} out")
    frame = read_records(args.records) if args.records is not None else _train(args)
    sys.stdout.write(render(agreement_table(Report.of(frame)), args.format) + "\n")
    return 0


def _plan(args: argparse.Namespace, kind: str) -> "Plan":
    import dataclasses

    from archsearch.arch.networks import network
    from archsearch.fidelity.plan import FEWEST, load_plan
    from archsearch.utils.package_data import shipped

    plan = load_plan(
        args.plan or (DRAWN if args.dataset == "drawn" else OTHERS.get(kind, "inception_dw")),
        shipped("studies") / "fidelity",
        shipped("search_spaces"),
    )
    if args.n_archs is not None:
        if args.n_archs < FEWEST:
            raise OptionError(f"--n-archs {args.n_archs}: a ranking needs at least {FEWEST}")
        plan = dataclasses.replace(plan, archs=args.n_archs)
    if args.seeds is not None:
        seeded = [
            tuple(dataclasses.replace(rung, seeds=args.seeds) for rung in r) for r in (plan.rungs, plan.paper_rungs)
        ]
        reference = dataclasses.replace(plan.reference, seeds=args.seeds)
        plan = dataclasses.replace(plan, rungs=seeded[0], paper_rungs=seeded[1], reference=reference)
    for rung in (*plan.rungs, plan.reference):
        try:
            plan.space.check_proxy(rung.proxy)
            for row in plan.paper if rung.name in {r.name for r in plan.paper_rungs} else ():
                rung.proxy.shrink(network(row.network), num_classes=10)
        except UserError as error:
            raise StudyFileError(
                f"plan {plan.name}, {rung.name!r}: {error}".partition("; or change the proxy")[0]
            ) from None
    return plan


def _train(args: argparse.Namespace) -> Any:
    """The records of a plan, as a DataFrame."""
    import pandas as pd

    from archsearch.nn.device import pick_device
    from archsearch.recipes import check_dataset

    check_dataset(args.dataset, args.data_root)
    load_own_mixers(args.mixers)
    device = pick_device(args.device)
    plan = _plan(args, device.type)
    if args.results_file is not None:
        check_writable(args.results_file, "--results-file")

    from archsearch.cli.progress import Tally, track
    from archsearch.data import load, reduce
    from archsearch.evaluate.pool import Machine, Source, default_workers
    from archsearch.fidelity.run import carry_out, check_samples, draw, passes, published, trainings, zero_cost

    recipes = [rung.proxy for rung in (*plan.rungs, plan.reference)]
    tally, records = Tally(args.quiet), []

    def told(record: dict[str, Any]) -> None:
        records.append(record)
        tally.tell(record, weights[record["rung"]])

    last = recipes[0].img_size  # its images are looked at below
    for size in (*({proxy.img_size for proxy in recipes} - {last}), last):  # decoded here, and not by every worker
        data = load(args.dataset, args.data_root, size, None if args.quiet else track)
        check_samples(plan, data)
    tally.say(f"{plan.title}\ncounting the MACs of architectures of {plan.space.name}")
    subjects, paper = draw(plan.space, plan.archs, recipes, args.seed), published(plan)
    scored = zero_cost(subjects, recipes[0], reduce(data, recipes[0]))
    untrained = {subject.name: scores for subject, scores in scored}
    asked = trainings(plan, subjects, paper)
    weights = {rung.name: passes(rung.proxy) for rung in (*plan.rungs, plan.reference)}
    tally.begin(len(asked), sum(weights[rung.name] for _, rung, _ in asked))
    source = Source(args.dataset, args.data_root, tuple(args.mixers), args.retrain)
    devices = (str(device),)
    machine = Machine.here(devices, args.workers or default_workers(devices), threads=1)
    try:
        carry_out(asked, untrained, source, machine, told)
    finally:  # what is known by then can be reported on
        order = {(subject.name, rung.name, seed): place for place, (subject, rung, seed) in enumerate(asked)}
        records.sort(key=lambda record: order[record["network"], record["rung"], record["seed"]])
        frame = pd.DataFrame(records)
        if args.results_file is not None and records:
            write_file(args.results_file, frame.to_csv(index=False), "--results-file")
    return frame
