"""Kernel sizes that a proxy's maps are too small to judge, with what is enough for them.

The rule. A kernel size is not judged by a proxy where more than a third of its taps see padding there, and more than
a tenth of them more than in the target (``MOST``, ``BEYOND``), as the mean over the blocks that have it. What such a
kernel has more than a smaller one lies outside of the map for the most part, learns little, and costs accuracy in a
short training, of which the target knows nothing.

The reason. At 32 px and a stem's stride of 2, maps have 16, 8, 4 and 2 positions a side. Of ConvNeXt-T's kernels there,
59 % (7 x 7) and 47 % (5 x 5) of the taps see padding, in the target 22 % and 15 %; of 3 x 3, 29 % do. Trained so, both
come behind 3 x 3: 7 x 7 by 2.6 to 4 points, which at 224 px leads by 0.6 (Table 1 of *InceptionNeXt*;
``studies/results``). The limit lies above the size that won and below those that lost; where between them is a
convention. Blocks count alike: half of them are in stage 3, where the order of sizes is decided. A target with as much
padding, or the same maps, is judged as it is, so that a proxy of full size is never too small.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import MIXER_TYPES, sets_reach
from archsearch.arch.params import Value, is_number
from archsearch.complexity.padding import StagePadding, Window, mean_share, mixer_windows, padding_of
from archsearch.errors import ArchError
from archsearch.recipes import ProxyRecipe
from archsearch.space.listed import ListedSpace
from archsearch.space.space import Axis, Space

#: Greatest share of a kernel's taps that may see padding in the proxy, and how much more it may be than in the target.
MOST, BEYOND = 1 / 3, 1 / 10

#: Architectures by the value that an axis has in them, by axis; in each, all stages that the axis speaks of have it.
Sizes = Mapping[str, Mapping[Value, Arch]]


@dataclass(frozen=True)
class KernelSize:
    """A value of an axis that sets how far filters reach, in a target and in its proxy network.

    Attributes:
        axis: Name of the axis.
        value: The value.
        proxy: Taps of the filters that the axis sets, by stage of the proxy network.
        target: The same of the target, at its own resolution.
    """

    axis: str
    value: Value
    proxy: tuple[StagePadding, ...]
    target: tuple[StagePadding, ...]

    @property
    def too_large(self) -> bool:
        """Whether the proxy's maps are too small to judge it."""
        here, there = mean_share(self.proxy), mean_share(self.target)
        return here is not None and there is not None and here > MOST and here - there > BEYOND


def sizes_of_space(space: Space) -> Sizes:
    """Return the kernel sizes among which a space chooses, by axis.

    Each stands in the space's baseline, with what opens the axis; other kernel sizes there are a choice's first ones.
    """
    whole = space.whole if isinstance(space, ListedSpace) else space
    found: dict[str, dict[Value, Arch]] = {}
    for axis in whole.axes:
        if sets_reach(axis.name):
            opened = _others(whole, axis)
            values = filter(is_number, axis.values)
            made = {value: whole.possible({**opened, axis.name: value}) for value in values}
            found[axis.name] = {value: arch for value, arch in made.items() if arch is not None}
    return found


def _others(space: Space, axis: Axis) -> dict[str, Value]:
    """Return values of the axes that open an axis, mixers that have its parameter, and other kernel sizes."""
    params, name = _opening(space, axis), axis.name.rpartition(".")[2]
    for other in space.axes:
        if other.name not in (*params, axis.name) and other.open(params):
            if other.name.endswith("token_mixer"):
                kinds = [kind for kind in other.values if name in MIXER_TYPES[str(kind)].params]
                params |= {other.name: kinds[0]} if kinds else {}
            elif sets_reach(other.name):
                params[other.name] = other.values[0]
    return params


def _opening(space: Space, axis: Axis) -> dict[str, Value]:
    """Return values of the axes that a condition names, and of those that theirs name."""
    chosen: dict[str, Value] = {}
    for other in space.axes:
        if other.name in axis.when:
            chosen |= {**_opening(space, other), other.name: axis.when[other.name][0]}
    return chosen


def sizes_among(archs: Iterable[Arch]) -> Sizes:
    """Return the kernel sizes in which some architectures differ, each in the first one that has it in every stage."""
    found: dict[str, dict[Value, Arch]] = {}
    for arch in archs:
        for name, value in arch.mixers[0].params:
            if (
                sets_reach(name)
                and is_number(value)
                and all(dict(mixer.params).get(name) == value for mixer in arch.mixers)
            ):
                found.setdefault(name, {}).setdefault(value, arch)
    return found


def judged(sizes: Sizes, proxy: ProxyRecipe) -> Iterator[KernelSize]:
    """Yield how much padding each kernel size sees in the proxy network and in the target, smallest first by axis.

    Axes without a choice are left out, and sizes that set no filter.

    Args:
        sizes: Kernel sizes.
        proxy: Proxy recipe.

    Raises:
        ArchError: A proxy network cannot exist.
    """
    for axis, archs in sizes.items():
        for value in sorted(archs, key=float) if len(archs) > 1 else ():
            other, target = next(each for each in archs if each != value), archs[value]
            stages = (_padding(arch, axis, value, other) for arch in (proxy.shrink(target, 10), target))
            found = KernelSize(axis, value, *stages)
            if mean_share(found.target) is not None:
                yield found


def _padding(arch: Arch, axis: str, value: Value, other: Value) -> tuple[StagePadding, ...]:
    """Return the taps of the filters that would be others at another value of an axis, by stage."""
    prefix, _, name = axis.rpartition(".")
    return tuple(
        padding_of(arch, stage, _set_by(name, value, other, mixer, arch.dims[stage], arch.side(stage)))
        if prefix in ("", f"stage{stage + 1}")
        else padding_of(arch, stage, ())
        for stage, mixer in enumerate(arch.mixers)
    )


def _set_by(name: str, value: Value, other: Value, mixer: Mixer, dim: int, side: int) -> Iterator[Window]:
    params = dict(mixer.params)
    if params.get(name) != value:
        return iter(())
    changed = Mixer.of(mixer.token_mixer, **{**params, name: other})
    known = Counter(mixer_windows(mixer, dim, side))
    return (known - Counter(mixer_windows(changed, dim, side))).elements()


@dataclass(frozen=True)
class Remedies:
    """Changes of a proxy recipe, each of which makes maps that are large enough.

    Attributes:
        changes: Fields and their values, for each remedy.
        largest: Side of the largest image that was tried, a target's own, in pixels.
    """

    changes: tuple[Mapping[str, int], ...]
    largest: int


def remedies(sizes: Sizes, proxy: ProxyRecipe) -> Remedies:
    """Return what makes a proxy's maps large enough for kernel sizes of which some are too large.

    That is the smallest image at the recipe's stride of the stem, and the greatest smaller stride at the recipe's
    image; where no stride is enough, the smallest image at a stride of 1.
    """
    search = _Search(sizes, proxy)
    strides = itertools.takewhile(bool, (search.stride >> shift for shift in itertools.count(1)))
    own = search.smallest(proxy.stem_patch_size)
    smaller = next((change for each in strides if (change := search.enough(proxy.img_size, each))), None)
    if smaller is None and search.stride > 1:
        smaller = search.smallest(1)
    return Remedies(tuple(change for change in (own, smaller) if change), search.largest)


class _Search:
    """Search for images and strides that make maps large enough."""

    def __init__(self, sizes: Sizes, proxy: ProxyRecipe) -> None:
        self.sizes, self.proxy = sizes, proxy
        self.targets = [arch for archs in sizes.values() for arch in archs.values()]
        self.stride = proxy.stem_patch_size or max(arch.stem_patch_size for arch in self.targets)
        self.largest = max(arch.img_size for arch in self.targets)

    def smallest(self, stem: int | None) -> Mapping[str, int] | None:
        """Return the change to the smallest image that is enough, a multiple of the network's stride."""
        step = max(arch.replace(stem_patch_size=stem or arch.stem_patch_size).stride for arch in self.targets)
        sides = range(-(-self.proxy.img_size // step) * step, self.largest + 1, step)
        return next((change for side in sides if (change := self.enough(side, stem))), None)

    def enough(self, side: int, stem: int | None) -> Mapping[str, int] | None:
        """Return what differs in a recipe with this image and stride of the stem; None if that is not enough."""
        made = replace(self.proxy, img_size=side, stem_patch_size=stem)
        try:
            if any(size.too_large for size in judged(self.sizes, made)):
                return None
        except ArchError:
            return None
        changes = {"img_size": made.img_size, "stem_patch_size": made.stem_patch_size}
        return {
            name: value for name, value in changes.items() if value is not None and value != getattr(self.proxy, name)
        }
