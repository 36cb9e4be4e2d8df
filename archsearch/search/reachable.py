"""Whether any architecture of a space keeps a study's constraints, before anything is trained."""

import contextlib
import heapq
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archsearch.errors import OptionError, TrialError
from archsearch.evaluate.constraint import Constraint, missed
from archsearch.objectives import Tier
from archsearch.search.definition import Study
from archsearch.search.samplers.features import CountCosts, Point, Points
from archsearch.search.warm_start import Start
from archsearch.space.space import EXHAUSTIVE

if TYPE_CHECKING:
    from archsearch.arch import Arch
    from archsearch.evaluate.costs import TimeIt
    from archsearch.search.place import Place

#: How far a point is off the constraints on counted quantities; 0 where it keeps all.
Distance = Callable[[Point], float]

#: Number of architectures that are drawn to see whether any keeps the constraints.
DRAWN = 1000
#: Number of the nearest of them, in a large space, that are changed axis by axis to come nearer.
NEAREST = 20
#: Number of architectures with the fewest, and with the most, multiply-adds that are timed.
TIMED = 2
#: Share of its bound by which the nearest of these may miss a constraint on a speed: others may be faster than their
#: multiply-adds suggest, but hardly by more than that.
FAR = 0.5


def check_reachable(
    study: Study,
    count: CountCosts,
    place: "Place",
    starts: Sequence[Start],
    mixers: Sequence[Path],
    say: Callable[[str], None],
    fixed: Mapping[str, float],
) -> list[Start]:
    """Make sure that some architecture of the space keeps all constraints, before the study begins.

    Args:
        study: Definition of the study.
        count: Function that counts an architecture's costs.
        place: Where candidates are evaluated.
        starts: Points that the study begins with.
        mixers: Files with the user's own token mixers, for the process that times.
        say: Callback for a remark before something takes long.
        fixed: Fixed seconds per step of the reference, by kind of step.

    Returns:
        The one point that was found where a sample had none, as a sampler would hardly come upon it again; else none.

    Raises:
        OptionError: None was found; the message says how near the nearest comes.
    """
    if not study.constraints:
        return []
    points = Points(study.space, count)
    sample = [*points.existing(start.params for start in starts), *drawn(points)]
    kept = _keeping_counted(points, study.constraints, sample)
    measured = [c for c in study.constraints if c.objective.tier is Tier.MEASURED]
    if measured and study.speeds:
        _check_timed(points, [point.arch for point in kept], measured, study.speeds, 0.0)
    elif measured and not place.remote:
        kept.sort(key=lambda point: point.costs["macs"])
        archs = [point.arch for point in dict.fromkeys([*kept[:TIMED], *kept[-TIMED:]])]
        say(f"timing {len(archs)} architectures or fewer, to see whether any keeps the constraints")
        _check_measured(study, place, points, archs, measured, mixers, fixed)
    return [] if kept[0] in sample else [Start(kept[0].params, "what was found to keep the constraints")]


def _keeping_counted(points: Points, constraints: Sequence[Constraint], sample: Sequence[Point]) -> list[Point]:
    """Points of a sample that keep all constraints on counted quantities, or else one that was sought."""
    from archsearch.evaluate.costs import Costs, Limits, never

    limits = Limits(tuple(constraints), points.space.baseline, never)

    def excess(point: Point) -> dict[str, float]:
        return limits.excess(Costs(dict(point.costs)), Tier.COUNTED)

    def distance(point: Point) -> float:
        return _total(excess(point))

    kept = [point for point in sample if not distance(point)] or _nearer(points, sample, distance)
    if distance(kept[0]):
        counted = [c for c in constraints if c.objective.tier is Tier.COUNTED]
        looked_at = points.space.points() if _enumerable(points) else len(sample)
        _complain(points, counted, [excess(kept[0])], looked_at)
    return kept


def drawn(points: Points) -> list[Point]:
    """Return every architecture of a small space, or a random sample of a large one."""
    rng, space = random.Random(0), points.space
    params = space.grid() if space.points() <= DRAWN else (space.sample(rng) for _ in range(DRAWN))
    return list({point.key: point for point in points.existing(params)}.values())


def _nearer(points: Points, sample: Sequence[Point], distance: Distance) -> list[Point]:
    """Seek a point nearer than a sample's: among all in a small space, else from the nearest, axis by axis."""
    if _enumerable(points):
        return [_first(points.existing(points.space.grid()), distance)]
    return [_first((_descend(points, near, distance) for near in heapq.nsmallest(NEAREST, sample, distance)), distance)]


def _first(points: Iterable[Point], distance: Distance) -> Point:
    """The first that keeps all constraints, or else the nearest."""
    nearest: Point | None = None
    for point in points:
        if nearest is None or distance(point) < distance(nearest):
            nearest = point
        if not distance(nearest):
            break
    assert nearest is not None  # noqa: S101
    return nearest


def _descend(points: Points, point: Point, distance: Distance) -> Point:
    """Change one axis at a time for as long as that helps."""
    while distance(point) and distance(best := min(points.beside(point), key=distance)) < distance(point):
        point = best
    return point


def _enumerable(points: Points) -> bool:
    return points.space.points() <= EXHAUSTIVE


def _total(excess: dict[str, float]) -> float:
    return sum(max(0.0, share) for share in excess.values())


def _check_measured(
    study: Study,
    place: "Place",
    points: Points,
    archs: "Sequence[Arch]",
    measured: Sequence[Constraint],
    mixers: Sequence[Path],
    fixed: Mapping[str, float],
) -> None:
    """Time the smallest and the largest architectures, which are about the fastest and the slowest."""
    from archsearch.benchmark.reported import reported
    from archsearch.benchmark.timer import Timer, Timings
    from archsearch.data.folder import cache_folder
    from archsearch.evaluate.machine import available_cores
    from archsearch.nn.device import environment, pick_device

    device = pick_device(place.device)
    timings = Timings(cache_folder() / "timings", environment(device))
    cores = available_cores() if device.type == "cpu" else ()
    reports = reported(constraint.objective for constraint in measured)
    timer = Timer(study.bench, str(device), timings, tuple(mixers), cores=cores, reports=reports, fixed=fixed)
    with contextlib.closing(timer):
        _check_timed(points, archs, measured, timer, FAR)


def _check_timed(
    points: Points, archs: "Sequence[Arch]", measured: Sequence[Constraint], time_it: "TimeIt", far: float
) -> None:
    """Make sure that some architecture misses no constraint on a speed by more than a share of its bound."""
    from archsearch.evaluate.costs import Costs, Limits

    limits, found = Limits(measured, points.space.baseline, time_it), []
    for arch in archs:
        costs = Costs()
        with contextlib.suppress(TrialError):  # one that does not fit, say: it keeps no constraint
            costs.time(arch, limits.names(Tier.MEASURED), time_it)
            found.append(costs)
            if all(share <= far for share in limits.excess(costs, Tier.MEASURED).values()):
                return
    if found:
        _complain(points, measured, [limits.excess(costs, Tier.MEASURED) for costs in found], len(found))


def _complain(
    points: Points, constraints: Sequence[Constraint], excesses: Sequence[dict[str, float]], looked_at: int
) -> None:
    """Say by how much the nearest misses the constraints."""
    space, nearest = points.space, min(excesses, key=_total)
    joint = "" if len(constraints) == 1 else " together"
    raise OptionError(
        f"no architecture of space {space.name} was found that keeps --constraint{joint}: the nearest of "
        f"{looked_at} misses {missed(nearest)}; relax it, or widen the space"
    )
