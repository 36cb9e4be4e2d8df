"""Check how far short trainings can be trusted: train architectures briefly and for long, and compare the rankings."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from archsearch.cli.options import (
    add_format,
    add_mixers,
    check_writable,
    load_own_mixers,
    natural,
    positive_int,
    write_file,
)
from archsearch.cli.recipe_options import add_data, add_proxy, asked_changes
from archsearch.errors import OptionError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from archsearch.fidelity import FidelitySpec, Plan

#: Arguments that only apply to trainings.
TRAINING = (
    "plan",
    "space",
    "proxy",
    "epochs",
    "set",
    "dataset",
    "data_root",
    "n_archs",
    "seeds",
    "seed",
    "workers",
    "device",
    "retrain",
    "results_file",
    "only",
    "mixers",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add = parser.add_argument
    add(
        "plan",
        nargs="?",
        metavar="PLAN|FILE",
        help="name of a plan or a YAML file (default: by data set and device)",
    )
    add(
        "--from",
        dest="records",
        type=Path,
        metavar="FILE",
        help="report on a --results-file of an earlier run, train nothing",
    )
    add("--space", metavar="NAME|FILE", help="instead of a plan: measure one recipe on this search space")
    add_proxy(parser, "proxy.lr=2e-3")
    add_data(parser)
    _add_trainings(parser)
    add_mixers(parser)
    add_format(parser)
    add("-q", "--quiet", action="store_true", help="no progress")
    parser.set_defaults(unasked={name: parser.get_default(name) for name in TRAINING})


def _add_trainings(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which trainings there are, and how they are run."""
    add = parser.add_argument
    add("--n-archs", type=positive_int, metavar="N", help="number of architectures (default: the plan's)")
    add(
        "--seeds",
        type=positive_int,
        metavar="N",
        help="number of training seeds per architecture and schedule (default: the plan's)",
    )
    add("--seed", type=natural, default=0, metavar="N", help="seed of drawing the architectures (%(default)s)")
    add(
        "--workers", type=positive_int, metavar="N", help="trainings at a time (default: one per core; up to 4 per GPU)"
    )
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (%(default)s)")
    add("--retrain", action="store_true", help="ignore the disk cache and train everything again")
    add(
        "--only",
        action="append",
        default=[],
        metavar="SCHEDULE[,SCHEDULE]",
        help="train these schedules and the reference alone (repeatable)",
    )
    add(
        "--results-file",
        type=Path,
        metavar="FILE.csv",
        help="write the records to this file, a row per training; those of other trainings stay in it",
    )


def run(args: argparse.Namespace) -> int:
    """Train what the disk cache does not hold, and print how far each schedule agrees with the reference."""
    from archsearch.fidelity import FidelityReport, read_records
    from archsearch.fidelity.tables import agreement_table
    from archsearch.report.tables import with_notes
    from archsearch.utils.tables import render

    if args.records is not None:
        for name, default in args.unasked.items():
            if getattr(args, name) != default:
                option = "the plan" if name == "plan" else f"--{name.replace('_', '-')}"
                raise OptionError(f"--from reads records and trains nothing; leave {option} out")
    frame = read_records(args.records) if args.records is not None else _train(args)
    report = FidelityReport.of(frame)
    document = with_notes(agreement_table(report), _maps(args))
    sys.stdout.write(render(document, args.format) + "\n")
    _make_known(frame, args)
    return 0


def _make_known(frame: "pd.DataFrame", args: argparse.Namespace) -> None:
    """Keep what was found in the cache, where studies look it up."""
    from archsearch.fidelity.measured_rankings import make_known
    from archsearch.rankings.known import kept_folder

    source = args.records or args.results_file
    try:
        count = make_known(frame, source.name if source else "no file")
    except OSError as error:
        print(f"studies will not know of this: cannot write {kept_folder()}: {error.strerror}", file=sys.stderr)
        return
    if count and not args.quiet:
        print(f"studies know now how {count} recipe{'s rank' if count > 1 else ' ranks'}", file=sys.stderr)


def _train(args: argparse.Namespace) -> "pd.DataFrame":
    """Carry out the plan; on any end, even Ctrl-C, the records so far go into ``--results-file``.

    Returns:
        All records of that file; without one, those of the plan.
    """
    import pandas as pd

    from archsearch.cli.meters import Tally, track
    from archsearch.fidelity import PlanStarted, TrainingDone, TrainingsStarted
    from archsearch.fidelity import run as run_fidelity
    from archsearch.fidelity.results_file import check_mergeable, merged, records_text

    load_own_mixers(args.mixers)
    plan = _plan(args)
    spec = _spec(args, plan)
    old = _earlier(args.results_file)
    tally, records, frame = Tally(args.quiet), {}, old

    def show(event: PlanStarted | TrainingsStarted | TrainingDone) -> None:
        if isinstance(event, PlanStarted):
            check_mergeable(old, event.facts, str(args.results_file))
            tally.say(
                "\n".join((plan.title, *_maps(args))) + f"\ncounting the MACs of architectures of {plan.space.name}"
            )
        elif isinstance(event, TrainingsStarted):
            tally.begin(event.total, 1.0)
        else:
            records[event.place] = event.record
            tally.tell({**event.record, "group": event.record["schedule"]}, event.work)

    try:
        run_fidelity(plan, spec, show, None if args.quiet else track)
    finally:
        if records:
            frame = merged(old, pd.DataFrame([records[place] for place in sorted(records)]))
            if args.results_file is not None:
                write_file(args.results_file, records_text(frame), "--results-file")
    return frame


def _maps(args: argparse.Namespace) -> list[str]:
    """Return what is to be said of the maps of the plan; the records of ``--from`` do not tell its recipes."""
    from archsearch.fidelity.small_maps_plan import plan_maps

    return [] if args.records is not None else plan_maps(_plan(args))


def _earlier(path: Path | None) -> "pd.DataFrame":
    """The records that are in ``--results-file`` already."""
    import pandas as pd

    from archsearch.fidelity import read_records
    from archsearch.fidelity.training_records import NEEDED

    if path is not None:
        check_writable(path, "--results-file")
        if path.is_file() and path.stat().st_size:
            return read_records(path)
    return pd.DataFrame(columns=NEEDED)


def _spec(args: argparse.Namespace, plan: "Plan") -> "FidelitySpec":
    from archsearch.fidelity import FidelitySpec

    return FidelitySpec(
        dataset=args.dataset,
        data_root=args.data_root,
        device=args.device,
        workers=args.workers,
        seed=args.seed,
        retrain=args.retrain,
        mixers=tuple(args.mixers),
        only=tuple(name for words in args.only for name in _schedules_in(words, plan)),
    )


def _schedules_in(words: str, plan: "Plan") -> list[str]:
    """The schedules that ``--only`` names, separated by commas, which their names may contain, too."""
    known = [schedule.name for schedule in plan.all_schedules]
    parts = words.split(",")
    for count in range(len(parts), 0, -1):
        name = ",".join(parts[:count]).strip()
        if name in known:
            rest = ",".join(parts[count:])
            return [name, *(_schedules_in(rest, plan) if rest else [])]
    raise OptionError(f"--only: {unknown('schedule', parts[0].strip(), known)}")


def _plan(args: argparse.Namespace) -> "Plan":
    """The plan that the command line names, or the default for its data set and device, with its changes."""
    from dataclasses import replace

    from archsearch.fidelity.plan import FEWEST
    from archsearch.fidelity.yaml import default_plan, load_plan
    from archsearch.nn.device import pick_device

    device = pick_device(args.device)
    plan = load_plan(args.plan or default_plan(args.dataset, device.type))
    plan = _of_recipe(args, plan, "gpu" if device.type == "cuda" else "cpu")
    if args.n_archs is not None:
        if args.n_archs < FEWEST:
            raise OptionError(f"--n-archs {args.n_archs}: a ranking needs at least {FEWEST}")
        plan = replace(plan, archs=args.n_archs)
    return plan if args.seeds is None else plan.with_seeds(args.seeds)


def _of_recipe(args: argparse.Namespace, plan: "Plan", kind: str) -> "Plan":
    """The plan that measures the recipe of ``--space`` and ``--proxy``, in place of one by name."""
    from archsearch.fidelity.recipe_plan import plan_of
    from archsearch.search.recipe_choice import RecipeChoice
    from archsearch.space.yaml import load_space

    changes = asked_changes(args, ("proxy",))["proxy"]
    if args.space is None:
        if args.proxy is not None or changes:
            raise OptionError("--proxy, --epochs and --set need --space; the recipes of a plan stand in it")
        return plan
    if args.plan is not None:
        raise OptionError(f"--space measures a recipe without a plan; leave {args.plan} or --space out")
    space = load_space(args.space)
    recipe, _ = RecipeChoice(args.proxy, changes).recipes(kind, space.fitted, args.dataset)
    return plan_of(recipe, args.proxy or "by default", space, plan)
