"""Records as a later version might have them: each with a field more than today's."""

import dataclasses
from dataclasses import dataclass, field

from archsearch.arch import Arch
from archsearch.arch.mixer_types import MIXER_TYPES
from archsearch.arch.params import Param
from archsearch.recipes import BenchRecipe, ProxyRecipe
from archsearch.utils.key_fields import BEFORE


@dataclass(frozen=True)
class NewerProxy(ProxyRecipe):
    """Two fields more: one whose default changes nothing, and one that is on by default and was not there before."""

    grad_clip: float = 0.0
    schedule: str = field(default="linear", metadata={BEFORE: "cosine"})


@dataclass(frozen=True)
class NewerBench(BenchRecipe):
    """A field more, whose default changes nothing."""

    power_limit: int | None = None


@dataclass(frozen=True)
class NewerArch(Arch):
    """A field more, whose default changes nothing."""

    head_bias: bool = True


def newer(record, **changes):
    """The same record as a later version has it, made as before unless changes say otherwise."""
    kinds = {ProxyRecipe: NewerProxy, BenchRecipe: NewerBench, Arch: NewerArch}
    values = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    before = {"schedule": "cosine"} if isinstance(record, ProxyRecipe) else {}
    return kinds[type(record)](**{**values, **before, **changes})


def add_parameter(monkeypatch, mixer, name="groups", default=1):
    """Gives a built-in mixer one more parameter."""
    kind = MIXER_TYPES[mixer]
    params = {**kind.params, name: Param(default, lambda v: isinstance(v, int), "an integer")}
    monkeypatch.setitem(MIXER_TYPES, mixer, dataclasses.replace(kind, params=params))
