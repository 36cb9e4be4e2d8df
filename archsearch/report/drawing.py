"""Blocks drawn as in Figure 2 of the paper: from the bottom up, branches side by side, residuals at the left."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import groupby

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer, inception_groups
from archsearch.report.shapes import LETTER, MARGIN, Box, Branches, Column, Shape, Wire, line, text


def block_svg(arch: Arch) -> str:
    """The blocks of a network, one drawing for stages that differ only in their width, as an SVG document."""
    groups = [(stages, block_shape(arch, stages[0])) for stages in _alike(arch)]
    titles = [_title(arch, stages) for stages, _ in groups]
    widths = [
        max(shape.width, max(map(len, title)) * LETTER) + 2 * MARGIN
        for (_, shape), title in zip(groups, titles, strict=True)
    ]
    height = max(shape.height for _, shape in groups) + 3 * MARGIN + 40
    body: list[str] = []
    left = 0.0
    for (_, shape), title, width in zip(groups, titles, widths, strict=True):
        x, floor = left + width / 2, height - MARGIN
        body += [text(x, 16 + 18 * i, words, "title" if i == 0 else "small middle") for i, words in enumerate(title)]
        body.append(line(x, floor + 14, x, floor))
        body += shape.svg(x, floor)
        top = floor - shape.height
        body.append(line(x, top, x, top - 16, arrow=True))
        left += width
    return _document(left, height, body)


def _alike(arch: Arch) -> list[list[int]]:
    """Stages whose blocks look the same, neighbours together."""
    kinds = list(zip(arch.mixers, arch.mlp_ratios, strict=True))
    return [list(group) for _, group in groupby(range(len(kinds)), key=lambda stage: kinds[stage])]


def _title(arch: Arch, stages: list[int]) -> list[str]:
    first, last = stages[0] + 1, stages[-1] + 1
    where = f"stage {first}" if first == last else f"stages {first} to {last}"
    dims = ", ".join(str(arch.dims[stage]) for stage in stages)
    depths = ", ".join(str(arch.depths[stage]) for stage in stages)
    return [where, f"C = {dims}", f"blocks: {depths}"]


def block_shape(arch: Arch, stage: int, mixer: Shape | None = None) -> Column:
    """The block of a stage, counted from 0; another shape may stand where its mixer does."""
    norm = Box(f"{arch.norm} norm", "norm")
    mixer, ratio = mixer or mixer_shape(arch.mixers[stage]), arch.mlp_ratios[stage]
    mlp = Box(f"MLP: C, {ratio:g}C, C, {arch.act}", "mlp")
    scale = (Box("layer scale", "scale"),) if arch.layer_scale_init_value else ()
    if arch.block == "metaformer":
        return Column((Column((norm, mixer, *scale), residual=True), Column((norm, mlp, *scale), residual=True)))
    return Column((mixer, norm, mlp, *scale), residual=True)


def mixer_shape(mixer: Mixer) -> Shape:
    """A mixer with its branches; one from a user's file is a box with its name."""
    drawers: dict[str, Callable[[Mixer], Shape]] = {
        "inception": _inception,
        "partial_depthwise": _partial,
        "large_band": _large_band,
        "mixed_depthwise": _mixed,
        "depthwise": lambda m: _conv(m["kernel_size"], m["kernel_size"]),
        "pooling": lambda m: Box(f"average {m['pool_size']} x {m['pool_size']} - input", "mixer"),
        "attention": lambda m: Box(f"self-attention, {m['num_heads']} heads", "mixer"),
        "identity": lambda m: Wire(),
    }
    draw = drawers.get(mixer.token_mixer)
    return draw(mixer) if draw else Box(str(mixer), "mixer")


def _conv(rows: object, columns: object, more: str = "") -> Box:
    return Box(f"DW {rows} x {columns}{more}", "conv")


def _share(ratio: float) -> str:
    """A share of the channels as people write it.

    >>> _share(0.125), _share(0.375), _share(0.3)
    ('C/8', '3C/8', '3C/10')
    """
    share = Fraction(ratio).limit_denominator(64)
    if abs(float(share) - ratio) > 1e-9:
        return f"{ratio:.3g}C"
    return f"{share.numerator if share.numerator > 1 else ''}C" + (f"/{share.denominator}" if share != 1 else "")


def _inception(mixer: Mixer) -> Branches:
    square, band, dilation = mixer["square_kernel_size"], mixer["band_kernel_size"], mixer["dilation"]
    more = f", dilation {dilation}" if dilation != 1 else ""
    boxes = {
        "square": _conv(square, square, more),
        "horizontal": _conv(1, band, more),
        "vertical": _conv(band, 1, more),
    }
    groups = inception_groups(str(mixer["branches"]), str(mixer["bands"]))
    shapes = [boxes[group[0]] if len(group) == 1 else Column(tuple(boxes[name] for name in group)) for group in groups]
    return _split([float(mixer["branch_ratio"])] * len(groups), shapes)


def _partial(mixer: Mixer) -> Branches:
    conv = _conv(mixer["kernel_size"], mixer["kernel_size"])
    return _split([float(mixer["conv_ratio"])], [conv])


def _large_band(mixer: Mixer) -> Branches:
    long, short = mixer["long_kernel_size"], mixer["short_kernel_size"]
    return Branches((_conv(long, short), _conv(short, long)), "all channels to both", "sum")


def _mixed(mixer: Mixer) -> Branches:
    count = int(mixer["num_kernels"])
    convs = tuple(_conv(size, size) for size in range(3, 2 * count + 2, 2))
    return _split([1 / count] * count, convs)


def _split(shares: Sequence[float], shapes: Sequence[Shape]) -> Branches:
    """Shapes on their shares of the channels; what is left passes at their left."""
    left = 1 - sum(shares)
    untouched = left > 1e-9
    named = [_share(share) for share in ([left] if untouched else []) + list(shares)]
    return Branches(((Wire(),) if untouched else ()) + tuple(shapes), f"split: {', '.join(named)}", "concatenate")


def _document(width: float, height: float, body: list[str]) -> str:
    style = (
        "text{font:12px sans-serif;fill:#111}.middle,.title{text-anchor:middle}.title{font-weight:bold;font-size:14px}"
        ".small{font-size:11px}.before{text-anchor:end}.line{stroke:#333;fill:none}"
    )
    arrow = (
        '<marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#333"/></marker>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}">'
        f'<style>{style}</style><defs>{arrow}</defs><rect width="100%" height="100%" fill="white"/>'
        + "".join(body)
        + "</svg>\n"
    )
