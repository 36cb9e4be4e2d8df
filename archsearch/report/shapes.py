"""Sketches of blocks as SVG: the size of each shape, and its elements.

Everything stands on its bottom and is centred at ``x``; the signal runs upwards. Sizes are in pixels.
"""

from collections.abc import Iterator
from html import escape

from archsearch.arch.sketch import Box, Branches, Column, Shape, Wire

BOX_HEIGHT, GAP, SPREAD, MARGIN = 30.0, 18, 14, 28
LETTER = 7.0
NARROWEST = 64.0
#: Colour by kind of box; borders and words carry the meaning as well.
FILLS = {
    "mixer": "#cfe3f5",
    "conv": "#cfe3f5",
    "norm": "#fbe6b8",
    "mlp": "#d8ecd0",
    "scale": "#eeeeee",
    "move": "#f4f4f4",
}


def width_of(shape: Shape) -> float:
    """Return the width of a shape in pixels."""
    if isinstance(shape, Box):
        return max(NARROWEST, len(shape.words) * LETTER + 18)
    if isinstance(shape, Wire):
        return NARROWEST
    if isinstance(shape, Column):
        widest = max(map(width_of, shape.shapes), default=0.0)
        return widest + 2 * MARGIN if shape.residual else widest
    return max(_spread(shape), *map(width_of, _ends(shape)))


def height_of(shape: Shape) -> float:
    """Return the height of a shape in pixels."""
    if isinstance(shape, Box | Wire):
        return BOX_HEIGHT
    heights = [height_of(part) for part in shape.shapes]
    if isinstance(shape, Column):
        return sum(heights) + GAP * (len(heights) - 1) + (3 * GAP + 16 if shape.residual else 0)
    return 2 * BOX_HEIGHT + 2 * GAP + max(heights)


def svg(shape: Shape, x: float, bottom: float) -> Iterator[str]:
    """Yield the SVG elements of a shape that is centred at ``x`` and stands on ``bottom``."""
    if isinstance(shape, Box):
        return _box(shape, x, bottom)
    if isinstance(shape, Wire):
        return _wire(shape, x, bottom)
    return _column(shape, x, bottom) if isinstance(shape, Column) else _branches(shape, x, bottom)


def _box(box: Box, x: float, bottom: float) -> Iterator[str]:
    width, top = width_of(box), bottom - BOX_HEIGHT
    yield (
        f'<rect class="{box.kind}" x="{x - width / 2:g}" y="{top:g}" width="{width:g}" '
        f'height="{BOX_HEIGHT:g}" rx="5" fill="{FILLS[box.kind]}" stroke="#333"/>'
    )
    yield text(x, top + BOX_HEIGHT / 2, box.words)


def _wire(wire: Wire, x: float, bottom: float) -> Iterator[str]:
    """A line upwards with its name beside it."""
    yield line(x, bottom, x, bottom - BOX_HEIGHT)
    yield text(x - 4, bottom - BOX_HEIGHT / 2, wire.words, "small before")


def _column(column: Column, x: float, bottom: float) -> Iterator[str]:
    y = bottom - (GAP if column.residual else 0)
    if column.residual:
        yield line(x, bottom, x, y)
    for index, shape in enumerate(column.shapes):
        if index:
            yield line(x, y, x, y - GAP, arrow=True)
            y -= GAP
        yield from svg(shape, x, y)
        y -= height_of(shape)
    if column.residual:
        yield from _sum(column, x, bottom, y)


def _sum(column: Column, x: float, bottom: float, y: float) -> Iterator[str]:
    """The residual: a line around the column to the sum above it."""
    left, centre = x - width_of(column) / 2 + 8, y - GAP - 8
    start = bottom - GAP / 2
    yield line(x, y, x, y - GAP, arrow=True)
    yield f'<circle cx="{x:g}" cy="{centre:g}" r="8" fill="white" stroke="#333"/>'
    yield text(x, centre, "+")
    yield f'<path d="M{x:g},{start:g} H{left:g} V{centre:g} H{x - 8:g}" class="line" marker-end="url(#arrow)"/>'
    yield line(x, centre - 8, x, bottom - height_of(column))


def _ends(branches: Branches) -> tuple[Box, Box]:
    """The boxes below and above."""
    return Box(branches.split, "move"), Box(branches.join, "move")


def _spread(branches: Branches) -> float:
    """Width of the shapes and of the gaps between them."""
    return sum(map(width_of, branches.shapes)) + SPREAD * (len(branches.shapes) - 1)


def _branches(branches: Branches, x: float, bottom: float) -> Iterator[str]:
    low, high = bottom - BOX_HEIGHT, bottom - height_of(branches) + BOX_HEIGHT
    left = x - _spread(branches) / 2
    for shape in branches.shapes:
        at = left + width_of(shape) / 2
        yield line(x, low, at, low - GAP, arrow=not isinstance(shape, Wire))
        yield from svg(shape, at, low - GAP)
        top = low - GAP - height_of(shape)
        yield line(at, top, at, high + GAP)
        yield line(at, high + GAP, x, high, arrow=True)
        left += width_of(shape) + SPREAD
    below, above = _ends(branches)
    yield from svg(below, x, bottom)
    yield from svg(above, x, high)


def text(x: float, y: float, words: str, style: str = "middle") -> str:
    """Return words whose middle is at height ``y``; the styles are classes of the document."""
    return f'<text x="{x:g}" y="{y + 4:g}" class="{style}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, arrow: bool = False) -> str:
    """Return a straight line, with an arrow at its end where wanted."""
    end = ' marker-end="url(#arrow)"' if arrow else ""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="line"{end}/>'
