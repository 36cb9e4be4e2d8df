"""Who evaluates a study's candidates, as the command line has it."""

import argparse
import contextlib
import dataclasses
from typing import TYPE_CHECKING

from archsearch.cli.options import natural, seconds
from archsearch.errors import OptionError, unknown

if TYPE_CHECKING:
    from archsearch.data import ImageData
    from archsearch.pool import Machine, StudyWork
    from archsearch.search.engine import Runner
    from archsearch.search.study import Study

ENGINES = ("local", "ray")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """``--engine``, ``--workers``, ``--trial-timeout``."""
    add = parser.add_argument
    add(
        "--engine",
        default="local",
        metavar="NAME",
        help="local: processes of this machine; ray: Ray Tune (%(default)s)",
    )
    add(
        "--workers", type=natural, metavar="N", help="candidates at a time (default: one per GPU, or per core; 0: none)"
    )
    add(
        "--trial-timeout",
        type=seconds,
        metavar="SECONDS",
        help="end a candidate that takes longer; it counts as failed",
    )


def check_engine(args: argparse.Namespace) -> None:
    """Complains about options that do not go together.

    Raises:
        OptionError: what to change.
    """
    if args.engine not in ENGINES:
        raise OptionError(unknown("engine", args.engine, ENGINES))
    if args.trial_timeout and args.workers == 0:
        raise OptionError("--trial-timeout ends processes, and --workers 0 has none; give --workers 1")


def carry_out(args: argparse.Namespace, runner: "Runner", study: "Study", data: "ImageData") -> None:
    """Runs a study with the engine that is asked for."""
    from archsearch.pool import Machine, devices_for
    from archsearch.search.engine import run_here
    from archsearch.search.local import run_local

    devices = devices_for(args.device)
    machine = Machine.here(devices, workers_of(args, devices, runner.left))
    work = _work(args, study, machine)
    if not machine.workers:
        with contextlib.closing(dataclasses.replace(work, data=data)(0)) as evaluate:
            run_here(runner, evaluate)
    else:
        run_local(runner, work, machine.workers, args.trial_timeout)


def workers_of(args: argparse.Namespace, devices: tuple[str, ...], trials: int) -> int:
    """How many workers: as many as asked for, and no more than there are trials for."""
    from archsearch.pool import default_workers

    wanted: int = default_workers(devices) if args.workers is None else args.workers
    return min(wanted, max(1, trials))


def _work(args: argparse.Namespace, study: "Study", machine: "Machine") -> "StudyWork":
    from archsearch.pool import Source, StudyWork

    source = Source(args.dataset, args.data_root, tuple(args.mixers), args.retrain)
    return StudyWork(source, machine, study.objectives, study.proxy, study.bench, args.remeasure)
