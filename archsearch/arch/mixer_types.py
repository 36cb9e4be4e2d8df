"""Table of the built-in token mixers: an entry holds all that is known of one, but for its module.

The module itself, which needs torch, has the same name in ``archsearch.nn.mixers.MIXERS``. ``CONTRIBUTING.md`` says how
to add a mixer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from archsearch.arch.params import Param, choice, count, odd, ratio
from archsearch.arch.sketch import Box, Branches, Column, Shape, Wire, depthwise, split_channels

#: Values of a mixer's parameters by name, defaults included.
Values = Mapping[str, Any]

#: Rows and columns that an output depends on, in pixels of the image or positions of a map; ``image`` for all of it.
ReceptiveField = tuple[int, int] | Literal["image"]


#: Endings of the names of parameters that set how far a mixer's filters reach, in users' mixers as well.
REACHING = ("kernel_size", "pool_size", "num_kernels", "dilation")


def sets_reach(name: str) -> bool:
    """Return whether a parameter, or an axis of that name, sets how far a mixer's filters reach.

    >>> sets_reach("band_kernel_size"), sets_reach("stage3.kernel_size"), sets_reach("branch_ratio")
    (True, True, False)
    """
    return name.endswith(REACHING)


@dataclass(frozen=True)
class Filter:
    """Filters of one size in a mixer: depthwise ones, or pooling windows, of stride 1 that keep the map's size.

    Attributes:
        rows: Height of the kernel, odd.
        columns: Width of the kernel, odd.
        channels: Number of channels that are filtered.
        dilation: Distance between neighbouring taps, in positions.
    """

    rows: int
    columns: int
    channels: int
    dilation: int = 1


@dataclass(frozen=True)
class MixerType:
    """A type of token mixer.

    Attributes:
        params: Parameters by name, in the order of the module's arguments.
        receptive_field: Function that returns the receptive field on the mixer's map; None to read it from gradients.
        filters: Function of the values and the channels that returns the filters; None to read them from the module.
        sketch: Function that returns the drawing; None for a box with the mixer's name.
        misfit: Function of the values and the channels that returns what is wrong with them together, or None.
        seldom: Parameters that the mixer's name states only where they differ from their defaults.
        source: Hash of the source file of a user's mixer; None for a built-in one.
    """

    params: Mapping[str, Param]
    receptive_field: Callable[[Values], ReceptiveField] | None = None
    filters: Callable[[Values, int], tuple[Filter, ...]] | None = None
    sketch: Callable[[Values], Shape] | None = None
    misfit: Callable[[Values, int], str | None] = lambda values, dim: None
    seldom: tuple[str, ...] = ()
    source: str | None = None


def _square(size: int) -> ReceptiveField:
    return size, size


def _no_filters(values: Values, dim: int) -> tuple[Filter, ...]:
    return ()


# Inception

#: Convolutions of the Inception mixer, in the order of their channels.
BRANCHES = ("square", "horizontal", "vertical")
_BRANCH_CHOICES = tuple("+".join(names) for n in (3, 2, 1) for names in combinations(BRANCHES, n))


def inception_groups(branches: str, bands: str) -> tuple[tuple[str, ...], ...]:
    """Return the groups of channels that an Inception mixer convolves, each with its branches in order of use.

    Sequential bands work one after the other on one group, parallel bands on a group each.

    >>> inception_groups("square+vertical", "parallel")
    (('square',), ('vertical',))
    >>> inception_groups("square+horizontal+vertical", "sequential")
    (('square',), ('horizontal', 'vertical'))
    """
    names = tuple(branches.split("+"))
    if bands == "parallel":
        return tuple((name,) for name in names)
    return tuple(group for group in (names[: names.index("horizontal")], ("horizontal", "vertical")) if group)


def _inception_field(values: Values) -> ReceptiveField:
    square, band = (values["dilation"] * (values[f"{name}_kernel_size"] - 1) + 1 for name in ("square", "band"))
    spans = {"square": (square, square), "horizontal": (1, band), "vertical": (band, 1)}
    present = [spans[name] for name in values["branches"].split("+")]
    return max(rows for rows, _ in present), max(columns for _, columns in present)


def _inception_filters(values: Values, dim: int) -> tuple[Filter, ...]:
    square, band, channels = values["square_kernel_size"], values["band_kernel_size"], int(dim * values["branch_ratio"])
    shapes = {"square": (square, square), "horizontal": (1, band), "vertical": (band, 1)}
    return tuple(Filter(*shapes[name], channels, values["dilation"]) for name in values["branches"].split("+"))


def _inception_sketch(values: Values) -> Shape:
    square, band, dilation = values["square_kernel_size"], values["band_kernel_size"], values["dilation"]
    more = f", dilation {dilation}" if dilation != 1 else ""
    boxes = {
        "square": depthwise(square, square, more),
        "horizontal": depthwise(1, band, more),
        "vertical": depthwise(band, 1, more),
    }
    groups = inception_groups(values["branches"], values["bands"])
    shapes = [boxes[group[0]] if len(group) == 1 else Column(tuple(boxes[name] for name in group)) for group in groups]
    return split_channels([float(values["branch_ratio"])] * len(groups), shapes)


def _inception_misfit(values: Values, dim: int) -> str | None:
    ratio, branches, bands = values["branch_ratio"], values["branches"], values["bands"]
    if bands == "sequential" and not branches.endswith("horizontal+vertical"):
        return f"bands in sequence need the horizontal and the vertical branch, but branches is {branches!r}"
    branch, groups = int(dim * float(ratio)), len(inception_groups(branches, bands))
    if branch < 1:
        return f"branch_ratio {ratio:g} leaves no channel: int({dim} * {ratio:g}) = 0; use a larger ratio or dim"
    if groups * branch > dim:
        return (
            f"branch_ratio {ratio:g} is too large: {groups} * int({dim} * {ratio:g}) = {groups * branch} "
            f"exceeds dim {dim}; use at most 1/{groups}"
        )
    return None


# Other mixers


def _partial_misfit(values: Values, dim: int) -> str | None:
    ratio = values["conv_ratio"]
    if int(dim * float(ratio)) < 1:
        return f"conv_ratio {ratio:g} leaves no convolution: int({dim} * {ratio:g}) = 0; use a larger ratio or dim"
    return None


def _attention_misfit(values: Values, dim: int) -> str | None:
    heads = values["num_heads"]
    if dim % heads:
        divisors = [str(n) for n in range(1, min(dim, 32) + 1) if dim % n == 0]
        return f"num_heads {heads} does not divide dim {dim}; use one of {', '.join(divisors)}, or another dim"
    return None


def _large_band_filters(values: Values, dim: int) -> tuple[Filter, ...]:
    long, short = values["long_kernel_size"], values["short_kernel_size"]
    return Filter(long, short, dim), Filter(short, long, dim)


def _large_band_sketch(values: Values) -> Shape:
    long, short = values["long_kernel_size"], values["short_kernel_size"]
    return Branches((depthwise(long, short), depthwise(short, long)), "all channels to both", "sum")


def _large_band_misfit(values: Values, dim: int) -> str | None:
    long, short = values["long_kernel_size"], values["short_kernel_size"]
    return f"short_kernel_size {short} exceeds long_kernel_size {long}; exchange them" if short > long else None


def _mixed_filters(values: Values, dim: int) -> tuple[Filter, ...]:
    kernels = values["num_kernels"]
    group = dim // kernels
    first = dim - group * (kernels - 1)
    return tuple(Filter(size, size, first if size == 3 else group) for size in range(3, 2 * kernels + 2, 2))


def _mixed_sketch(values: Values) -> Shape:
    kernels = values["num_kernels"]
    convs = [depthwise(size, size) for size in range(3, 2 * kernels + 2, 2)]
    return split_channels([1 / kernels] * kernels, convs)


def _mixed_misfit(values: Values, dim: int) -> str | None:
    kernels = values["num_kernels"]
    return f"num_kernels {kernels} exceeds dim {dim}; use at most {dim}" if kernels > dim else None


#: Types of token mixers by name; those of users' files are added while a process runs.
MIXER_TYPES: dict[str, MixerType] = {
    "identity": MixerType({}, receptive_field=lambda values: (1, 1), filters=_no_filters, sketch=lambda values: Wire()),
    "pooling": MixerType(
        {"pool_size": odd(3)},
        receptive_field=lambda values: _square(values["pool_size"]),
        filters=lambda values, dim: (Filter(values["pool_size"], values["pool_size"], dim),),
        sketch=lambda values: Box(f"average {values['pool_size']} x {values['pool_size']} - input", "mixer"),
    ),
    "depthwise": MixerType(
        {"kernel_size": odd(7)},
        receptive_field=lambda values: _square(values["kernel_size"]),
        filters=lambda values, dim: (Filter(values["kernel_size"], values["kernel_size"], dim),),
        sketch=lambda values: depthwise(values["kernel_size"], values["kernel_size"]),
    ),
    "inception": MixerType(
        {
            "square_kernel_size": odd(3),
            "band_kernel_size": odd(11),
            "branch_ratio": ratio(0.125),
            "branches": choice("square+horizontal+vertical", _BRANCH_CHOICES),
            "bands": choice("parallel", ("parallel", "sequential")),
            "dilation": count(1, 32),
        },
        receptive_field=_inception_field,
        filters=_inception_filters,
        sketch=_inception_sketch,
        misfit=_inception_misfit,
        seldom=("branches", "bands", "dilation"),
    ),
    "partial_depthwise": MixerType(
        {"kernel_size": odd(3), "conv_ratio": ratio(0.25)},
        receptive_field=lambda values: _square(values["kernel_size"]),
        filters=lambda values, dim: (
            Filter(values["kernel_size"], values["kernel_size"], int(dim * values["conv_ratio"])),
        ),
        sketch=lambda values: split_channels(
            [float(values["conv_ratio"])], [depthwise(values["kernel_size"], values["kernel_size"])]
        ),
        misfit=_partial_misfit,
    ),
    "attention": MixerType(
        {"num_heads": count(4, 1024)},
        receptive_field=lambda values: "image",
        filters=_no_filters,
        sketch=lambda values: Box(f"self-attention, {values['num_heads']} heads", "mixer"),
        misfit=_attention_misfit,
    ),
    "large_band": MixerType(
        {"long_kernel_size": odd(51), "short_kernel_size": odd(5)},
        receptive_field=lambda values: _square(values["long_kernel_size"]),
        filters=_large_band_filters,
        sketch=_large_band_sketch,
        misfit=_large_band_misfit,
    ),
    "mixed_depthwise": MixerType(
        {"num_kernels": count(4, 16)},
        receptive_field=lambda values: _square(2 * values["num_kernels"] + 1),
        filters=_mixed_filters,
        sketch=_mixed_sketch,
        misfit=_mixed_misfit,
    ),
}
