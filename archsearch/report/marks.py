"""The paper's networks as marks beside trials, on axes of counted objectives.

Their accuracies and speeds come from other data and machines, and are named, not drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from archsearch.arch.paper import rows

#: Scores that can be compared with the paper's.
COUNTED = ("macs", "params")
#: How far beyond the trials' range a network may be, as a share of that range.
NEAR = 0.15
#: Distance below which two names would overlap, as a share of the marks' range.
OVERLAP = 0.03


@dataclass(frozen=True)
class Mark:
    """A row of Table 4.

    Attributes:
        name: Name in the paper.
        img_size: Resolution in pixels at which the network was counted.
        params: Number of parameters.
        macs: Multiply-adds per image.
        top1: Accuracy on ImageNet-1K in percent.
        named: Whether there is room for its name where only one axis is counted.
    """

    name: str
    img_size: int
    params: float
    macs: float
    top1: float
    named: bool = True


def paper_marks() -> list[Mark]:
    """Return every row of the table, in the paper's order."""
    found = []
    for row in rows("4"):
        size, params, macs, top1 = (float(row.figures[name]) for name in ("image_size", "params_m", "macs_g", "top1"))
        found.append(Mark(row.row, int(size), round(params * 1e6), round(macs * 1e9), top1))
    return found


def near(ranges: dict[str, tuple[float, float]], sizes: Sequence[int]) -> list[Mark]:
    """Return the networks that are about as large as some trials, in the order of the first count.

    Args:
        ranges: Least and greatest count of the trials, by name of the objective.
        sizes: Resolutions of the trials.
    """
    if not ranges:
        return []

    def close(mark: Mark, name: str) -> bool:
        low, high = ranges[name]
        margin = NEAR * (high - low)
        return low - margin < getattr(mark, name) < high + margin

    first = next(iter(ranges))
    found = [mark for mark in paper_marks() if mark.img_size in sizes and all(close(mark, name) for name in ranges)]
    return _named(sorted(found, key=lambda mark: (getattr(mark, first), "NeXt" not in mark.name)), first)


def _named(marks: Sequence[Mark], count: str) -> list[Mark]:
    """Take the names from marks that stand close behind another one; these keep their line."""
    at = [getattr(mark, count) for mark in marks]
    room = OVERLAP * (at[-1] - at[0]) if at else 0.0
    return [replace(mark, named=place == 0 or at[place] - at[place - 1] > room) for place, mark in enumerate(marks)]
