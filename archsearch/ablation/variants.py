"""Networks that are compared, as plain data: a baseline and its variants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from archsearch.arch import Arch
from archsearch.arch.networks import TimmModel
from archsearch.arch.paper import Published
from archsearch.arch.params import Value
from archsearch.errors import ArchError, StudyFileError, unknown
from archsearch.space.space import Space

#: What is timed.
SPEEDS = ("train", "infer")
#: What the baseline is called where it has no name.
BASELINE = "baseline"
#: The paper's images, where a table does not say.
IMG_SIZE = 224


@dataclass(frozen=True)
class Variant:
    """One network of a study.

    Attributes:
        name: in tables.
        network: at its own resolution.
        factor: that it belongs to; empty for the baseline.
        base: name of the variant that it is compared to; its own for the baseline.
        changes: axes, as in a space, that make it from the baseline.
        parts: names of the variants of single factors that it combines; its own where it is one.
        row: of the paper, if it is one.
    """

    name: str
    network: Arch | TimmModel
    factor: str = ""
    base: str = BASELINE
    changes: Mapping[str, Value] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    row: Published | None = None

    @property
    def weights(self) -> str | None:
        """Timm's name for the published weights of the row."""
        return self.row.figures.get("weights") if self.row else None


@dataclass(frozen=True)
class ListStudy:
    """Networks that are compared, one of them the baseline.

    Attributes:
        name: of the file.
        title: what it is about.
        variants: the baseline first.
        full: whether the variants are every combination of the factors' values.
        train: whether it is trained without a data set being named.
        proxy: fields of the proxy recipe that it changes.
        device: that the paper's speeds are from.
        columns: names of the paper's columns of ``train`` and ``infer`` speeds, in images/s; the first that a row has.
        changes: to the recipe of the timing, by kind of device, ``cpu`` and ``gpu``.
        resolutions: factors on the networks' image sizes, likewise.
        kernel_sizes: where operators are compared instead of networks.
    """

    name: str
    title: str
    variants: tuple[Variant, ...]
    full: bool = False
    train: bool = True
    proxy: Mapping[str, Value] = field(default_factory=dict)
    device: str = "the paper's device"
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"cpu": {}, "gpu": {}})
    resolutions: Mapping[str, float] = field(default_factory=lambda: {"cpu": 1, "gpu": 1})
    kernel_sizes: tuple[int, ...] = ()

    @property
    def baseline(self) -> Variant:
        """What everything is compared to."""
        return self.variants[0]

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the single ones, in the order of the file."""
        return tuple(dict.fromkeys(v.factor for v in self.variants if v.factor and len(v.parts) < 2))

    def only(self, factors: Sequence[str]) -> "ListStudy":
        """The study of some of its factors.

        Raises:
            StudyFileError: it has no such factor.
        """
        for name in factors:
            if name not in self.factors:
                raise StudyFileError(f"study {self.name}: {unknown('factor', name, self.factors)}")
        chosen = {v.name for v in self.variants if not v.factor or v.factor in factors}
        chosen |= {v.base for v in self.variants if v.name in chosen}
        kept = [v for v in self.variants if v.name in chosen or (len(v.parts) > 1 and chosen >= {*v.parts})]
        return replace(self, variants=tuple(kept))

    def img_size(self, variant: Variant, kind: str) -> int:
        """Side of the images that a variant is timed with, in pixels."""
        return round((variant.network.img_size or IMG_SIZE) * self.resolutions[kind])

    def timed(self, variant: Variant, kind: str) -> Arch | TimmModel:
        """The network at that resolution."""
        size = self.img_size(variant, kind)
        if isinstance(variant.network, TimmModel):
            return replace(variant.network, img_size=size)
        return variant.network.replace(img_size=size)

    def paper_speed(self, variant: Variant, speed: str) -> float | None:
        """Images per second as the paper prints them."""
        figures = variant.row.figures if variant.row else {}
        return next((float(figures[name]) for name in self.columns.get(speed, ()) if name in figures), None)

    def paper_ratio(self, variant: Variant, speed: str) -> float | None:
        """The same over that of the baseline."""
        own, base = self.paper_speed(variant, speed), self.paper_speed(self.baseline, speed)
        return own / base if own and base else None


def around(name: str, space: Space, params: Mapping[str, Value], arch: Arch) -> ListStudy:
    """What a found network owes to each choice of its space: every other value of every axis, one at a time.

    A value that opens other axes takes their first choices along.

    Args:
        name: of the network.
        space: that it was found in.
        params: values of the axes that are open for it.
        arch: the network.

    Raises:
        StudyFileError: the space holds nothing beside it.
    """
    variants, seen = [Variant(name, arch, base=name)], {arch.key}
    for axis in space.axes:
        for value in axis.values if axis.name in params else ():
            other = space.active(space.genome({**params, axis.name: value}))
            network = space.arch(other)
            if network.key in seen:
                continue
            seen.add(network.key)
            changes = {axis: choice for axis, choice in other.items() if params.get(axis) != choice}
            variants.append(Variant(f"{axis.name} {word(value)}", network, axis.name, name, changes))
    if len(variants) == 1:
        raise StudyFileError(f"space {space.name} has no other choice than {name}")
    title = f"{name}: every other choice of space {space.name}, one at a time"
    return ListStudy(f"around-{name}", title, with_parts(variants))


def combine(study: ListStudy, names: Sequence[str]) -> Variant:
    """The variant that makes the changes of several at once.

    Raises:
        StudyFileError: two of them change the same, or they are not all compared to the baseline.
        ArchError: it cannot exist.
    """
    parts = [next(variant for variant in study.variants if variant.name == name) for name in names]
    changes: dict[str, Value] = {}
    for part in parts:
        shared = sorted({_root(axis) for axis in changes} & {_root(axis) for axis in part.changes})
        if shared or part.base != study.baseline.name:
            why = f"both set {shared[0]}" if shared else f"{part.name} is compared to {part.base}"
            raise StudyFileError(f"study {study.name}: {' and '.join(names)} cannot be combined: {why}")
        changes |= part.changes
    name, network = " + ".join(names), apply(study.baseline.network, changes)
    return Variant(name, network, " x ".join(p.factor for p in parts), study.baseline.name, changes, tuple(names))


def _root(axis: str) -> str:
    """What an axis is about, of one stage or of all: ``stage3.depth`` changes what ``depths`` changes."""
    name = axis.rpartition(".")[2]
    return {"depth": "depths", "dim": "dims", "mlp_ratio": "mlp_ratios"}.get(name, name)


def apply(baseline: Arch | TimmModel, changes: Mapping[str, Value]) -> Arch:
    """The baseline with values of axes changed.

    Raises:
        ArchError: that cannot exist.
    """
    if isinstance(baseline, TimmModel):
        raise ArchError(f"{baseline} comes ready made from timm and has no parts to change")
    return Space("", "", baseline, ()).arch(changes)


def word(value: Value) -> str:
    """A value as labels have it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def with_parts(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """Variants of single factors, which are their own parts."""
    return tuple(replace(v, parts=(v.name,) if v.factor else ()) for v in variants)
