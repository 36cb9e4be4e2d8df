"""The picture of an explanation, as Figure 4 of the paper: a row per image, a column per network."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from archsearch.data.folder import read_image
from archsearch.handover.explain_spec import Explanation, Sight

#: Side of an image, space around it, and height of a line of text, in pixels.
CELL, GAP, LINE = 224, 16, 22
SIZE = 16
INK, PAPER, GREY = "#1a1a1a", "#ffffff", "#5f6368"


def picture(explanation: Explanation) -> Image.Image:
    """Draw the images and, over them, what each network's prediction rests on."""
    columns, rows = 1 + len(explanation.networks), len(explanation.images)
    head, step = GAP + 2 * LINE + 4, CELL + LINE + GAP
    size = GAP + columns * (CELL + GAP), head + rows * step + LINE + GAP
    canvas = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas)
    _write(draw, 0, GAP, "image", INK)
    for column, network in enumerate(explanation.networks, 1):
        _write(draw, column, GAP, network.name, INK)
        _write(draw, column, GAP + LINE, f"stage {network.stage}, {network.map_side} x {network.map_side} map", GREY)
    for row, file in enumerate(explanation.images):
        top = head + row * step
        canvas.paste(whole(read_image(file)), (GAP, top))
        _write(draw, 0, top + CELL + 2, short_name(explanation, row), INK)
        for column, network in enumerate(explanation.networks, 1):
            canvas.paste(overlay(network.sights[row]), (GAP + column * (CELL + GAP), top))
            _write(draw, column, top + CELL + 2, said(network.sights[row]), INK)
    _legend(draw, canvas, head + rows * step)
    return canvas


def overlay(sight: Sight) -> Image.Image:
    """Return the image as the network sees it under its heat, in the library's colours, ``CELL`` pixels a side."""
    from pytorch_grad_cam.utils.image import show_cam_on_image

    view = Image.fromarray(sight.view).resize((CELL, CELL), Image.Resampling.BICUBIC)
    heat = Image.fromarray(sight.heat).resize((CELL, CELL), Image.Resampling.BILINEAR)
    shown = show_cam_on_image(np.asarray(view, dtype=np.float32) / 255, np.asarray(heat).clip(0, 1), use_rgb=True)
    return Image.fromarray(shown)


def whole(image: Image.Image) -> Image.Image:
    """Return an image as a whole, its longer side ``CELL`` pixels, on a white square."""
    scale = CELL / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    square = Image.new("RGB", (CELL, CELL), PAPER)
    square.paste(image.resize((width, height), Image.Resampling.BICUBIC), ((CELL - width) // 2, (CELL - height) // 2))
    return square


def short_name(explanation: Explanation, row: int) -> str:
    """Return the name of an image's file after that of its folder, which often is its class."""
    file = explanation.images[row]
    return f"{file.parent.name}/{file.name}" if file.parent.name else file.name


def said(sight: Sight) -> str:
    """Return the predicted class, and the explained one where it is another."""
    predicted = f"{sight.predicted} {100 * sight.probability:.0f} %"
    if sight.target == sight.predicted:
        return predicted
    return f"{sight.target} {100 * sight.target_probability:.0f} % (predicted {predicted})"


def _write(draw: ImageDraw.ImageDraw, column: int, top: int, text: str, ink: str) -> None:
    """Write a line over or under a cell; where it is wider, without its middle: the ends tell networks apart."""
    font, kept, whole = ImageFont.load_default(SIZE), len(text), text
    while kept and draw.textlength(text, font) > CELL:
        kept -= 1
        text = f"{whole[: (kept + 1) // 2]}...{whole[len(whole) - kept // 2 :]}"
    draw.text((GAP + column * (CELL + GAP), top), text, fill=ink, font=font)


def _legend(draw: ImageDraw.ImageDraw, canvas: Image.Image, top: int) -> None:
    """Draw the scale of the heat under the first column."""
    from pytorch_grad_cam.utils.image import show_cam_on_image

    width, font = CELL // 2, ImageFont.load_default(SIZE)
    ramp = np.linspace(0, 1, width, dtype=np.float32)[None].repeat(LINE - 8, 0)
    bar = show_cam_on_image(np.zeros((*ramp.shape, 3), np.float32), ramp, use_rgb=True, image_weight=0)
    canvas.paste(Image.fromarray(bar), (GAP, top + 4))
    draw.text((GAP + width + 8, top), "speaks for the class: nothing to most", fill=GREY, font=font)
