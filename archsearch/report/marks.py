"""The paper's networks as marks beside trials, by what is counted.

Their accuracies and speeds are those of other data and machines, and are told, not drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from archsearch.arch.paper import rows
from archsearch.report.page.columns import number

#: Scores that can be compared with the paper's.
COUNTED = ("macs", "params")
#: How far beyond the trials' range a network may be, as a share of it.
NEAR = 0.15


@dataclass(frozen=True)
class Mark:
    """A row of Table 4.

    Attributes:
        name: as in the paper.
        img_size: in pixels, that the network was counted at.
        params: parameters.
        macs: multiply-adds per image.
        top1: on ImageNet-1K, in percent.
    """

    name: str
    img_size: int
    params: float
    macs: float
    top1: float


def paper_marks() -> list[Mark]:
    """Every row, in the paper's order."""
    found = []
    for row in rows("4"):
        size, params, macs, top1 = (float(row.figures[name]) for name in ("image_size", "params_m", "macs_g", "top1"))
        found.append(Mark(row.row, int(size), number(params * 1e6), number(macs * 1e9), top1))
    return found


def near(ranges: dict[str, tuple[float, float]], sizes: Sequence[int]) -> list[Mark]:
    """Those that are about as large as some trials.

    Args:
        ranges: least and most of the trials, by name of what is counted.
        sizes: resolutions of the trials.
    """

    def close(mark: Mark, name: str) -> bool:
        low, high = ranges[name]
        margin = NEAR * (high - low)
        return low - margin < getattr(mark, name) < high + margin

    return [mark for mark in paper_marks() if mark.img_size in sizes and all(close(mark, name) for name in ranges)]
