"""The page of an explanation: one HTML file with its pictures inside, which needs no script and no network."""

import base64
import io
from collections.abc import Iterable, Iterator
from html import escape

import numpy as np
from PIL import Image

from archsearch.data.folder import read_image
from archsearch.handover.explain_picture import overlay, said, short_name, whole
from archsearch.handover.explain_spec import ExplainedNetwork, Explanation, StageField
from archsearch.handover.explain_tables import NOTE, effective, theoretical

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; }
th, td { overflow-wrap: anywhere; min-width: 8rem; max-width: 14rem; }
.facts tr { border-bottom: 1px solid #8884; }
.facts td { max-width: 20rem; }
img { display: block; width: 11rem; height: 11rem; }
.field { width: 8rem; height: 8rem; border: 1px solid #888; image-rendering: pixelated; background: #fff; }
small, .note { color: #777; }
"""
#: Colour of a pixel that a field draws on most, over white.
FIELD = np.array([0, 63, 125], dtype=np.float32)


def page(explanation: Explanation) -> str:
    """Return the page as HTML."""
    names = ", ".join(network.name for network in explanation.networks)
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(names)}, explained</title>
<style>{STYLE}</style></head>
<body>
<h1>What networks look at</h1>
<p>{escape(_intent(explanation))}</p>
<h2>Networks</h2>
<div class="scroll"><table class="facts">{"".join(_facts(explanation.networks))}</table></div>
<h2>Grad-CAM</h2>
<p class="note">Red: what speaks most for the class under the picture; blue: nothing. Each picture has its own scale
(Selvaraju et al. 2017). The map of a stage is coarse and is drawn smoothly. Pictures show what the network sees of the
image, resized and cropped in its own way.</p>
<div class="scroll"><table>{"".join(_sights(explanation))}</table></div>
<h2>Receptive fields</h2>
<p class="note">Dark: pixels that the central output of a stage draws on, on a square-root scale from none to the
one that it draws on most. {escape(NOTE[0].upper() + NOTE[1:])}.</p>
<div class="scroll"><table>{"".join(map(_fields, explanation.networks))}</table></div>
</body>
</html>
"""


def _intent(explanation: Explanation) -> str:
    count = len(explanation.images)
    images = "one image" if count == 1 else f"the same {count} images"
    return f"{'Networks' if len(explanation.networks) > 1 else 'A network'} with trained weights on {images}."


def _facts(networks: Iterable[ExplainedNetwork]) -> Iterator[str]:
    """Yield a row per network: what its weights are, how good they are, how it takes an image, what is explained."""
    yield _row("th", ("network", "weights", "accuracy", "images", "explained output"))
    for network in networks:
        layer = f"stage {network.stage} ({network.layer}), {network.map_side} x {network.map_side} positions"
        yield _row("td", (network.name, network.weights, network.accuracy, network.preprocessing, layer))


def _row(kind: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in cells) + "</tr>\n"


def _sights(explanation: Explanation) -> Iterator[str]:
    """Yield a row per image: the image, and its picture by each network."""
    yield _row("th", ("image", *(network.name for network in explanation.networks)))
    for row, file in enumerate(explanation.images):
        name = short_name(explanation, row)
        cells = [_figure(whole(read_image(file)), name, name)]
        for network in explanation.networks:
            sight = network.sights[row]
            shown = f"Grad-CAM of {network.name} on {name}"
            nothing = "" if sight.heat.any() else ": nothing speaks for it"
            cells.append(_figure(overlay(sight), shown, said(sight) + nothing))
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"


def _fields(network: ExplainedNetwork) -> str:
    """Return a row: the fields of a network's stages."""
    cells = "".join(f"<td>{_field(network, field)}</td>" for field in network.fields)
    side = f"{network.img_size} x {network.img_size} px"
    return f"<tr><th>{escape(network.name)}<br><small>{side}</small></th>{cells}</tr>\n"


def _field(network: ExplainedNetwork, field: StageField) -> str:
    words = f"stage {field.stage}: effective {effective(field)}, theoretical {theoretical(field)}"
    if field.gradient is None:
        return escape(words)
    return _figure(
        field_map(field.gradient), f"effective receptive field of {network.name}, stage {field.stage}", words, "field"
    )


def field_map(gradient: np.ndarray) -> Image.Image:
    """Return the shares of pixels as a picture, white for none, on a square-root scale."""
    strength = np.sqrt(gradient / gradient.max())[..., None]
    return Image.fromarray((255 + strength * (FIELD - 255)).round().astype(np.uint8))


def _figure(image: Image.Image, alt: str, caption: str, kind: str = "") -> str:
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    return f'<img class="{kind}" src="{source}" alt="{escape(alt)}"><small>{escape(caption)}</small>'
