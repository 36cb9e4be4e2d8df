"""Counts of many architectures that share their parts: each part is counted once, and counts are added up."""

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer, declarations
from archsearch.complexity.counts import analyse, analyse_activations, count_params
from archsearch.nn.blocks import BLOCKS
from archsearch.nn.metanext import HEADS, MetaNeXtStage, build_stem
from archsearch.nn.mixers import build_mixer

Counts = dict[str, float]
#: A mixer that costs nothing.
NOTHING = Mixer.of("identity")


class PartCounter:
    """Counts architectures as ``archsearch.complexity.counts`` does, to the last parameter and multiply-add.

    A network is a stem, downsampling, blocks without their mixers, mixers and a head. Spaces repeat these parts, so
    that a candidate costs microseconds where building and tracing it costs a tenth of a second or more.
    """

    def __init__(self, activations: bool = False) -> None:
        """Args: activations: whether they are counted too."""
        self.activations = activations
        self._parts: dict[object, Counts] = {}

    def __call__(self, arch: Arch) -> Counts:
        """``params`` and ``macs`` (and ``activations``) of an architecture at its resolution."""
        total = dict(self._stem(arch))
        for stage, (depth, dim, mixer) in enumerate(zip(arch.depths, arch.dims, arch.mixers, strict=True)):
            if stage:
                _add(total, self._downsampling(arch, stage), 1)
            _add(total, self._block(arch, stage), depth)
            _add(total, self._mixer(mixer, dim, arch.side(stage)), depth)
        _add(total, self._head(arch), 1)
        return total

    def _stem(self, arch: Arch) -> Counts:
        key = ("stem", arch.stem_patch_size, arch.dims[0], arch.norm, arch.img_size)
        return self._part(key, lambda: build_stem(arch), 3, arch.img_size)

    def _downsampling(self, arch: Arch, stage: int) -> Counts:
        before, dim, side = arch.dims[stage - 1], arch.dims[stage], arch.side(stage - 1)
        key = ("downsampling", before, dim, arch.norm, side)
        return self._part(key, lambda: MetaNeXtStage(arch, stage, []).downsample, before, side)

    def _block(self, arch: Arch, stage: int) -> Counts:
        dim, ratio, side = arch.dims[stage], arch.mlp_ratios[stage], arch.side(stage)
        key = (arch.block, arch.norm, arch.layer_scale_init_value > 0, dim, ratio, side)  # activations cost nothing
        return self._part(key, lambda: BLOCKS[arch.block](arch, dim, NOTHING, ratio, 0.0), dim, side)

    def _head(self, arch: Arch) -> Counts:
        dim, side = arch.dims[-1], arch.side(len(arch.dims) - 1)
        key = ("head", arch.head, dim, arch.num_classes, side)
        return self._part(key, lambda: HEADS[arch.head](dim, arch.num_classes), dim, side)

    def _mixer(self, mixer: Mixer, dim: int, side: int) -> Counts:
        if self.activations or mixer.token_mixer in declarations():
            return self._part((mixer, dim, side), lambda: nn.Sequential(build_mixer(mixer, dim)), dim, side)
        if (mixer, dim, side) not in self._parts:
            self._parts[mixer, dim, side] = _shipped_mixer(mixer, dim, side)
        return self._parts[mixer, dim, side]

    def _part(self, key: object, make: Callable[[], nn.Module], channels: int, side: int) -> Counts:
        if key not in self._parts:
            self._parts[key] = self._count(make(), channels, side)
        return self._parts[key]

    def _count(self, module: nn.Module, channels: int, side: int) -> Counts:
        x = torch.zeros(1, channels, side, side)
        counts = {"params": float(count_params(module)), "macs": float(analyse(module, x).total())}
        if self.activations:
            counts["activations"] = float(analyse_activations(module, x).total())
        return counts


def _shipped_mixer(mixer: Mixer, dim: int, side: int) -> Counts:
    """By torch's counter, which computes nothing and takes a tenth of the time.

    It agrees with fvcore's on convolutions and matrix products, of which the shipped mixers are made.
    """
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        module = build_mixer(mixer, dim).eval()
        module(torch.zeros(1, dim, side, side))
    return {"params": float(count_params(module)), "macs": counter.get_total_flops() / 2}


def _add(total: Counts, part: Counts, times: int) -> None:
    for name, value in part.items():
        total[name] += times * value
