"""Token mixers as plain data: their names, parameters and what they ask of a width.

Nothing here imports torch. ``archsearch.nn.mixers`` turns a ``Mixer`` into a module.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from archsearch.errors import ArchError, unknown

#: What a mixer parameter may hold: plain, hashable, the same in JSON and in a study.
Value = bool | int | float | str


@dataclass(frozen=True)
class Param:
    """A mixer parameter: its default and the test that a value has to pass.

    Attributes:
        default: the value when none is given; it never changes once released, since
            ``Arch.key`` leaves defaults out.
        ok: whether a value is allowed.
        allowed: what is allowed, in words, for the error message.
    """

    default: Value
    ok: Callable[[Any], bool]
    allowed: str


def is_int(value: Any) -> bool:
    """Whether a value is an integer (a truth value is none)."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number (a truth value is none, nor is an integer beyond all floats)."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max


def _odd(default: int) -> Param:
    return Param(default, lambda v: is_int(v) and 0 < v < 256 and v % 2 == 1, "a positive odd integer below 256")


def _ratio(default: float) -> Param:
    return Param(default, lambda v: is_number(v) and 0 < v <= 1, "a number in (0, 1]")


def _count(default: int, most: int) -> Param:
    return Param(default, lambda v: is_int(v) and 0 < v <= most, f"an integer from 1 to {most}")


def _choice(default: str, choices: tuple[str, ...]) -> Param:
    return Param(default, lambda v: v in choices, f"one of {', '.join(choices)}")


#: Convolutions of the Inception mixer, in the order of their channels.
BRANCHES = ("square", "horizontal", "vertical")
_BRANCH_CHOICES = tuple("+".join(names) for n in (3, 2, 1) for names in combinations(BRANCHES, n))

#: Every token mixer and its parameters; ``archsearch.nn.mixers.MIXERS`` builds them.
MIXER_PARAMS: dict[str, dict[str, Param]] = {
    "identity": {},
    "pooling": {"pool_size": _odd(3)},
    "depthwise": {"kernel_size": _odd(7)},
    "inception": {
        "square_kernel_size": _odd(3),
        "band_kernel_size": _odd(11),
        "branch_ratio": _ratio(0.125),
        "branches": _choice("square+horizontal+vertical", _BRANCH_CHOICES),
        "bands": _choice("parallel", ("parallel", "sequential")),
        "dilation": _count(1, 32),
    },
    "partial_depthwise": {"kernel_size": _odd(3), "conv_ratio": _ratio(0.25)},
    "attention": {"num_heads": _count(4, 1024)},
    "large_band": {"long_kernel_size": _odd(51), "short_kernel_size": _odd(5)},
    "mixed_depthwise": {"num_kernels": _count(4, 16)},
}


def inception_groups(branches: str, bands: str) -> tuple[tuple[str, ...], ...]:
    """The groups of channels that an Inception mixer convolves, each with its branches in order of use.

    Bands in sequence work one after the other on one group, bands in parallel on a group each.

    >>> inception_groups("square+vertical", "parallel")
    (('square',), ('vertical',))
    >>> inception_groups("square+horizontal+vertical", "sequential")
    (('square',), ('horizontal', 'vertical'))
    """
    names = tuple(branches.split("+"))
    if bands == "parallel":
        return tuple((name,) for name in names)
    return tuple(group for group in (names[: names.index("horizontal")], ("horizontal", "vertical")) if group)


def _inception_misfit(mixer: "Mixer", dim: int) -> str | None:
    ratio, branches, bands = mixer["branch_ratio"], str(mixer["branches"]), str(mixer["bands"])
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


def _partial_misfit(mixer: "Mixer", dim: int) -> str | None:
    ratio = mixer["conv_ratio"]
    if int(dim * float(ratio)) < 1:
        return f"conv_ratio {ratio:g} leaves no convolution: int({dim} * {ratio:g}) = 0; use a larger ratio or dim"
    return None


def _attention_misfit(mixer: "Mixer", dim: int) -> str | None:
    heads = int(mixer["num_heads"])
    if dim % heads:
        divisors = [str(n) for n in range(1, min(dim, 32) + 1) if dim % n == 0]
        return f"num_heads {heads} does not divide dim {dim}; use one of {', '.join(divisors)}, or another dim"
    return None


def _large_band_misfit(mixer: "Mixer", dim: int) -> str | None:
    long, short = int(mixer["long_kernel_size"]), int(mixer["short_kernel_size"])
    return f"short_kernel_size {short} exceeds long_kernel_size {long}; exchange them" if short > long else None


def _mixed_misfit(mixer: "Mixer", dim: int) -> str | None:
    kernels = int(mixer["num_kernels"])
    return f"num_kernels {kernels} exceeds dim {dim}; use at most {dim}" if kernels > dim else None


#: What a mixer asks of its width and of its parameters together: returns what is wrong, or None.
MIXER_FIT: dict[str, Callable[["Mixer", int], str | None]] = {
    "inception": _inception_misfit,
    "partial_depthwise": _partial_misfit,
    "attention": _attention_misfit,
    "large_band": _large_band_misfit,
    "mixed_depthwise": _mixed_misfit,
}

#: Parameters that are worth a word only where they differ from their default.
_SELDOM = ("branches", "bands", "dilation")

#: Hash of the source of every mixer that came from a user's file. What a name means cannot be
#: passed along with each value: a mixer describes itself, in a record as well as in a file.
_SOURCES: dict[str, str] = {}


def check_own_name(name: str) -> None:
    """Makes sure that a mixer from outside the package does not take the name of a built-in one.

    Raises:
        ArchError: it does.
    """
    if name in MIXER_PARAMS and name not in _SOURCES:
        raise ArchError(f"token_mixer {name!r} is built in; give yours another name")


def declare(name: str, defaults: Mapping[str, Value], source: str) -> None:
    """Makes a mixer from outside the package known; declaring it again replaces it.

    Args:
        name: of the mixer.
        defaults: value of each parameter; values of the same type will be allowed.
        source: hash of its source, part of ``Arch.key``: an edited mixer is another one.

    Raises:
        ArchError: the name is that of a built-in mixer, or a default is not a finite value.
    """
    check_own_name(name)
    params = {param: _like(default) for param, default in defaults.items()}
    for param, schema in params.items():
        if not schema.ok(schema.default):
            raise ArchError(f"the default of {param} is {schema.default!r}, but must be {schema.allowed}")
    MIXER_PARAMS[name] = params
    _SOURCES[name] = source


def declarations() -> dict[str, dict[str, Any]]:
    """Every mixer from outside the package, as JSON-ready arguments of ``declare``."""
    return {
        name: {"defaults": {key: param.default for key, param in MIXER_PARAMS[name].items()}, "source": source}
        for name, source in _SOURCES.items()
    }


def _like(default: Value) -> Param:
    if isinstance(default, bool):
        return Param(default, lambda v: isinstance(v, bool), "true or false")
    if isinstance(default, int):
        return Param(default, lambda v: is_int(v) and is_number(v), "an integer")
    if isinstance(default, float):
        return Param(default, is_number, "a finite number")
    return Param(default, lambda v: isinstance(v, str), "a word")


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
    params: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.token_mixer, str) or self.token_mixer not in MIXER_PARAMS:
            hint = "; a mixer of your own comes with --mixers FILE"
            raise ArchError(unknown("token_mixer", self.token_mixer, MIXER_PARAMS) + hint)
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
    def of(cls, token_mixer: str, **params: Value) -> "Mixer":
        """A mixer from keyword parameters."""
        return cls(token_mixer, tuple(params.items()))

    def __getitem__(self, name: str) -> Value:
        return dict(self.params)[name]

    def __str__(self) -> str:
        schema = MIXER_PARAMS[self.token_mixer]
        told = ((k, v) for k, v in self.params if k not in _SELDOM or v != schema[k].default)
        return f"{self.token_mixer}({', '.join(f'{k}={_text(v)}' for k, v in told)})"

    def misfit(self, dim: int) -> str | None:
        """What is wrong with this mixer at a width of ``dim`` channels, or None."""
        check = MIXER_FIT.get(self.token_mixer)
        return check(self, dim) if check else None

    def to_dict(self) -> dict[str, Any]:
        """All parameters, as JSON-ready data."""
        return {"token_mixer": self.token_mixer, **dict(self.params)}

    def canonical(self) -> dict[str, Any]:
        """What tells this mixer from all others: built-in defaults are left out."""
        schema, source = MIXER_PARAMS[self.token_mixer], _SOURCES.get(self.token_mixer)
        values = {k: float(v) if isinstance(schema[k].default, float) else v for k, v in self.params}
        if source is not None:
            return {**values, "token_mixer": self.token_mixer, "source": source}
        return {"token_mixer": self.token_mixer} | {k: v for k, v in values.items() if v != schema[k].default}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Mixer":
        """The inverse of ``to_dict``; missing parameters take their defaults."""
        if not isinstance(data, Mapping):
            raise ArchError(f"a mixer is {data!r}, but must be a mapping: {{token_mixer: inception, ...}}")
        rest = dict(data)
        if "token_mixer" not in rest:
            raise ArchError(f"a mixer needs 'token_mixer', one of: {', '.join(MIXER_PARAMS)}")
        return cls(rest.pop("token_mixer"), tuple(rest.items()))


def _text(value: Value) -> str:
    return f"{value:g}" if is_number(value) else str(value)
