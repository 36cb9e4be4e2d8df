"""Kernel sizes that the maps of a plan's schedules are too small to judge."""

from collections.abc import Iterator

from archsearch.arch.networks import network
from archsearch.complexity.small_maps import Sizes, sizes_among, sizes_of_space
from archsearch.complexity.small_maps_words import SmallMaps, listed
from archsearch.fidelity.plan import Plan, Schedule


def plan_maps(plan: Plan) -> list[str]:
    """Return what is to be said of a plan's maps, a paragraph for schedules of which the same is true.

    The kernel sizes are those of the plan's space and those in which the rows of a table of the paper differ.
    """
    rows: dict[str, list[str]] = {}
    for row in plan.paper:
        if not row.network.startswith("timm:"):
            rows.setdefault(row.table, []).append(row.network)
    told = list(_told(f"space {plan.space.name}", sizes_of_space(plan.space), plan.all_schedules))
    for table, names in rows.items():
        told += _told(f"Table {table}", sizes_among(map(network, names)), plan.paper_schedules)
    return told


def _told(what: str, sizes: Sizes, schedules: tuple[Schedule, ...]) -> Iterator[str]:
    named: dict[tuple[str, ...], list[str]] = {}
    for schedule in schedules:
        named.setdefault(SmallMaps.of(sizes, schedule.proxy).said("{} {}", " with "), []).append(schedule.name)
    for lines, names in named.items():
        if lines:
            whose = "all schedules" if len(named) == 1 else listed(names)
            yield f"{what}, {whose}: {' '.join(lines)}"
