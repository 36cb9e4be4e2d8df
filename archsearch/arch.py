"""Architectures as plain data: ``Mixer`` and ``Arch``.

Nothing here imports torch. ``archsearch.nn.build`` turns an ``Arch`` into a module.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from archsearch.errors import ArchError, unknown


@dataclass(frozen=True)
class Param:
    """A mixer parameter: its default and the test that a value has to pass.

    Attributes:
        default: the value when none is given; it never changes once released, since
            ``Arch.key`` leaves defaults out.
        ok: whether a value is allowed.
        allowed: what is allowed, in words, for the error message.
    """

    default: int | float
    ok: Callable[[Any], bool]
    allowed: str


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _odd(default: int) -> Param:
    return Param(default, lambda v: _is_int(v) and 0 < v < 256 and v % 2 == 1, "a positive odd integer below 256")


def _ratio(default: float) -> Param:
    return Param(default, lambda v: _is_number(v) and 0 < v <= 1, "a number in (0, 1]")


#: Every token mixer and its parameters; ``archsearch.nn.mixers.MIXERS`` builds them.
MIXER_PARAMS: dict[str, dict[str, Param]] = {
    "identity": {},
    "pooling": {"pool_size": _odd(3)},
    "depthwise": {"kernel_size": _odd(7)},
    "inception": {
        "square_kernel_size": _odd(3),
        "band_kernel_size": _odd(11),
        "branch_ratio": _ratio(0.125),
    },
}


def _inception_misfit(mixer: "Mixer", dim: int) -> str | None:
    ratio = mixer["branch_ratio"]
    branch = int(dim * ratio)
    if branch < 1:
        return f"branch_ratio {ratio:g} leaves no channel: int({dim} * {ratio:g}) = 0; use a larger ratio or dim"
    if 3 * branch > dim:
        return (
            f"branch_ratio {ratio:g} is too large: 3 * int({dim} * {ratio:g}) = {3 * branch} "
            f"exceeds dim {dim}; use at most 1/3"
        )
    return None


#: What a mixer asks of its width: returns what is wrong, or None.
MIXER_FIT: dict[str, Callable[["Mixer", int], str | None]] = {"inception": _inception_misfit}


@dataclass(frozen=True)
class Mixer:
    """A token mixer: its type and its parameters, defaults filled in.

    Raises:
        ArchError: the type or a parameter is unknown, or a value is not allowed.

    >>> Mixer.of("inception", band_kernel_size=9)["square_kernel_size"]
    3
    >>> str(Mixer.of("depthwise", kernel_size=5))
    'depthwise(kernel_size=5)'
    """

    token_mixer: str
    params: tuple[tuple[str, int | float], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.token_mixer, str) or self.token_mixer not in MIXER_PARAMS:
            raise ArchError(unknown("token_mixer", self.token_mixer, MIXER_PARAMS))
        schema = MIXER_PARAMS[self.token_mixer]
        given = dict(self.params)
        for name, value in given.items():
            if name not in schema:
                raise ArchError(unknown(f"parameter of token_mixer {self.token_mixer!r}", name, schema))
            if not schema[name].ok(value):
                raise ArchError(f"{name} is {value!r}, but must be {schema[name].allowed}")
        full = tuple((name, given.get(name, param.default)) for name, param in schema.items())
        object.__setattr__(self, "params", full)

    @classmethod
    def of(cls, token_mixer: str, **params: int | float) -> "Mixer":
        """A mixer from keyword parameters."""
        return cls(token_mixer, tuple(params.items()))

    def __getitem__(self, name: str) -> int | float:
        return dict(self.params)[name]

    def __str__(self) -> str:
        return f"{self.token_mixer}({', '.join(f'{k}={v:g}' for k, v in self.params)})"

    def misfit(self, dim: int) -> str | None:
        """What is wrong with this mixer at a width of ``dim`` channels, or None."""
        check = MIXER_FIT.get(self.token_mixer)
        return check(self, dim) if check else None

    def to_dict(self) -> dict[str, Any]:
        """All parameters, as JSON-ready data."""
        return {"token_mixer": self.token_mixer, **dict(self.params)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Mixer":
        """The inverse of ``to_dict``; missing parameters take their defaults."""
        if not isinstance(data, Mapping):
            raise ArchError(f"a mixer is {data!r}, but must be a mapping: {{token_mixer: inception, ...}}")
        rest = dict(data)
        if "token_mixer" not in rest:
            raise ArchError(f"a mixer needs 'token_mixer', one of: {', '.join(MIXER_PARAMS)}")
        return cls(rest.pop("token_mixer"), tuple(rest.items()))


NORMS = ("batch", "layer")
ACTS = ("gelu", "relu", "silu")
HEADS = ("linear", "mlp")


@dataclass(frozen=True)
class Arch:
    """A frozen, validated, hashable description of a MetaNeXt network.

    Attributes:
        depths: blocks per stage.
        dims: channels per stage.
        mixers: token mixer per stage.
        mlp_ratios: hidden over input channels of each stage's MLP.
        norm: ``batch`` or ``layer``, in stem, downsampling and blocks.
        act: activation of the MLPs.
        head: ``mlp`` (InceptionNeXt) or ``linear`` (ConvNeXt: layer norm, linear).
        stem_patch_size: kernel and stride of the stem, in pixels.
        layer_scale_init_value: initial layer scale; 0 for none.
        drop_path_rate: stochastic depth of the last block, rising linearly from 0.
        img_size: side of the square input the costs are counted at, in pixels.
        num_classes: outputs of the head.

    Raises:
        ArchError: the description cannot be built; the message says what would be right.

    Source: *InceptionNeXt: When Inception Meets ConvNeXt*, sections 3.1 to 3.3.
    """

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

    def __post_init__(self) -> None:
        for name in ("depths", "dims", "mixers", "mlp_ratios"):
            object.__setattr__(self, name, _as_tuple(name, getattr(self, name)))
        self._check_stages()
        self._check_scalars()
        for number, (mixer, dim) in enumerate(zip(self.mixers, self.dims, strict=True), 1):
            if wrong := mixer.misfit(dim):
                raise ArchError(f"stage {number}: {wrong}")
        stride = self.stem_patch_size * 2 ** (len(self.depths) - 1)
        if self.img_size < stride:
            raise ArchError(f"img_size {self.img_size} is smaller than the network's stride {stride}")

    def _check_stages(self) -> None:
        stages = len(self.depths)
        for name in ("dims", "mixers", "mlp_ratios"):
            if len(getattr(self, name)) != stages:
                raise ArchError(f"{name} has {len(getattr(self, name))} entries, but depths has {stages} stages")
        for name in ("depths", "dims"):
            if not all(_is_int(v) and v > 0 for v in getattr(self, name)) or not stages:
                raise ArchError(f"{name} is {list(getattr(self, name))}, but must be positive integers")
        if not all(_is_number(v) and v > 0 for v in self.mlp_ratios):
            raise ArchError(f"mlp_ratios is {list(self.mlp_ratios)}, but must be positive numbers")
        if not all(isinstance(m, Mixer) for m in self.mixers):
            raise ArchError("mixers must be Mixer objects")

    def _check_scalars(self) -> None:
        for name, known in (("norm", NORMS), ("act", ACTS), ("head", HEADS)):
            if getattr(self, name) not in known:
                raise ArchError(unknown(name, getattr(self, name), known))
        for name in ("stem_patch_size", "img_size", "num_classes"):
            if not _is_int(getattr(self, name)) or getattr(self, name) < 1:
                raise ArchError(f"{name} is {getattr(self, name)!r}, but must be a positive integer")
        if not _is_number(self.layer_scale_init_value) or self.layer_scale_init_value < 0:
            raise ArchError(f"layer_scale_init_value is {self.layer_scale_init_value!r}, but must be a number >= 0")
        if not _is_number(self.drop_path_rate) or not 0 <= self.drop_path_rate < 1:
            raise ArchError(f"drop_path_rate is {self.drop_path_rate!r}, but must be a number in [0, 1)")

    def replace(self, **changes: Any) -> "Arch":
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON-ready data."""
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        data["mixers"] = [mixer.to_dict() for mixer in self.mixers]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in data.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Arch":
        """The inverse of ``to_dict``; optional fields may be missing.

        Raises:
            ArchError: a field is unknown or missing, or the architecture cannot exist.
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
        """Hash of the canonical form: 12 hexadecimal digits.

        Fields and mixer parameters at their defaults are left out, so a key outlives
        the fields that later versions add.
        """
        canonical = {
            f.name: value
            for f in dataclasses.fields(self)
            if f.default is dataclasses.MISSING or getattr(self, f.name) != f.default
            for value in [getattr(self, f.name)]
        }
        canonical["mixers"] = [_canonical_mixer(m) for m in self.mixers]
        canonical["mlp_ratios"] = [float(r) for r in self.mlp_ratios]
        text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _canonical_mixer(mixer: Mixer) -> dict[str, Any]:
    schema = MIXER_PARAMS[mixer.token_mixer]
    return {"token_mixer": mixer.token_mixer} | {k: v for k, v in mixer.params if v != schema[k].default}


def _as_tuple(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
        raise ArchError(f"{name} is {value!r}, but must be a list with one entry per stage")
    return tuple(value)
