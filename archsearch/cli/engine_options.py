"""Options of the engine that evaluates a study's candidates."""

import argparse
from typing import TYPE_CHECKING

from archsearch.cli.options import natural, seconds, share_of_one

if TYPE_CHECKING:
    from archsearch.search.spec import Engine


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add ``--engine`` and what goes with it."""
    group = parser.add_argument_group("engine")
    add = group.add_argument
    add(
        "--engine",
        default="local",
        metavar="NAME",
        help="local: processes of this machine; ray: Ray Tune (%(default)s)",
    )
    add("--workers", type=natural, metavar="N", help="number of candidates evaluated at a time (default: one per core; "
        "up to 4 per GPU, as its memory allows); 0: in the command's own process")  # fmt: skip
    add("--trial-timeout", type=seconds, metavar="SECONDS", help="end a candidate that takes longer, as failed")
    add("--ray-address", metavar="HOST:PORT", help="address of a Ray cluster, or auto (default: start one here)")
    add("--gpus-per-trial", type=share_of_one, metavar="N", help="GPUs of a Ray cluster per candidate (default: 1, "
        "where it has any)")  # fmt: skip
    add("--cpus-per-trial", type=share_of_one, metavar="N", help="cores of a Ray cluster per candidate (default: an "
        "equal share)")  # fmt: skip


def engine_of(args: argparse.Namespace) -> "Engine":
    """Return the engine that the options ask for."""
    from archsearch.search.spec import Engine

    return Engine(
        name=args.engine,
        workers=args.workers,
        trial_timeout=args.trial_timeout,
        ray_address=args.ray_address,
        gpus_per_trial=args.gpus_per_trial,
        cpus_per_trial=args.cpus_per_trial,
    )
