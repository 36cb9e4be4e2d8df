"""Named networks: the baselines of spaces and ablations, with every row of the paper's tables among them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from archsearch.arch.architecture import MOST, Arch
from archsearch.arch.mixer import Mixer
from archsearch.arch.params import Value
from archsearch.errors import ArchError, unknown

TINY = ((3, 3, 9, 3), (96, 192, 384, 768))
SMALL = ((3, 3, 27, 3), (96, 192, 384, 768))
ATTO = ((2, 2, 6, 2), (40, 80, 160, 320))


def _inceptionnext(depths: tuple[int, ...], dims: tuple[int, ...], drop_path_rate: float, **mixer: Value) -> Arch:
    return Arch(
        depths=depths,
        dims=dims,
        mixers=(Mixer.of("inception", **mixer),) * 4,
        mlp_ratios=(4, 4, 4, 3),
        drop_path_rate=drop_path_rate,
    )


def _convnext(
    depths: tuple[int, ...], dims: tuple[int, ...], drop_path_rate: float, kind: str = "depthwise", **mixer: Value
) -> Arch:
    return Arch(
        depths=depths,
        dims=dims,
        mixers=(Mixer.of(kind, **mixer),) * 4,
        mlp_ratios=(4, 4, 4, 4),
        norm="layer",
        head="linear",
        drop_path_rate=drop_path_rate,
    )


def _isotropic(depth: int, norm: str, kind: str, **mixer: Value) -> Arch:
    """Return an isotropic network with the width and patch of DeiT-S; its linear head gives Table 5's parameters."""
    return Arch(
        depths=(depth,),
        dims=(384,),
        mixers=(Mixer.of(kind, **mixer),),
        mlp_ratios=(4,),
        norm=norm,
        head="linear",
        stem_patch_size=16,
        drop_path_rate=0.1,
    )


#: Table 3 and, for ConvNeXt, Liu et al. 2022 with timm's smaller ones.
_FAMILIES = {
    "inceptionnext_atto": _inceptionnext(*ATTO, 0.0, band_kernel_size=9, branch_ratio=0.25),
    "inceptionnext_tiny": _inceptionnext(*TINY, 0.1),
    "inceptionnext_small": _inceptionnext(*SMALL, 0.3),
    "inceptionnext_base": _inceptionnext((3, 3, 27, 3), (128, 256, 512, 1024), 0.4),
    "convnext_atto": _convnext(*ATTO, 0.0),
    "convnext_femto": _convnext((2, 2, 6, 2), (48, 96, 192, 384), 0.0),
    "convnext_pico": _convnext((2, 2, 6, 2), (64, 128, 256, 512), 0.0),
    "convnext_nano": _convnext((2, 2, 8, 2), (80, 160, 320, 640), 0.0),
    "convnext_tiny": _convnext(*TINY, 0.1),
    "convnext_small": _convnext(*SMALL, 0.4),
    "convnext_base": _convnext((3, 3, 27, 3), (128, 256, 512, 1024), 0.5),
    "convnext_large": _convnext((3, 3, 27, 3), (192, 384, 768, 1536), 0.5),
    "convnext_xlarge": _convnext((3, 3, 27, 3), (256, 512, 1024, 2048), 0.5),
}

#: Table 1: smaller kernels, then fewer convolved channels.
_TABLE_1 = {
    "convnext_tiny_k5": _convnext(*TINY, 0.1, kernel_size=5),
    "convnext_tiny_k3": _convnext(*TINY, 0.1, kernel_size=3),
} | {
    f"convnext_tiny_k3_ratio{over}_{under}": _convnext(
        *TINY, 0.1, "partial_depthwise", kernel_size=3, conv_ratio=over / under
    )
    for over, under in ((1, 2), (3, 8), (1, 4), (1, 8), (1, 16))
}

#: Table 5. Self-attention has the depth of DeiT-S, as 18 blocks would have 33 M parameters.
_TABLE_5 = {
    "metanext_attn_small_iso": _isotropic(12, "layer", "attention", num_heads=6),
    "convnext_small_iso": _isotropic(18, "layer", "depthwise", kernel_size=7),
    "inceptionnext_small_iso": _isotropic(18, "batch", "inception"),
}

#: Table 8. Sequential bands share one group of channels, so that the number of parameters stays the same.
_TABLE_8 = {
    "inceptionnext_tiny_no_horizontal": _inceptionnext(*TINY, 0.1, branches="square+vertical"),
    "inceptionnext_tiny_no_vertical": _inceptionnext(*TINY, 0.1, branches="square+horizontal"),
    "inceptionnext_tiny_no_square": _inceptionnext(*TINY, 0.1, branches="horizontal+vertical"),
    "inceptionnext_tiny_sequential": _inceptionnext(*TINY, 0.1, bands="sequential"),
    "inceptionnext_tiny_band7": _inceptionnext(*TINY, 0.1, band_kernel_size=7),
    "inceptionnext_tiny_band9": _inceptionnext(*TINY, 0.1, band_kernel_size=9),
    "inceptionnext_tiny_band13": _inceptionnext(*TINY, 0.1, band_kernel_size=13),
    "inceptionnext_tiny_ratio1_4": _inceptionnext(*TINY, 0.1, branch_ratio=1 / 4),
    "inceptionnext_tiny_ratio1_16": _inceptionnext(*TINY, 0.1, branch_ratio=1 / 16),
    "inceptionnext_tiny_layer_norm": _inceptionnext(*TINY, 0.1).replace(norm="layer"),
}

#: Networks by name.
NETWORKS: dict[str, Arch] = {**_FAMILIES, **_TABLE_1, **_TABLE_5, **_TABLE_8}

#: Prefix of the names of timm's networks.
TIMM = "timm:"
#: Arguments of ``timm.create_model`` that are set here, and why.
FIXED = {
    "img_size": "--img-size says it",
    "in_chans": "images have 3 channels",
    **dict.fromkeys(
        ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"),
        "networks are built without weights",
    ),
}


@dataclass(frozen=True)
class TimmModel:
    """A network from timm.

    Attributes:
        name: Name in timm.
        img_size: Side of the image in pixels; None for the network's own.
        kwargs: Arguments of ``timm.create_model``, ready for JSON.
    """

    name: str
    img_size: int | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.img_size is not None and not 0 < self.img_size <= MOST["img_size"]:
            raise ArchError(f"img_size {self.img_size} is out of range; use at most {MOST['img_size']}")
        for name, value in self.kwargs.items():
            if name in FIXED:
                raise ArchError(f"{TIMM}{self.name}: {name} is not for choice here: {FIXED[name]}")
            try:
                json.dumps(value)
            except (TypeError, ValueError):
                raise ArchError(
                    f"{TIMM}{self.name}: {name}={value!r} is no number, text, truth value, list or mapping"
                ) from None

    def __str__(self) -> str:
        return TIMM + self.name + variation(self.kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Return data for ``from_dict``, ready for JSON; what is not asked for is left out."""
        kwargs = {"kwargs": dict(self.kwargs)} if self.kwargs else {}
        return {"name": self.name, "img_size": self.img_size, **kwargs}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "TimmModel":
        """Read what ``to_dict`` returned."""
        return cls(**data)


def network(name: str) -> Arch:
    """Return a named network.

    Raises:
        ArchError: No network has that name (the message offers the nearest), or it is one of timm's, whose parts
            cannot be described or changed here.
    """
    if name.startswith(TIMM):
        raise ArchError(
            f"{name} comes ready made from timm, so its parts cannot be changed; use one of ours (see `describe`)"
        )
    if name not in NETWORKS:
        raise ArchError(unknown("network", name, NETWORKS) + "; `describe` without a name lists them all")
    return NETWORKS[name]


def find(reference: str, img_size: int | None = None) -> Arch | TimmModel:
    """Return the network that a user names: one of ``NETWORKS``, ``timm:NAME``, or a JSON file.

    Args:
        reference: Name or path as the user wrote it.
        img_size: Side of the image in pixels; None for the network's own.

    Raises:
        ArchError: No such network exists, or not for this size of image.
    """
    if reference.startswith(TIMM):
        return TimmModel(reference.removeprefix(TIMM), img_size)
    arch = read_arch(Path(reference)) if reference.endswith(".json") else network(reference)
    return arch if img_size is None else arch.replace(img_size=img_size)


def varied(network: Arch | TimmModel, kwargs: Mapping[str, Any]) -> Arch | TimmModel:
    """Return a network that is made with other arguments.

    Args:
        network: Network.
        kwargs: Arguments of ``timm.create_model`` for a network of timm's, fields of ``Arch`` for one of ours.

    Raises:
        ArchError: A field is unknown, or the network cannot exist.

    >>> str(varied(TimmModel("repvgg_a0"), {"drop_rate": 0.1}))
    'timm:repvgg_a0 (drop_rate=0.1)'
    """
    if isinstance(network, TimmModel):
        return replace(network, kwargs={**network.kwargs, **kwargs})
    return Arch.from_dict({**network.to_dict(), **kwargs})


def variation(kwargs: Mapping[str, Any]) -> str:
    """Return what is added to the name of a network that is made with other arguments; empty for none.

    >>> variation({"act": "relu", "head": "linear"}), variation({})
    (' (act=relu, head=linear)', '')
    """
    return f" ({', '.join(f'{name}={value}' for name, value in kwargs.items())})" if kwargs else ""


def read_arch(path: Path) -> Arch:
    """Read an architecture from a JSON file that holds the fields of ``Arch.to_dict``, possibly under ``arch``.

    Raises:
        ArchError: The file cannot be read, or its architecture cannot be built.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArchError(f"cannot read {path}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise ArchError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError):  # not text, or nested too deeply
        raise ArchError(f"{path}: not readable as JSON") from None
    if isinstance(data, dict) and "arch" in data:
        if data["arch"] is None:
            raise ArchError(
                f"{path} describes {data.get('network')}, which has no description of its parts; use that name instead"
            )
        data = data["arch"]
    if not isinstance(data, dict):
        raise ArchError(f"{path}: must hold an architecture, an object with depths, dims, mixers, mlp_ratios")
    try:
        return Arch.from_dict(data)
    except ArchError as error:
        raise ArchError(f"{path}: {error}") from None
