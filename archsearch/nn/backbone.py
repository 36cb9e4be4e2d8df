"""Backbones for dense prediction: a network without its head, which returns the maps of its stages.

What timm calls ``features_only``, with timm's ``out_indices`` and ``feature_info``, for the networks of ``build``.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from archsearch.arch import Arch
from archsearch.arch.params import is_int
from archsearch.errors import OptionError
from archsearch.nn.metanext import MetaNeXt, build

#: Stages asked for: their indices, the number of last ones, or None for all.
OutIndices = Sequence[int] | int | None


class Backbone(nn.Module):
    """Stem and stages of a network, which map (N, 3, H, W) to a list of maps, one per stage asked for.

    Parameters have the network's names, and are the network's own: nothing is copied. Stages behind the last one asked
    for are left out, as is the head.

    A stem of patch p and s stages give maps at strides p, 2 p, ... 2 ** (s - 1) p: 4, 8, 16 and 32 for the usual four
    stages, one map at the stride of its stem for an isotropic network. Sides that are no multiple of a stride are
    rounded down at each stage, as in the network itself.

    Attributes:
        arch: Architecture of the whole network.
        out_indices: Indices of the stages asked for, ascending.
        feature_info: timm's description of the maps: ``channels()``, ``reduction()`` (the strides), ``module_name()``.
    """

    def __init__(self, network: MetaNeXt, out_indices: OutIndices = None) -> None:
        """Take the stem and the stages of a network.

        Args:
            network: Network, trained or not; it keeps its mode, training or evaluation.
            out_indices: Indices of the stages whose maps are returned, in any order; negative ones count from the last
                stage. A number asks for that many last stages, None for all.

        Raises:
            OptionError: There is no such stage, or none or the same one twice is asked for.
        """
        super().__init__()
        from timm.models import FeatureInfo

        self.arch = network.arch
        self.out_indices = stage_indices(out_indices, len(network.stages))
        self.stem = network.stem
        self.stages = network.stages[: self.out_indices[-1] + 1]
        self.feature_info = FeatureInfo(stage_facts(network.arch), self.out_indices)
        self.train(network.training)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (N, 3, H, W) to maps (N, dim, H / stride, W / stride), by ascending stage."""
        maps = []
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.out_indices:
                maps.append(x)
        return maps


def build_features(arch: Arch, out_indices: OutIndices = None) -> Backbone:
    """Build the backbone of an architecture, initialised from torch's global generator.

    ``archsearch.handover.load_weights(path).build_features()`` is one with trained weights.

    Args:
        arch: Architecture.
        out_indices: As for ``Backbone``.

    Raises:
        OptionError: There is no such stage, or none or the same one twice is asked for.

    >>> from archsearch.arch.networks import network
    >>> backbone = build_features(network("inceptionnext_atto"), out_indices=(1, -1))
    >>> backbone.feature_info.channels(), backbone.feature_info.reduction()
    ([80, 320], [8, 32])
    """
    return Backbone(build(arch), out_indices)


def stage_facts(arch: Arch) -> list[dict[str, Any]]:
    """Return channels, stride and module of each stage, under timm's names."""
    return [
        {"num_chs": dim, "reduction": arch.stem_patch_size * 2**index, "module": f"stages.{index}"}
        for index, dim in enumerate(arch.dims)
    ]


def stage_indices(asked: OutIndices, stages: int) -> tuple[int, ...]:
    """Return the indices of the stages asked for, from 0 and ascending.

    Args:
        asked: Indices, the number of last stages, or None for all.
        stages: Number of stages.

    Raises:
        OptionError: There is no such stage, or none or the same one twice is asked for.

    >>> stage_indices((-1, 0), 4), stage_indices(2, 4), stage_indices(None, 1)
    ((0, 3), (2, 3), (0,))
    """
    if asked is None:
        return tuple(range(stages))
    given: Sequence[int] = ()
    if not isinstance(asked, int):
        given = tuple(asked)
    elif is_int(asked) and 0 < asked <= stages:
        given = range(-asked, 0)
    if not given or not all(is_int(index) and -stages <= index < stages for index in given):
        ends = f"0 to {stages - 1}, or -{stages} to -1 from the last"
        raise OptionError(f"out_indices {asked!r}: name one or more stages of the network, {ends}")
    found = tuple(sorted({index % stages for index in given}))
    if len(found) < len(given):
        raise OptionError(f"out_indices {asked!r} names a stage twice; name each once")
    return found
