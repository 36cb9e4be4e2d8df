"""Sketches of blocks as plain data: boxes, wires, columns of them, branches side by side.

The signal runs from the bottom up. ``archsearch.report.shapes`` draws sketches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


@dataclass(frozen=True)
class Box:
    """A rectangle with words in it.

    Attributes:
        words: Text in the box.
        kind: Kind of operator, which sets the colour: a key of ``archsearch.report.shapes.FILLS``.
    """

    words: str
    kind: str


@dataclass(frozen=True)
class Wire:
    """Channels that pass through unchanged."""

    words: str = "identity"


@dataclass(frozen=True)
class Column:
    """Shapes one above the other.

    Attributes:
        shapes: Shapes from the bottom up.
        residual: Whether the input of the column is added to its output.
    """

    shapes: tuple["Shape", ...]
    residual: bool = False


@dataclass(frozen=True)
class Branches:
    """Shapes side by side, each on some of the channels or on all of them.

    Attributes:
        shapes: Shapes from left to right.
        split: Words in the box below them.
        join: Words in the box above them.
    """

    shapes: tuple["Shape", ...]
    split: str
    join: str


Shape = Box | Wire | Column | Branches


def tree(shape: Shape) -> dict[str, Any]:
    """Return a shape as JSON-ready data.

    >>> tree(Column((Wire(), depthwise(3, 3))))
    {'column': [{'wire': 'identity'}, {'box': 'DW 3 x 3', 'kind': 'conv'}], 'residual': False}
    """
    if isinstance(shape, Box):
        return {"box": shape.words, "kind": shape.kind}
    if isinstance(shape, Wire):
        return {"wire": shape.words}
    inner = [tree(part) for part in shape.shapes]
    if isinstance(shape, Column):
        return {"column": inner, "residual": shape.residual}
    return {"branches": inner, "split": shape.split, "join": shape.join}


def depthwise(rows: int, columns: int, more: str = "") -> Box:
    """Return the box of a depthwise convolution."""
    return Box(f"DW {rows} x {columns}{more}", "conv")


def split_channels(shares: Sequence[float], shapes: Sequence[Shape]) -> Branches:
    """Return shapes on their shares of the channels; the channels left over pass at their left."""
    left = 1 - sum(shares)
    untouched = left > 1e-9
    named = [_share(share) for share in ([left] if untouched else []) + list(shares)]
    return Branches(((Wire(),) if untouched else ()) + tuple(shapes), f"split: {', '.join(named)}", "concatenate")


def _share(ratio: float) -> str:
    """Return a share of the channels as a fraction of C.

    >>> _share(0.125), _share(0.375), _share(0.3)
    ('C/8', '3C/8', '3C/10')
    """
    share = Fraction(ratio).limit_denominator(64)
    if abs(float(share) - ratio) > 1e-9:
        return f"{ratio:.3g}C"
    return f"{share.numerator if share.numerator > 1 else ''}C" + (f"/{share.denominator}" if share != 1 else "")
