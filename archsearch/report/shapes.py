"""Shapes that know their size and write themselves as SVG: boxes, wires, columns of them, branches side by side.

Everything stands on its bottom and is centred at ``x``; the signal runs upwards. Sizes are in pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

BOX_HEIGHT, GAP, SPREAD, MARGIN = 30, 18, 14, 28
LETTER = 7.0
#: Fill by what a box does; borders and words carry the meaning as well.
FILLS = {
    "mixer": "#cfe3f5",
    "conv": "#cfe3f5",
    "norm": "#fbe6b8",
    "mlp": "#d8ecd0",
    "scale": "#eeeeee",
    "move": "#f4f4f4",
}


@dataclass(frozen=True)
class Box:
    """A rectangle with words in it."""

    words: str
    kind: str

    @property
    def width(self) -> float:
        """In pixels."""
        return max(64.0, len(self.words) * LETTER + 18)

    @property
    def height(self) -> float:
        """In pixels."""
        return BOX_HEIGHT

    def svg(self, x: float, bottom: float) -> Iterator[str]:
        """Centred at ``x``, standing on ``bottom``."""
        left, top = x - self.width / 2, bottom - self.height
        yield (
            f'<rect class="{self.kind}" x="{left:g}" y="{top:g}" width="{self.width:g}" '
            f'height="{self.height:g}" rx="5" fill="{FILLS[self.kind]}" stroke="#333"/>'
        )
        yield text(x, top + self.height / 2, self.words)


@dataclass(frozen=True)
class Wire:
    """Channels that pass through untouched."""

    words: str = "identity"
    width: float = 64.0
    height: float = BOX_HEIGHT

    def svg(self, x: float, bottom: float) -> Iterator[str]:
        """A line upwards with its name beside it."""
        yield line(x, bottom, x, bottom - self.height)
        yield text(x - 4, bottom - self.height / 2, self.words, "small before")


@dataclass(frozen=True)
class Column:
    """Shapes one above the other; where there is a residual, their input is added to their output."""

    shapes: tuple["Shape", ...]
    residual: bool = False

    @property
    def width(self) -> float:
        """In pixels."""
        widest = max((shape.width for shape in self.shapes), default=0.0)
        return widest + 2 * MARGIN if self.residual else widest

    @property
    def height(self) -> float:
        """In pixels."""
        inner = sum(shape.height for shape in self.shapes) + GAP * (len(self.shapes) - 1)
        return inner + (3 * GAP + 16 if self.residual else 0)

    def svg(self, x: float, bottom: float) -> Iterator[str]:
        """Centred at ``x``, standing on ``bottom``."""
        y = bottom - (GAP if self.residual else 0)
        if self.residual:
            yield line(x, bottom, x, y)
        for index, shape in enumerate(self.shapes):
            if index:
                yield line(x, y, x, y - GAP, arrow=True)
                y -= GAP
            yield from shape.svg(x, y)
            y -= shape.height
        if self.residual:
            yield from self._sum(x, bottom, y)

    def _sum(self, x: float, bottom: float, y: float) -> Iterator[str]:
        left, centre = x - self.width / 2 + 8, y - GAP - 8
        start = bottom - GAP / 2
        yield line(x, y, x, y - GAP, arrow=True)
        yield f'<circle cx="{x:g}" cy="{centre:g}" r="8" fill="white" stroke="#333"/>'
        yield text(x, centre, "+")
        yield f'<path d="M{x:g},{start:g} H{left:g} V{centre:g} H{x - 8:g}" class="line" marker-end="url(#arrow)"/>'
        yield line(x, centre - 8, x, bottom - self.height)


@dataclass(frozen=True)
class Branches:
    """Shapes side by side on parts of the channels (or each on all of them), joined above."""

    shapes: tuple["Shape", ...]
    split: str
    join: str

    @property
    def ends(self) -> tuple[Box, Box]:
        """The boxes below and above."""
        return Box(self.split, "move"), Box(self.join, "move")

    @property
    def spread(self) -> float:
        """Of the shapes and the gaps between them, in pixels."""
        return sum(shape.width for shape in self.shapes) + SPREAD * (len(self.shapes) - 1)

    @property
    def width(self) -> float:
        """In pixels."""
        return max(self.spread, *(end.width for end in self.ends))

    @property
    def height(self) -> float:
        """In pixels."""
        return 2 * BOX_HEIGHT + 2 * GAP + max(shape.height for shape in self.shapes)

    def svg(self, x: float, bottom: float) -> Iterator[str]:
        """Centred at ``x``, standing on ``bottom``."""
        low, high = bottom - BOX_HEIGHT, bottom - self.height + BOX_HEIGHT
        left = x - self.spread / 2
        for shape in self.shapes:
            at = left + shape.width / 2
            yield line(x, low, at, low - GAP, arrow=not isinstance(shape, Wire))
            yield from shape.svg(at, low - GAP)
            top = low - GAP - shape.height
            yield line(at, top, at, high + GAP)
            yield line(at, high + GAP, x, high, arrow=True)
            left += shape.width + SPREAD
        yield from self.ends[0].svg(x, bottom)
        yield from self.ends[1].svg(x, high)


Shape = Box | Wire | Column | Branches


def tree(shape: Shape) -> dict[str, Any]:
    """A shape as JSON-ready data, for those who draw by other means."""
    if isinstance(shape, Box):
        return {"box": shape.words, "kind": shape.kind}
    if isinstance(shape, Wire):
        return {"wire": shape.words}
    inner = [tree(part) for part in shape.shapes]
    if isinstance(shape, Column):
        return {"column": inner, "residual": shape.residual}
    return {"branches": inner, "split": shape.split, "join": shape.join}


def text(x: float, y: float, words: str, style: str = "middle") -> str:
    """Words whose middle is at height ``y``; the styles are classes of the document."""
    return f'<text x="{x:g}" y="{y + 4:g}" class="{style}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, arrow: bool = False) -> str:
    """A straight line, with an arrow at its end if wanted."""
    end = ' marker-end="url(#arrow)"' if arrow else ""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="line"{end}/>'
