"""Token mixers as plain data: their types and parameters.

``archsearch.arch.mixer_types`` holds the types; ``archsearch.nn.mixers`` turns a ``Mixer`` into a module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archsearch.arch.mixer_types import MIXER_TYPES, MixerType, ReceptiveField
from archsearch.arch.params import Value, is_number, like
from archsearch.arch.sketch import Box, Shape
from archsearch.errors import ArchError, unknown

#: Parameters of the first release by mixer, which are part of every key. A parameter or a mixer that was added later
#: changes a key only where a value is not its default; nothing is ever added here.
FIRST_PARAMS: dict[str, tuple[str, ...]] = {
    "identity": (),
    "pooling": ("pool_size",),
    "depthwise": ("kernel_size",),
    "inception": ("square_kernel_size", "band_kernel_size", "branch_ratio", "branches", "bands", "dilation"),
    "partial_depthwise": ("kernel_size", "conv_ratio"),
    "attention": ("num_heads",),
    "large_band": ("long_kernel_size", "short_kernel_size"),
    "mixed_depthwise": ("num_kernels",),
}


def check_own_name(name: str) -> None:
    """Check that a user's mixer does not take the name of a built-in one.

    Raises:
        ArchError: It does.
    """
    if name in MIXER_TYPES and MIXER_TYPES[name].source is None:
        raise ArchError(f"token_mixer {name!r} is built in; give yours another name")


def declare(name: str, defaults: Mapping[str, Value], source: str) -> None:
    """Add a user's mixer to the types, or replace it.

    Args:
        name: Name of the mixer.
        defaults: Default of each parameter; values of the same type are allowed.
        source: Hash of its source file, part of ``Arch.key``: an edited mixer is another one.

    Raises:
        ArchError: The name is that of a built-in mixer, or a default is not a finite value.
    """
    check_own_name(name)
    params = {param: like(default) for param, default in defaults.items()}
    for param, schema in params.items():
        if not schema.ok(schema.default):
            raise ArchError(f"the default of {param} is {schema.default!r}, but must be {schema.allowed}")
    MIXER_TYPES[name] = MixerType(params, source=source)


def declarations() -> dict[str, dict[str, Any]]:
    """Return every user's mixer, as JSON-ready arguments of ``declare``."""
    return {
        name: {"defaults": {key: param.default for key, param in kind.params.items()}, "source": kind.source}
        for name, kind in MIXER_TYPES.items()
        if kind.source is not None
    }


@dataclass(frozen=True)
class Mixer:
    """A token mixer: its type and its parameters, defaults filled in.

    Raises:
        ArchError: The type or a parameter is unknown, or a value is not allowed.

    >>> Mixer.of("inception", band_kernel_size=9)["square_kernel_size"]
    3
    >>> str(Mixer.of("depthwise", kernel_size=5))
    'depthwise(kernel_size=5)'
    """

    token_mixer: str
    params: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.token_mixer, str) or self.token_mixer not in MIXER_TYPES:
            hint = "; a mixer of your own comes with --mixers FILE"
            raise ArchError(unknown("token_mixer", self.token_mixer, MIXER_TYPES) + hint)
        schema = self.type.params
        given = dict(self.params)
        for name, value in given.items():
            if name not in schema:
                raise ArchError(unknown(f"parameter of token_mixer {self.token_mixer!r}", name, schema))
            if not schema[name].ok(value):
                raise ArchError(f"{name} is {value!r}, but must be {schema[name].allowed}")
        full = tuple((name, given.get(name, param.default)) for name, param in schema.items())
        object.__setattr__(self, "params", full)

    @classmethod
    def of(cls, token_mixer: str, **params: Value) -> "Mixer":
        """Make a mixer from keyword parameters."""
        return cls(token_mixer, tuple(params.items()))

    def __getitem__(self, name: str) -> Value:
        return dict(self.params)[name]

    def __str__(self) -> str:
        kind = self.type
        told = ((k, v) for k, v in self.params if k not in kind.seldom or v != kind.params[k].default)
        return f"{self.token_mixer}({', '.join(f'{k}={_text(v)}' for k, v in told)})"

    @property
    def type(self) -> MixerType:
        """Entry of the table of mixers."""
        return MIXER_TYPES[self.token_mixer]

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """Receptive field on the mixer's map, in rows and columns; None where only gradients tell it."""
        field = self.type.receptive_field
        return field(dict(self.params)) if field else None

    @property
    def sketch(self) -> Shape:
        """Drawing of the mixer: its branches, or a box with its name."""
        sketch = self.type.sketch
        return sketch(dict(self.params)) if sketch else Box(str(self), "mixer")

    def misfit(self, dim: int) -> str | None:
        """Return what is wrong with this mixer at a width of ``dim`` channels, or None."""
        return self.type.misfit(dict(self.params), dim)

    def to_dict(self) -> dict[str, Any]:
        """Return the type and all parameters, as JSON-ready data."""
        return {"token_mixer": self.token_mixer, **dict(self.params)}

    def canonical(self) -> dict[str, Any]:
        """Return what identifies this mixer, without the built-in defaults."""
        schema, source = self.type.params, self.type.source
        values = {k: float(v) if isinstance(schema[k].default, float) else v for k, v in self.params}
        if source is not None:
            return {**values, "token_mixer": self.token_mixer, "source": source}
        return {"token_mixer": self.token_mixer} | {k: v for k, v in values.items() if v != schema[k].default}

    def key_fields(self) -> dict[str, Any]:
        """Return the type and the parameters that identify the mixer in a key or a stored study.

        All parameters of a user's mixer and those of the first release, and later ones that are not at their default.
        """
        kind, first = self.type, FIRST_PARAMS.get(self.token_mixer, ())
        kept = {k: v for k, v in self.params if kind.source or k in first or v != kind.params[k].default}
        return {"token_mixer": self.token_mixer, **kept}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Mixer":
        """Make a mixer from what ``to_dict`` returned; missing parameters take their defaults."""
        if not isinstance(data, Mapping):
            raise ArchError(f"a mixer is {data!r}, but must be a mapping: {{token_mixer: inception, ...}}")
        rest = dict(data)
        if "token_mixer" not in rest:
            raise ArchError(f"a mixer needs 'token_mixer', one of: {', '.join(MIXER_TYPES)}")
        return cls(rest.pop("token_mixer"), tuple(rest.items()))


def _text(value: Value) -> str:
    return f"{value:g}" if is_number(value) else str(value)
