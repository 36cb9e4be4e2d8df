"""Which of our architectures timm's own ``MetaNeXt`` and ``ConvNeXt`` can be, and by which arguments."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import NETWORKS
from archsearch.nn.timm_names import to_timms_convnext

#: Token mixers that timm's entries of ``MetaNeXt`` have; JSON cannot say another one.
INCEPTIONS = {
    "inception_next_tiny": Mixer.of("inception"),
    "inception_next_atto": Mixer.of("inception", band_kernel_size=9, branch_ratio=0.25),
}
#: timm's ConvNeXt dilates its last stage from this stride of the network on.
CONVNEXT_STRIDE = 64


@dataclass(frozen=True)
class TimmShape:
    """A network as timm's own classes build it.

    Attributes:
        entry: Name of the entry point, ``inception_next_tiny``.
        args: Arguments of the entry point, JSON-ready.
        classifier: Name of the last linear layer.
        rename: Function that gives our state timm's names.
    """

    entry: str
    args: Mapping[str, Any]
    classifier: str
    rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


class BeyondTimm(Exception):
    """timm's own classes cannot be this architecture; the message says why."""


def timm_shape(arch: Arch) -> TimmShape:
    """Return how timm's own classes build an architecture.

    Raises:
        BeyondTimm: They cannot.

    >>> from archsearch.arch.networks import network
    >>> timm_shape(network("convnext_tiny_k5")).args["kernel_sizes"]
    [5, 5, 5, 5]
    >>> timm_shape(network("inceptionnext_tiny_layer_norm"))
    Traceback (most recent call last):
    ...
    archsearch.handover.timm_shapes.BeyondTimm: its MetaNeXt has norm batch, not layer
    """
    if arch.block != "metanext":
        raise BeyondTimm(f"it has no network of {arch.block} blocks like these")
    if len(arch.depths) != 4:
        raise BeyondTimm(f"its networks have 4 stages, not {len(arch.depths)}")
    return _inceptionnext(arch) if arch.head == "mlp" else _convnext(arch)


def _inceptionnext(arch: Arch) -> TimmShape:
    for found, allowed, what in (
        (arch.norm, "batch", "norm"),
        (arch.act, "gelu", "activation"),
        (arch.stem_patch_size, 4, "stem_patch_size"),
    ):
        if found != allowed:
            raise BeyondTimm(f"its MetaNeXt has {what} {allowed}, not {found}")
    entries = [name for name, mixer in INCEPTIONS.items() if all(own == mixer for own in arch.mixers)]
    if not entries:
        raise BeyondTimm(f"its MetaNeXt has other token mixers than {_mixers(arch, tuple(INCEPTIONS.values()))}")
    entry = _named(arch, "inceptionnext") or entries[0]
    args = {"mlp_ratios": list(arch.mlp_ratios), "ls_init_value": arch.layer_scale_init_value}
    return TimmShape(entry, _common(arch) | args, "head.fc2", dict)


def _convnext(arch: Arch) -> TimmShape:
    if arch.norm != "layer":
        raise BeyondTimm(f"its ConvNeXt has norm layer, not {arch.norm}")
    if {mixer.token_mixer for mixer in arch.mixers} != {"depthwise"}:
        raise BeyondTimm(f"its ConvNeXt has other token mixers than {_mixers(arch, (), 'depthwise')}")
    if any(int(ratio * dim) != 4 * dim for ratio, dim in zip(arch.mlp_ratios, arch.dims, strict=True)):
        raise BeyondTimm(f"its ConvNeXt has mlp_ratio 4, not {', '.join(f'{ratio:g}' for ratio in arch.mlp_ratios)}")
    if arch.stem_patch_size == 2 or arch.stride >= CONVNEXT_STRIDE:
        raise BeyondTimm(f"its ConvNeXt has other strides behind a stem_patch_size of {arch.stem_patch_size}")
    args = {
        "kernel_sizes": [mixer["kernel_size"] for mixer in arch.mixers],
        "patch_size": arch.stem_patch_size,
        "conv_mlp": True,
        "act_layer": arch.act,
        "ls_init_value": arch.layer_scale_init_value or None,
    }
    return TimmShape(_named(arch, "convnext") or "convnext_tiny", _common(arch) | args, "head.fc", to_timms_convnext)


def _common(arch: Arch) -> dict[str, Any]:
    return {"depths": list(arch.depths), "dims": list(arch.dims), "drop_path_rate": arch.drop_path_rate}


def _named(arch: Arch, family: str) -> str | None:
    """Return timm's name of the network of a family that has these sizes and mixers."""
    for name, own in NETWORKS.items():
        same = (own.depths, own.dims, own.mixers) == (arch.depths, arch.dims, arch.mixers)
        if same and name.startswith(f"{family}_") and name.count("_") == 1:
            return name.replace("inceptionnext", "inception_next")
    return None


def _mixers(arch: Arch, allowed: tuple[Mixer, ...], kind: str | None = None) -> str:
    """Return the token mixers that timm does not have, in words; all of them, where it has each but not together."""
    foreign = [mixer for mixer in arch.mixers if mixer not in allowed and mixer.token_mixer != kind]
    return ", ".join(map(str, dict.fromkeys(foreign or arch.mixers)))
