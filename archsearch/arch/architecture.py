"""Architectures as plain data: ``Arch``.

Nothing here imports torch. ``archsearch.nn.build`` turns an ``Arch`` into a module.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from archsearch.arch.mixer import Mixer
from archsearch.arch.params import is_int, is_number
from archsearch.errors import ArchError, unknown
from archsearch.utils.key_fields import key_fields

#: Largest values that are accepted: beyond them nothing can be built, and a typing error is likely.
MOST = {
    "depths": 1000,
    "dims": 65_536,
    "mlp_ratios": 64,
    "stem_patch_size": 4096,
    "img_size": 4096,
    "num_classes": 1_000_000,
}

BLOCKS = ("metanext", "metaformer")

NORMS = ("batch", "layer")
ACTS = ("gelu", "relu", "silu")
HEADS = ("linear", "mlp")


@dataclass(frozen=True)
class Arch:
    """A frozen, validated, hashable description of a MetaNeXt network.

    An architecture of one stage is isotropic, like ViT: ``depths=(12,)`` and a large stem patch.

    Attributes:
        depths: Number of blocks per stage.
        dims: Number of channels per stage.
        mixers: Token mixer per stage.
        mlp_ratios: Ratio of hidden to input channels of the MLPs, per stage.
        norm: Normalisation in stem, downsampling and blocks: ``batch`` or ``layer``.
        act: Activation of the MLPs.
        head: ``mlp`` (InceptionNeXt) or ``linear`` (ConvNeXt: layer norm, linear).
        stem_patch_size: Kernel size and stride of the stem, in pixels.
        layer_scale_init_value: Initial layer scale; 0 for none.
        drop_path_rate: Stochastic depth rate of the last block; it rises linearly from 0.
        img_size: Side of the square image that costs are counted at, in pixels.
        num_classes: Number of outputs of the head.
        block: ``metanext`` (one residual: mixer, norm, MLP) or ``metaformer`` (two: norm and
            mixer, norm and MLP).

    Raises:
        ArchError: The description cannot be built; the message says what would be right.

    Source: *InceptionNeXt: When Inception Meets ConvNeXt*, sections 3.1 to 3.3.
    """

    #: Fields of the first release; ``archsearch.utils.key_fields`` says what they are for. Never changed.
    FIRST: ClassVar[tuple[str, ...]] = (
        "depths", "dims", "mixers", "mlp_ratios", "norm", "act", "head", "stem_patch_size", "layer_scale_init_value",
        "drop_path_rate", "img_size", "num_classes", "block",
    )  # fmt: skip

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    mixers: tuple[Mixer, ...]
    mlp_ratios: tuple[float, ...]
    norm: str = "batch"
    act: str = "gelu"
    head: str = "mlp"
    stem_patch_size: int = 4
    layer_scale_init_value: float = 1e-6
    drop_path_rate: float = 0.0
    img_size: int = 224
    num_classes: int = 1000
    block: str = "metanext"

    def __post_init__(self) -> None:
        for name in ("depths", "dims", "mixers", "mlp_ratios"):
            object.__setattr__(self, name, _as_tuple(name, getattr(self, name)))
        self._check_stages()
        self._check_scalars()
        for number, (mixer, dim, ratio) in enumerate(zip(self.mixers, self.dims, self.mlp_ratios, strict=True), 1):
            if wrong := mixer.misfit(dim):
                raise ArchError(f"stage {number}: {wrong}")
            if int(ratio * dim) < 1:
                raise ArchError(f"stage {number}: mlp_ratio {ratio:g} leaves no channel: int({ratio:g} * {dim}) = 0")
        if self.img_size < self.stride:
            raise ArchError(
                f"img_size {self.img_size} is smaller than the network's stride {self.stride}; use at least that"
            )

    @property
    def stride(self) -> int:
        """Pixels of the image per position of the last stage's map."""
        return self.stem_patch_size * 2 ** (len(self.depths) - 1)

    def side(self, stage: int) -> int:
        """Return the side of a stage's map for an image of ``img_size``; stages count from 0."""
        side = self.img_size // self.stem_patch_size
        for _ in range(stage):
            side //= 2
        return side

    @property
    def outline(self) -> str:
        """The size of the network in words: widths, depths, image and maps.

        >>> from archsearch.arch.networks import network
        >>> network("inceptionnext_tiny").outline
        'dims 96-192-384-768, depths 3-3-9-3, images of 224 px, maps of 56-28-14-7'
        """
        maps = (self.side(stage) for stage in range(len(self.depths)))
        dims, depths, sides = ("-".join(map(str, sizes)) for sizes in (self.dims, self.depths, maps))
        return f"dims {dims}, depths {depths}, images of {self.img_size} px, maps of {sides}"

    def _check_stages(self) -> None:
        stages = len(self.depths)
        for name in ("dims", "mixers", "mlp_ratios"):
            if len(getattr(self, name)) != stages:
                raise ArchError(f"{name} has {len(getattr(self, name))} entries, but depths has {stages} stages")
        for name in ("depths", "dims"):
            if not all(is_int(v) and 0 < v <= MOST[name] for v in getattr(self, name)) or not stages:
                raise ArchError(f"{name} is {_short(getattr(self, name))}, but must be {_whole(name, 's')}")
        if not all(is_number(v) and 0 < v <= MOST["mlp_ratios"] for v in self.mlp_ratios):
            allowed = f"positive numbers of at most {MOST['mlp_ratios']}"
            raise ArchError(f"mlp_ratios is {_short(self.mlp_ratios)}, but must be {allowed}")
        if not all(isinstance(m, Mixer) for m in self.mixers):
            raise ArchError("mixers must be Mixer objects")

    def _check_scalars(self) -> None:
        for name, known in (("norm", NORMS), ("act", ACTS), ("head", HEADS), ("block", BLOCKS)):
            if getattr(self, name) not in known:
                raise ArchError(unknown(name, getattr(self, name), known))
        for name in ("stem_patch_size", "img_size", "num_classes"):
            if not is_int(getattr(self, name)) or not 0 < getattr(self, name) <= MOST[name]:
                raise ArchError(f"{name} is {_short(getattr(self, name))}, but must be {_whole(name)}")
        if not is_number(self.layer_scale_init_value) or self.layer_scale_init_value < 0:
            raise ArchError(f"layer_scale_init_value is {self.layer_scale_init_value!r}, but must be a number >= 0")
        if not is_number(self.drop_path_rate) or not 0 <= self.drop_path_rate < 1:
            raise ArchError(f"drop_path_rate is {self.drop_path_rate!r}, but must be a number in [0, 1)")

    def replace(self, **changes: Any) -> "Arch":
        """Return a copy with some fields changed; the copy is checked again."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data."""
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        data["mixers"] = [mixer.to_dict() for mixer in self.mixers]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in data.items()}

    def key_fields(self) -> dict[str, Any]:
        """Return the fields that identify the architecture in a key or a stored study, as JSON-ready data.

        All fields of the first release, and later ones where they are not at their default; likewise the mixers'
        parameters. ``from_dict`` reads it.
        """
        data = self.to_dict()
        return {name: data[name] for name in key_fields(self)} | {"mixers": [m.key_fields() for m in self.mixers]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Arch":
        """Make an architecture from what ``to_dict`` returned; optional fields may be missing.

        Raises:
            ArchError: A field is unknown or missing, or the architecture cannot exist.
        """
        names = {f.name: f for f in dataclasses.fields(cls)}
        for name in data:
            if name not in names:
                raise ArchError(unknown("field of an architecture", name, names))
        missing = [n for n in ("depths", "dims", "mixers", "mlp_ratios") if n not in data]
        if missing:
            raise ArchError(f"an architecture needs {', '.join(missing)}")
        mixers = tuple(Mixer.from_dict(m) for m in _as_tuple("mixers", data["mixers"]))
        return cls(**{**data, "mixers": mixers})

    @cached_property
    def key(self) -> str:
        """Hash of the canonical form, 12 hexadecimal digits.

        Fields and mixer parameters at their defaults are left out, so that fields which later versions add do not
        change it. ``1`` and ``1.0`` give the same key.
        """
        canonical: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.default is dataclasses.MISSING or value != field.default:
                canonical[field.name] = float(value) if isinstance(field.default, float) else value
        canonical["mixers"] = [mixer.canonical() for mixer in self.mixers]
        canonical["mlp_ratios"] = [float(r) for r in self.mlp_ratios]
        text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _whole(name: str, plural: str = "") -> str:
    return f"{'' if plural else 'a '}positive integer{plural} of at most {MOST[name]:,}"


def _short(value: Any) -> str:
    """Return a value as an error message shows it, cut where it is long."""
    try:
        text = str(list(value) if isinstance(value, tuple) else value)
    except ValueError:  # more digits than Python writes
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def _as_tuple(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
        raise ArchError(f"{name} is {value!r}, but must be a list with one entry per stage")
    return tuple(value)
