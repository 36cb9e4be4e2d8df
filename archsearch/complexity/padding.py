"""Share of the taps of spatial filters that see padding, counted exactly, for token mixers, stages and networks.

Small maps measure padding: most taps of an 11-wide kernel on a map of 8 x 8 positions lie beyond its border. A tap is
one weight of a filter at one position of its output; it sees padding where the position of the map that it reads lies
outside. Axes are independent, so that the taps inside are the product of those of rows and columns.

Counted are filters of more than one position: depthwise and other convolutions, and pooling windows, those that leave
padding out of their average as well, since they are cut off alike. Layers of 1 x 1 read one position and never padding;
attention reads the map and has no border. Several filters of a mixer are joined by their taps, a channel's each
(parallel branches, bands in sequence, a mixer of several sizes); blocks of a stage are alike.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import Filter
from archsearch.errors import ArchError


@dataclass(frozen=True)
class Window:
    """Filters of one size as they run over a map; every tuple has an entry per axis of the map.

    Attributes:
        map: Size of the map without padding, in positions.
        output: Size of the output, in positions.
        kernel: Size of the kernel.
        before: Padding before the map, in positions.
        stride: Distance of neighbouring outputs, in positions.
        dilation: Distance of neighbouring taps, in positions.
        channels: Number of pairs of a channel that is read and one that is written.
    """

    map: tuple[int, ...]
    output: tuple[int, ...]
    kernel: tuple[int, ...]
    before: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    channels: int

    @property
    def taps(self) -> int:
        """Number of taps over all positions of the output: the filters' multiply-adds."""
        return self.channels * prod(self.output) * prod(self.kernel)

    @property
    def outside(self) -> int:
        """Number of taps that see padding."""
        axes = zip(self.map, self.output, self.kernel, self.before, self.stride, self.dilation, strict=True)
        return self.taps - self.channels * prod(taps_inside(*axis) for axis in axes)


@lru_cache(maxsize=4096)
def taps_inside(size: int, output: int, kernel: int, before: int, stride: int = 1, dilation: int = 1) -> int:
    """Return the number of taps of one axis that lie on the map, over all positions of the output.

    Args:
        size: Size of the map, in positions.
        output: Size of the output.
        kernel: Size of the kernel.
        before: Padding before the map.
        stride: Distance of neighbouring outputs, in positions.
        dilation: Distance of neighbouring taps, in positions.

    >>> taps_inside(size=8, output=8, kernel=11, before=5)  # 8 * 11 taps, 5 * 6 of them outside
    58
    """
    inside = 0
    for tap in range(kernel):
        shift = before - tap * dilation  # output i reads position i * stride - shift
        first, last = max(0, -(-shift // stride)), min(output - 1, (size - 1 + shift) // stride)
        inside += max(0, last - first + 1)
    return inside


@dataclass(frozen=True)
class StagePadding:
    """Taps of a stage's token mixers.

    Attributes:
        side: Side of the stage's map, in positions.
        blocks: Number of blocks.
        taps: Number of taps of one block, over all positions.
        outside: Number of them that see padding.
    """

    side: int
    blocks: int
    taps: int
    outside: int

    @property
    def share(self) -> float | None:
        """Share of the taps that see padding; None without any tap."""
        return self.outside / self.taps if self.taps else None


def stage_padding(arch: Arch) -> tuple[StagePadding, ...]:
    """Return the taps of each stage's token mixers at the resolution of an architecture.

    Stages of attention and identity have none, nor has a user's mixer that is not here, or does not run.

    >>> from archsearch.arch.networks import network
    >>> [f"{stage.share:.2f}" for stage in stage_padding(network("convnext_tiny"))]
    ['0.06', '0.12', '0.23', '0.43']
    """
    stages = enumerate(zip(arch.mixers, arch.dims, strict=True))
    return tuple(padding_of(arch, stage, mixer_windows(mixer, dim, arch.side(stage))) for stage, (mixer, dim) in stages)


def padding_of(arch: Arch, stage: int, windows: Iterable[Window]) -> StagePadding:
    """Return the taps of some filters of a stage, counted from 0."""
    known = tuple(windows)
    taps, outside = sum(window.taps for window in known), sum(window.outside for window in known)
    return StagePadding(arch.side(stage), arch.depths[stage], taps, outside)


def mean_share(stages: Iterable[StagePadding]) -> float | None:
    """Return the mean share over the blocks of all stages that have taps, each block alike; None without any.

    Blocks count alike, and not by their taps: the first stages have most of the taps, and the last ones of the weights.
    """
    known = [(stage.blocks, stage.share) for stage in stages if stage.share is not None]
    return sum(blocks * share for blocks, share in known) / sum(blocks for blocks, _ in known) if known else None


def mixer_windows(mixer: Mixer, dim: int, side: int) -> tuple[Window, ...]:
    """Return the filters of a mixer that read more than one position.

    Those of built-in mixers are known; those of a user's are read from its module.

    Args:
        mixer: Token mixer.
        dim: Number of channels.
        side: Side of the map, in positions.

    Returns:
        The filters; none where a user's mixer is not here, or does not run.
    """
    if mixer.type.filters:
        filters = mixer.type.filters(dict(mixer.params), dim)
        return tuple(_kept(each, side) for each in filters if each.rows * each.columns > 1)
    from archsearch.complexity.module_filters import traced_windows  # loads torch, which built-in mixers do without

    try:
        return traced_windows(mixer, mixer.type.source, dim, side)
    except ArchError:
        return ()


def _kept(known: Filter, side: int) -> Window:
    """Return a filter that keeps the size of a map of ``side`` positions."""
    kernel, dilation = (known.rows, known.columns), known.dilation
    before = (dilation * (known.rows // 2), dilation * (known.columns // 2))
    return Window((side, side), (side, side), kernel, before, (1, 1), (dilation, dilation), known.channels)
