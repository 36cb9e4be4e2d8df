"""``--constraint`` on the command line: what can be said about constraints before anything is trained."""

import argparse
import contextlib
import random
from typing import TYPE_CHECKING

from archsearch.errors import OptionError, StorageError, TrialError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from archsearch.arch import Arch
    from archsearch.cli.engines import Place
    from archsearch.constraint import Constraint
    from archsearch.costs import Costs, Limits
    from archsearch.search.features import CountCosts
    from archsearch.search.study import Study
    from archsearch.space import Space

#: Architectures that are drawn to see whether any keeps the constraints.
DRAWN = 1000
#: Of those that keep what can be counted, how many are timed: such with the least and with the most multiply-adds.
TIMED = 2
#: A bound on a speed is out of reach where the nearest of these few misses it by more than this share: others may be
#: faster than their multiply-adds let expect, but hardly by so much.
FAR = 0.5


def check_reachable(args: argparse.Namespace, study: "Study", count: "CountCosts", place: "Place") -> None:
    """Makes sure that some architecture of the space keeps all constraints, as far as a sample tells.

    Raises:
        OptionError: none of the sample does; how near it comes.
    """
    from archsearch.costs import Limits, never
    from archsearch.objectives import Tier

    if not study.constraints:
        return
    space, limits = study.space, Limits(study.constraints, study.space.baseline, never)
    sample = drawn(space)
    kept = [arch for arch in sample if _keeps(limits, counted(arch, count), Tier.FREE)]
    if not kept:
        costs = [counted(arch, count) for arch in sample]
        _complain(space, [c for c in study.constraints if c.objective.tier is Tier.FREE], limits, costs, Tier.FREE)
    measured = [c for c in study.constraints if c.objective.tier is Tier.CHEAP]
    if measured and not place.remote and not _begun(study.name, args.storage):
        kept.sort(key=lambda arch: count(arch)["macs"])
        _check_measured(args, study, place, [*dict.fromkeys([*kept[:TIMED], *kept[-TIMED:]])], measured)


def drawn(space: "Space") -> list["Arch"]:
    """Every architecture of a small space, or a random sample of a large one."""
    rng = random.Random(0)
    points = space.grid() if space.points() <= DRAWN else (space.sample(rng) for _ in range(DRAWN))
    return [*dict.fromkeys(map(space.arch, points))]


def counted(arch: "Arch", count: "CountCosts") -> "Costs":
    """Its costs, as far as they can be counted."""
    from archsearch.costs import Costs

    return Costs(dict(count(arch)))


def _keeps(limits: "Limits", costs: "Costs", tier: "object") -> bool:
    return all(share <= 0 for share in limits.excess(costs, tier).values())  # type: ignore[arg-type]


def _check_measured(
    args: argparse.Namespace,
    study: "Study",
    place: "Place",
    archs: "Sequence[Arch]",
    measured: "Sequence[Constraint]",
) -> None:
    """Times the smallest and the largest, which are about the fastest and the slowest."""
    from archsearch.costs import Costs, Limits
    from archsearch.data.folder import cache_folder
    from archsearch.measure.device import environment, pick_device
    from archsearch.objectives import Tier
    from archsearch.pool import available_cores
    from archsearch.speed.timer import Timer, Timings

    device = pick_device(place.device)
    timings = Timings(cache_folder() / "timings", environment(device))
    cores = available_cores() if device.type == "cpu" else ()
    timer = Timer(study.bench, str(device), timings, tuple(args.mixers), remeasure=False, cores=cores)
    with contextlib.closing(timer):
        limits, found = Limits(measured, study.space.baseline, timer), []
        for arch in archs:
            costs = Costs()
            with contextlib.suppress(TrialError):  # one that does not fit, say: it keeps no constraint
                costs.time(arch, limits.names(Tier.CHEAP), timer)
                found.append(costs)
                if all(share <= FAR for share in limits.excess(costs, Tier.CHEAP).values()):
                    return
    if found:
        _complain(study.space, measured, limits, found, Tier.CHEAP)


def _begun(name: str, url: str) -> bool:
    """Whether the study has been begun: then it is known whether its constraints can be kept."""
    from archsearch.search.storage import open_storage
    from archsearch.search.study import existing

    with contextlib.suppress(StorageError):  # nothing there yet
        return existing(name, open_storage(url, create=False)) is not None
    return False


def _complain(
    space: "Space", constraints: "Sequence[Constraint]", limits: "Limits", sample: "Sequence[Costs]", tier: "object"
) -> None:
    shares = [limits.excess(costs, tier) for costs in sample]  # type: ignore[arg-type]
    nearest = min(shares, key=lambda share: sum(max(0.0, x) for x in share.values()))
    broken = [c for c in constraints if nearest[str(c)] > 0]
    missed = ", ".join(f"{c} by {nearest[str(c)]:.0%}" for c in broken)
    joint = "" if len(broken) == len(constraints) == 1 else " together"
    raise OptionError(
        f"no architecture of space {space.name} was found that keeps --constraint{joint}: the nearest of "
        f"{len(sample)} misses {missed}; relax it, or widen the space"
    )
