"""``--constraint`` on the command line: what can be said about constraints before anything is trained."""

import argparse
import contextlib
import heapq
import random
from typing import TYPE_CHECKING

from archsearch.errors import OptionError, TrialError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from archsearch.arch import Arch
    from archsearch.cli.engine_options import Place
    from archsearch.evaluate.constraint import Constraint
    from archsearch.search.definition import Study
    from archsearch.search.samplers.features import CountCosts, Point, Points
    from archsearch.search.warm_start import Start

    #: How far a point is off what can be counted; 0 where it keeps all.
    Off = Callable[[Point], float]

#: Architectures that are drawn to see whether any keeps the constraints.
DRAWN = 1000
#: Of those that come nearest in a large space, how many are changed axis by axis to come nearer.
NEAREST = 20
#: Of those that keep what can be counted, how many are timed: such with the least and with the most multiply-adds.
TIMED = 2
#: A bound on a speed is out of reach where the nearest of these few misses it by more than this share: others may be
#: faster than their multiply-adds let expect, but hardly by so much.
FAR = 0.5


def check_reachable(
    args: argparse.Namespace,
    study: "Study",
    count: "CountCosts",
    place: "Place",
    starts: "Sequence[Start]",
    say: "Callable[[str], None]",
) -> "list[Start]":
    """Makes sure that some architecture of the space keeps all constraints, before the study begins.

    Args:
        args: of the command.
        study: that is to be run.
        count: what an architecture costs.
        place: that it runs at.
        starts: points that it begins with.
        say: told what takes long.

    Returns:
        The one point that was found where a sample had none: a sampler would hardly come upon it again.

    Raises:
        OptionError: none was found that does; how near the nearest comes.
    """
    from archsearch.objectives import Tier
    from archsearch.search.samplers.features import Points
    from archsearch.search.warm_start import Start

    if not study.constraints:
        return []
    points = Points(study.space, count)
    sample = [*points.existing(start.params for start in starts), *drawn(points)]
    kept = _keeping_counted(points, study.constraints, sample)
    measured = [c for c in study.constraints if c.objective.tier is Tier.MEASURED]
    if measured and not place.remote:
        kept.sort(key=lambda point: point.costs["macs"])
        archs = [point.arch for point in dict.fromkeys([*kept[:TIMED], *kept[-TIMED:]])]
        say(f"timing {len(archs)} architectures or fewer, to see whether any keeps the constraints")
        _check_measured(args, study, place, points, archs, measured)
    return [] if kept[0] in sample else [Start(kept[0].params, "what was found to keep the constraints")]


def _keeping_counted(points: "Points", constraints: "Sequence[Constraint]", sample: "Sequence[Point]") -> "list[Point]":
    """Points of a sample that keep all constraints on what is counted, or else one that was sought."""
    from archsearch.evaluate.costs import Costs, Limits, never
    from archsearch.objectives import Tier

    limits = Limits(tuple(constraints), points.space.baseline, never)

    def excess(point: "Point") -> dict[str, float]:
        return limits.excess(Costs(dict(point.costs)), Tier.COUNTED)

    def off(point: "Point") -> float:
        return _total(excess(point))

    kept = [point for point in sample if not off(point)] or _nearer(points, sample, off)
    if off(kept[0]):
        counted = [c for c in constraints if c.objective.tier is Tier.COUNTED]
        looked_at = points.space.points() if _enumerable(points) else len(sample)
        _complain(points, counted, [excess(kept[0])], looked_at)
    return kept


def drawn(points: "Points") -> "list[Point]":
    """Every architecture of a small space, or a random sample of a large one."""
    rng, space = random.Random(0), points.space
    params = space.grid() if space.points() <= DRAWN else (space.sample(rng) for _ in range(DRAWN))
    return list({point.key: point for point in points.existing(params)}.values())


def _nearer(points: "Points", sample: "Sequence[Point]", off: "Off") -> "list[Point]":
    """The one that comes nearest beyond a sample of which none keeps the constraints: of all, where that can be."""
    if _enumerable(points):
        return [_first(points.existing(points.space.grid()), off)]
    return [_first((_descend(points, point, off) for point in heapq.nsmallest(NEAREST, sample, key=off)), off)]


def _first(points: "Iterable[Point]", off: "Off") -> "Point":
    """The first that keeps all constraints, or else the nearest."""
    nearest: Point | None = None
    for point in points:
        if nearest is None or off(point) < off(nearest):
            nearest = point
        if not off(nearest):
            break
    assert nearest is not None  # noqa: S101
    return nearest


def _descend(points: "Points", point: "Point", off: "Off") -> "Point":
    """Changes one axis at a time for as long as that helps."""
    while off(point) and off(best := min(points.beside(point), key=off)) < off(point):
        point = best
    return point


def _enumerable(points: "Points") -> bool:
    from archsearch.space.space import EXHAUSTIVE

    return points.space.points() <= EXHAUSTIVE


def _total(excess: "dict[str, float]") -> float:
    return sum(max(0.0, share) for share in excess.values())


def _check_measured(
    args: argparse.Namespace,
    study: "Study",
    place: "Place",
    points: "Points",
    archs: "Sequence[Arch]",
    measured: "Sequence[Constraint]",
) -> None:
    """Times the smallest and the largest, which are about the fastest and the slowest."""
    from archsearch.benchmark.reported import reported
    from archsearch.benchmark.timer import Timer, Timings
    from archsearch.data.folder import cache_folder
    from archsearch.evaluate.costs import Costs, Limits
    from archsearch.evaluate.pool import available_cores
    from archsearch.nn.device import environment, pick_device
    from archsearch.objectives import Tier

    device = pick_device(place.device)
    timings = Timings(cache_folder() / "timings", environment(device))
    cores = available_cores() if device.type == "cpu" else ()
    reports = reported(constraint.objective for constraint in measured)
    timer = Timer(study.bench, str(device), timings, tuple(args.mixers), cores=cores, reports=reports)
    with contextlib.closing(timer):
        limits, found = Limits(measured, study.space.baseline, timer), []
        for arch in archs:
            costs = Costs()
            with contextlib.suppress(TrialError):  # one that does not fit, say: it keeps no constraint
                costs.time(arch, limits.names(Tier.MEASURED), timer)
                found.append(costs)
                if all(share <= FAR for share in limits.excess(costs, Tier.MEASURED).values()):
                    return
    if found:
        _complain(points, measured, [limits.excess(costs, Tier.MEASURED) for costs in found], len(found))


def _complain(
    points: "Points", constraints: "Sequence[Constraint]", shares: "Sequence[dict[str, float]]", looked_at: int
) -> None:
    """Tells what the nearest misses."""
    from archsearch.evaluate.constraint import missed

    space, nearest = points.space, min(shares, key=_total)
    joint = "" if len(constraints) == 1 else " together"
    raise OptionError(
        f"no architecture of space {space.name} was found that keeps --constraint{joint}: the nearest of "
        f"{looked_at} misses {missed(nearest)}; relax it, or widen the space"
    )
