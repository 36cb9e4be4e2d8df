"""Drawings of blocks as in Figure 2 of the paper: from the bottom up, branches side by side, residuals at the left."""

from itertools import groupby

from archsearch.arch import Arch
from archsearch.arch.sketch import Box, Column, Shape
from archsearch.report.shapes import LETTER, MARGIN, height_of, line, svg, text, width_of


def block_svg(arch: Arch) -> str:
    """Return an SVG document of a network's blocks, one drawing for stages that differ only in their width."""
    groups = [(stages, block_shape(arch, stages[0])) for stages in _alike(arch)]
    titles = [_title(arch, stages) for stages, _ in groups]
    widths = [
        max(width_of(shape), max(map(len, title)) * LETTER) + 2 * MARGIN
        for (_, shape), title in zip(groups, titles, strict=True)
    ]
    height = max(height_of(shape) for _, shape in groups) + 3 * MARGIN + 40
    body: list[str] = []
    left = 0.0
    for (_, shape), title, width in zip(groups, titles, widths, strict=True):
        x, floor = left + width / 2, height - MARGIN
        body += [text(x, 16 + 18 * i, words, "title" if i == 0 else "small middle") for i, words in enumerate(title)]
        body.append(line(x, floor + 14, x, floor))
        body += svg(shape, x, floor)
        top = floor - height_of(shape)
        body.append(line(x, top, x, top - 16, arrow=True))
        left += width
    return _document(left, height, body)


def _alike(arch: Arch) -> list[list[int]]:
    """Return groups of neighbouring stages whose blocks look the same."""
    kinds = list(zip(arch.mixers, arch.mlp_ratios, strict=True))
    return [list(group) for _, group in groupby(range(len(kinds)), key=lambda stage: kinds[stage])]


def _title(arch: Arch, stages: list[int]) -> list[str]:
    first, last = stages[0] + 1, stages[-1] + 1
    where = f"stage {first}" if first == last else f"stages {first} to {last}"
    dims = ", ".join(str(arch.dims[stage]) for stage in stages)
    depths = ", ".join(str(arch.depths[stage]) for stage in stages)
    return [where, f"C = {dims}", f"blocks: {depths}"]


def block_shape(arch: Arch, stage: int, mixer: Shape | None = None) -> Column:
    """Return the block of a stage, counted from 0; ``mixer`` replaces the drawing of its mixer."""
    norm = Box(f"{arch.norm} norm", "norm")
    mixer, ratio = mixer or arch.mixers[stage].sketch, arch.mlp_ratios[stage]
    mlp = Box(f"MLP: C, {ratio:g}C, C, {arch.act}", "mlp")
    scale = (Box("layer scale", "scale"),) if arch.layer_scale_init_value else ()
    if arch.block == "metaformer":
        return Column((Column((norm, mixer, *scale), residual=True), Column((norm, mlp, *scale), residual=True)))
    return Column((mixer, norm, mlp, *scale), residual=True)


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
