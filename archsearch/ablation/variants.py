"""Networks of an ablation as plain data: a baseline and its variants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from archsearch.arch import Arch
from archsearch.arch.networks import TimmModel
from archsearch.arch.paper import Published
from archsearch.arch.params import Value
from archsearch.errors import ArchError, StudyFileError, unknown
from archsearch.recipes import ProxyRecipe
from archsearch.space.axes import STAGE_AXES
from archsearch.space.proxy_needs import fitted
from archsearch.space.space import Space

#: Kinds of throughput that are measured.
SPEEDS = ("train", "infer")
#: Name of a baseline that has none.
BASELINE = "baseline"
#: Side of the paper's images in pixels, where a table does not say.
IMG_SIZE = 224


@dataclass(frozen=True)
class Variant:
    """One network of a study.

    Attributes:
        name: Name in tables.
        network: Network at its own resolution.
        factor: Name of its factor; empty for the baseline.
        base: Name of the variant that it is compared to; its own for the baseline.
        changes: Values of axes, as in a space, that differ from the baseline.
        parts: Names of the variants of single factors that it combines; its own where it is one.
        row: Row of the paper that prints its results; None without one.
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
    """A list of networks to compare, one of them the baseline.

    Attributes:
        name: Name of the study, that of its file.
        title: Title of its tables.
        variants: Networks, the baseline first.
        full: Whether the variants are all combinations of the factors' values.
        train: Whether to train them even if no data set is named.
        proxy: Fields of the proxy recipe that it changes.
        needs: What its proxy networks need (``archsearch.space.proxy_needs``).
        device: Device of the paper's speeds.
        columns: Columns of the paper with images/s for ``train`` and ``infer``; the first one that a row has counts.
        changes: Fields of the recipe of the timing that it changes, by kind of device, ``cpu`` and ``gpu``.
        resolutions: Factors on the networks' image sizes, likewise.
        kernel_sizes: Kernel sizes of a study that compares operators; empty for networks.
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
    needs: Mapping[str, Any] = field(default_factory=dict)

    def fitted(self, recipe: ProxyRecipe) -> ProxyRecipe:
        """Return a recipe as it makes the proxy networks of this study."""
        return fitted(recipe, self.proxy, self.needs)

    @property
    def baseline(self) -> Variant:
        """Variant that the others are compared to."""
        return self.variants[0]

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the factors, in the order of the file."""
        return tuple(dict.fromkeys(v.factor for v in self.variants if v.factor and len(v.parts) < 2))

    def only(self, factors: Sequence[str]) -> "ListStudy":
        """Return the study of some of its factors.

        Raises:
            StudyFileError: There is no such factor.
        """
        for name in factors:
            if name not in self.factors:
                raise StudyFileError(f"study {self.name}: {unknown('factor', name, self.factors)}")
        chosen = {v.name for v in self.variants if not v.factor or v.factor in factors}
        chosen |= {v.base for v in self.variants if v.name in chosen}
        kept = [v for v in self.variants if v.name in chosen or (len(v.parts) > 1 and chosen >= {*v.parts})]
        return replace(self, variants=tuple(kept))

    def img_size(self, variant: Variant, kind: str) -> int:
        """Return the side of the images in pixels with which a variant is timed on a kind of device."""
        return round((variant.network.img_size or IMG_SIZE) * self.resolutions[kind])

    def timed(self, variant: Variant, kind: str) -> Arch | TimmModel:
        """Return the network of a variant at the resolution at which it is timed on a kind of device."""
        size = self.img_size(variant, kind)
        if isinstance(variant.network, TimmModel):
            return replace(variant.network, img_size=size)
        return variant.network.replace(img_size=size)

    def paper_speed(self, variant: Variant, speed: str) -> float | None:
        """Return the images/s that the paper prints for ``train`` or ``infer``; None where it prints none."""
        figures = variant.row.figures if variant.row else {}
        return next((float(figures[name]) for name in self.columns.get(speed, ()) if name in figures), None)

    def paper_ratio(self, variant: Variant, speed: str) -> float | None:
        """Return the same relative to the baseline."""
        own, base = self.paper_speed(variant, speed), self.paper_speed(self.baseline, speed)
        return own / base if own and base else None


def around(name: str, space: Space, params: Mapping[str, Value], arch: Arch) -> ListStudy:
    """Return the study that changes every choice of a network's space, one at a time.

    A value that opens other axes takes their first values along.

    Args:
        name: Name of the network, the baseline.
        space: Space that it comes from.
        params: Values of its open axes.
        arch: Its architecture.

    Raises:
        StudyFileError: The space has no other network.
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
    return ListStudy(f"around-{name}", title, with_parts(variants), needs=space.needs)


def combine(study: ListStudy, names: Sequence[str]) -> Variant:
    """Return the variant that makes the changes of several at once.

    Args:
        study: Study with the variants.
        names: Names of at least two of them.

    Raises:
        StudyFileError: Two of them change the same axis, or one is not compared to the baseline.
        ArchError: The combination cannot exist.
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
    """Return the axis of all stages for one of a single stage: ``stage3.depth`` changes what ``depths`` changes."""
    name = axis.rpartition(".")[2]
    return STAGE_AXES.get(name, name)


def apply(baseline: Arch | TimmModel, changes: Mapping[str, Value]) -> Arch:
    """Return the baseline with some axes changed.

    Raises:
        ArchError: The result cannot exist.
    """
    if isinstance(baseline, TimmModel):
        raise ArchError(f"{baseline} comes ready made from timm and has no parts to change")
    return Space("", "", baseline, ()).arch(changes)


def word(value: Value) -> str:
    """Return a value as it is written in labels."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def with_parts(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """Return the variants, each of which is its own part."""
    return tuple(replace(v, parts=(v.name,) if v.factor else ()) for v in variants)
