"""Colours, symbols and sizes that figures and pages share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """Look of the trials of one status; kinds differ in colour (Okabe and Ito's) and in shape.

    Attributes:
        label: Text of the legend.
        colour: Colour where there is one study; several studies are told apart by colour.
        symbol: Plotly's name of a symbol that exists in two and in three dimensions.
        size: Size in pixels.
        beyond: Distance of trials without a score beyond the axis' worst score, as a share of its range.
    """

    label: str
    colour: str
    symbol: str
    size: int
    beyond: float = 0.0


#: Looks by status, in the order of the legend.
LOOKS = {
    "dominated": Look("dominated", "#0072b2", "circle-open", 7),
    "front": Look("on the front", "#d55e00", "diamond", 11),
    "infeasible": Look("infeasible", "#cc79a7", "square-open", 8, 0.06),
    "pruned": Look("pruned", "#009e73", "cross", 8, 0.11),
    "failed": Look("failed", "#7f7f7f", "x", 7, 0.16),
}
#: Look of what confirmations found of candidates.
CONFIRMED = Look("confirmed on the test split", "#8e5bd0", "circle", 9)
#: Colours of studies, where there are several.
PALETTE = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
#: Colours of the front's line and of the paper's networks.
LINE, MARK = "#e69f00", "#59636e"
#: Colour scale of many lines by their score, legible on light and dark.
SCALE = ((0.0, "#b8c4d0"), (0.5, "#56b4e9"), (1.0, "#d55e00"))
