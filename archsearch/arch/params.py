"""Parameters of token mixers: their defaults and the values that they allow."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Type of a mixer parameter: plain, hashable, the same in JSON and in a study.
Value = bool | int | float | str


@dataclass(frozen=True)
class Param:
    """A mixer parameter: its default and the test that a value has to pass.

    Attributes:
        default: Value when none is given. It never changes once released, since ``Arch.key`` leaves defaults out.
        ok: Whether a value is allowed.
        allowed: Description of the allowed values, for error messages.
    """

    default: Value
    ok: Callable[[Any], bool]
    allowed: str


def is_int(value: Any) -> bool:
    """Whether a value is an integer (a boolean is not)."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number (a boolean is not, nor is an integer beyond the largest float)."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max


def odd(default: int) -> Param:
    """Return a parameter for the size of a kernel."""
    return Param(default, lambda v: is_int(v) and 0 < v < 256 and v % 2 == 1, "a positive odd integer below 256")


def ratio(default: float) -> Param:
    """Return a parameter for a share of the channels."""
    return Param(default, lambda v: is_number(v) and 0 < v <= 1, "a number in (0, 1]")


def count(default: int, most: int) -> Param:
    """Return a parameter for a number of things."""
    return Param(default, lambda v: is_int(v) and 0 < v <= most, f"an integer from 1 to {most}")


def choice(default: str, choices: tuple[str, ...]) -> Param:
    """Return a parameter for one of several words."""
    return Param(default, lambda v: v in choices, f"one of {', '.join(choices)}")


def like(default: Value) -> Param:
    """Return a parameter that allows all values of its default's type."""
    if isinstance(default, bool):
        return Param(default, lambda v: isinstance(v, bool), "true or false")
    if isinstance(default, int):
        return Param(default, lambda v: is_int(v) and is_number(v), "an integer")
    if isinstance(default, float):
        return Param(default, is_number, "a finite number")
    return Param(default, lambda v: isinstance(v, str), "a word")
