"""Counts of many architectures that share parts: each part is counted once, and the counts are added up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.complexity.counts import analyse, analyse_activations, count_params
from archsearch.nn.blocks import BLOCKS
from archsearch.nn.metanext import HEADS, MetaNeXtStage, Stem
from archsearch.nn.mixers import build_mixer

Counts = dict[str, float]
#: A mixer that costs nothing.
NOTHING = Mixer.of("identity")


class PartCounter:
    """Counter of architectures that returns what ``archsearch.complexity.counts`` returns, exactly.

    A network is a stem, downsampling, blocks without their mixers, mixers and a head. Spaces repeat these parts, so
    that a candidate takes microseconds where building and tracing it takes a tenth of a second or more.
    """

    def __init__(self, activations: bool = False) -> None:
        """Start with no part counted.

        Args:
            activations: Whether activations are counted too.
        """
        self.activations = activations
        self._parts: dict[object, Counts] = {}
        self._agreed: dict[tuple[str, frozenset[str]], bool] = {}

    def __call__(self, arch: Arch) -> Counts:
        """Return ``params`` and ``macs`` (and ``activations``) of an architecture at its resolution."""
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
        return self._part(key, lambda: Stem(arch), 3, arch.img_size)

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
        key = (mixer, dim, side)
        if key not in self._parts:
            self._parts[key] = self._count_mixer(mixer, dim, side)
        return self._parts[key]

    def _count_mixer(self, mixer: Mixer, dim: int, side: int) -> Counts:
        """Count a mixer quickly where both counters agreed before on a mixer of this type that runs these operators."""
        quick = None if self.activations else _quick_count(mixer, dim, side)
        if quick is not None and self._agreed.get((mixer.token_mixer, quick.operators)):
            return quick.counts
        full = self._count(nn.Sequential(build_mixer(mixer, dim)), dim, side)
        if quick is not None:
            self._agreed[mixer.token_mixer, quick.operators] = quick.counts == full
        return full

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


@dataclass(frozen=True)
class _QuickCount:
    counts: Counts
    operators: frozenset[str]


def _quick_count(mixer: Mixer, dim: int, side: int) -> _QuickCount | None:
    """Count with torch's counter on the meta device, which computes nothing and takes a tenth of the time.

    It agrees with fvcore on convolutions and matrix products, but knows neither norms nor interpolation.

    Returns:
        The counts and the operators that ran; None where the mixer does not run without values.
    """
    seen = _Operators()
    try:
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter, seen:
            module = build_mixer(mixer, dim).eval()
            module(torch.zeros(1, dim, side, side))
    except Exception:  # whatever a user's mixer asks of its values; fvcore gives it some
        return None
    counts = {"params": float(count_params(module)), "macs": counter.get_total_flops() / 2}
    return _QuickCount(counts, frozenset(seen.names))


class _Operators(TorchDispatchMode):
    """Names of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


def _add(total: Counts, part: Counts, times: int) -> None:
    for name, value in part.items():
        total[name] += times * value
