"""What is said of kernel sizes that a proxy's maps are too small to judge: two lines, and the same as data."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from archsearch.arch.params import Value
from archsearch.complexity.padding import StagePadding, mean_share
from archsearch.complexity.small_maps import KernelSize, Remedies, Sizes, judged, remedies
from archsearch.errors import ArchError
from archsearch.recipes import ProxyRecipe


@dataclass(frozen=True)
class SmallMaps:
    """Judgement of a proxy recipe by the kernel sizes that it is to compare.

    Attributes:
        sizes: Kernel sizes, smallest first by axis.
        remedies: What makes the maps large enough; None where they are, or where it cannot be told.
    """

    sizes: tuple[KernelSize, ...] = ()
    remedies: Remedies | None = None

    @classmethod
    def of(cls, sizes: Sizes, proxy: ProxyRecipe) -> "SmallMaps":
        """Judge a proxy recipe; nothing is said of one that cannot make the proxy networks."""
        try:
            found = tuple(judged(sizes, proxy))
        except ArchError:
            return cls()
        large = {size.axis for size in found if size.too_large}
        return cls(found, remedies({axis: sizes[axis] for axis in large}, proxy) if large else None)

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader has to know, a sentence each: which sizes are too large, and what to do; none if none is."""
        return self.said("--set proxy.{}={}", " ")

    def said(self, change: str, joined: str) -> tuple[str, ...]:
        """Return ``lines`` in other words.

        Args:
            change: How a field and its value are written.
            joined: What stands between two of them.
        """
        if self.remedies is None:
            return ()
        sides = "-".join(str(stage.side) for stage in self.sizes[0].proxy)
        return f"Proxy maps of {sides} are too small to judge {_clauses(self.sizes)}.", _advice(
            self.remedies, change, joined
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all figures and the lines, as JSON-ready data."""
        return {
            "lines": list(self.lines),
            "kernel_sizes": [_size_to_dict(size) for size in self.sizes],
            "remedies": [dict(change) for change in self.remedies.changes] if self.remedies else [],
        }


def _size_to_dict(size: KernelSize) -> dict[str, Any]:
    return {
        "axis": size.axis,
        "value": size.value,
        "too_large": size.too_large,
        **{
            name: {"padding": mean_share(stages), "stages": [_stage_to_dict(stage) for stage in stages]}
            for name, stages in (("proxy", size.proxy), ("target", size.target))
        },
    }


def _stage_to_dict(stage: StagePadding) -> dict[str, Any]:
    return {**asdict(stage), "padding": stage.share}


def _clauses(sizes: Iterable[KernelSize]) -> str:
    """Return the axes with their sizes that are too large, and how much padding the smallest of these sees."""
    by_axis: dict[str, list[KernelSize]] = {}
    for size in sizes:
        by_axis.setdefault(size.axis, []).append(size)
    groups: dict[tuple[str, str, str], list[str]] = {}
    for axis, known in by_axis.items():
        large = [size for size in known if size.too_large]
        if large:
            which = _which([size.value for size in large], [size.value for size in known])
            groups.setdefault((which, *_shares(large[0])), []).append(axis)
    told = " of the taps see padding"
    clauses = []
    for (which, here, there), axes in groups.items():
        clauses.append(f"{listed(axes)} {which} ({here}{told}, in the target {there})")
        told = ""
    return "; ".join(clauses)


def _which(large: Sequence[Value], known: Sequence[Value]) -> str:
    """Return which of an axis' sizes are too large, in words.

    >>> _which([5, 7], [3, 5, 7]), _which([7], [5, 7]), _which([5, 7], [3, 5, 7, 51])
    ('from 5 on', '7', '5 and 7')
    """
    if len(large) > 1 and list(large) == list(known)[-len(large) :]:
        return f"from {large[0]} on"
    return listed(map(str, large))


def _shares(size: KernelSize) -> tuple[str, str]:
    """Return the shares of the stages whose filters the axis sets, in the proxy network and in the target."""
    both = [pair for pair in zip(size.proxy, size.target, strict=True) if pair[0].taps]
    return percent([here for here, _ in both]), percent([there for _, there in both])


def percent(stages: Iterable[StagePadding]) -> str:
    """Return the shares of stages in words; stages without taps have none.

    >>> percent([StagePadding(8, 1, 100, 10), StagePadding(4, 1, 100, 25), StagePadding(2, 1, 0, 0)])
    '10, 25 and - %'
    """
    return listed("-" if stage.share is None else f"{100 * stage.share:.0f}" for stage in stages) + " %"


def _advice(found: Remedies, change: str, joined: str) -> str:
    if not found.changes:
        return f"No image up to the target's own {found.largest} px is large enough for them."
    told = (joined.join(change.format(*field) for field in fields.items()) for fields in found.changes)
    return f"Large enough are {', or '.join(told)}."


def listed(words: Iterable[str]) -> str:
    """Return words as a sentence lists them.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
