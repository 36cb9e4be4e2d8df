"""Rows of an ablation that compare kernel sizes which the proxy's maps are too small to judge."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from archsearch.ablation.outcome import Outcome, Result
from archsearch.arch import Arch
from archsearch.arch.mixer_types import sets_reach
from archsearch.arch.params import Value, is_number
from archsearch.complexity.padding import mean_share
from archsearch.complexity.small_maps import KernelSize
from archsearch.complexity.small_maps_words import SmallMaps, listed
from archsearch.errors import UserError
from archsearch.recipes import ProxyRecipe
from archsearch.utils.key_fields import restored


@dataclass(frozen=True)
class SmallMapsRows:
    """Judgement of an ablation's maps.

    Attributes:
        judgement: Kernel sizes that rows compare, and what is said of them.
        rows: Note on each row whose own kernel size, or that of its base, is too large; by the network's name.
    """

    judgement: SmallMaps = field(default_factory=SmallMaps)
    rows: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, outcome: Outcome) -> "SmallMapsRows":
        """Judge the maps of an outcome's proxy networks, whether they have been trained already or not.

        Nothing is said of networks that cannot be read here, with a user's mixer or from a newer version.
        """
        if "proxy" not in outcome.recipe:
            return cls()
        try:
            proxy = restored(ProxyRecipe, outcome.recipe["proxy"])
            pairs = {(result.name, pair.axis): pair for result in outcome.results for pair in _pairs(outcome, result)}
        except UserError:
            return cls()
        sizes: dict[str, dict[Value, Arch]] = {}
        for pair in pairs.values():
            for value, arch in pair.archs.items():
                sizes.setdefault(pair.axis, {}).setdefault(value, arch)
        judgement = SmallMaps.of(sizes, proxy)
        large = {(size.axis, size.value): size for size in judgement.sizes if size.too_large}
        notes = {}
        for (name, axis), pair in pairs.items():
            if found := [large[axis, value] for value in pair.archs if (axis, value) in large]:
                notes[name] = _note(axis, found)
        return cls(judgement, notes)

    def to_dict(self) -> dict[str, Any]:
        """Return the judgement and the rows that it concerns, as JSON-ready data."""
        return self.judgement.to_dict() | {"rows": dict(self.rows)}


@dataclass(frozen=True)
class _Pair:
    """A row's kernel size and that of its base: the architectures by the values of an axis."""

    axis: str
    archs: Mapping[Value, Arch]


def _pairs(outcome: Outcome, result: Result) -> Iterator[_Pair]:
    """Yield what a row changes of the kernel sizes of the network that it is compared to."""
    base = outcome[result.base]
    if result is base or not all("arch" in each.network for each in (result, base)):
        return
    for axis, value in result.changes.items():
        stage, _, name = axis.rpartition(".")
        own, other = (Arch.from_dict(each.network["arch"]) for each in (result, base))
        place = int(stage.removeprefix("stage") or 1) - 1
        before = dict(other.mixers[min(place, len(other.mixers) - 1)].params).get(name)
        if before is not None and value != before and sets_reach(axis) and is_number(value) and is_number(before):
            yield _Pair(axis, {before: other, value: own})


def _note(axis: str, sizes: list[KernelSize]) -> str:
    """Return a note on a row; the shares are means over the blocks."""
    told = [f"{100 * (mean_share(size.proxy) or 0):.0f} % of {size.value}'s taps" for size in sizes]
    return f"maps too small for {axis}: {listed(told)} see padding"
