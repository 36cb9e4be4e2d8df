import re
import xml.etree.ElementTree as ET

import pytest

from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import NETWORKS, network
from archsearch.report.drawing import block_svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(arch):
    """The words of a drawing, and its boxes as (class, left, top, right, bottom)."""
    root = ET.fromstring(block_svg(arch))
    words = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    boxes = []
    for rect in root.iter(f"{SVG}rect"):
        if kind := rect.get("class"):
            x, y, width, height = (float(rect.get(key)) for key in ("x", "y", "width", "height"))
            boxes.append((kind, x, y, x + width, y + height))
    return root, words, boxes


def test_figure_2s_four_blocks_are_one_setting_apart():
    inception = network("inceptionnext_tiny")
    _, words, _ = drawn(inception)
    assert [w for w in words if w.startswith("DW")] == ["DW 3 x 3", "DW 1 x 11", "DW 11 x 1"] * 2
    assert words.count("+") == 2
    assert {"stages 1 to 3", "C = 96, 192, 384", "stage 4", "split: 5C/8, C/8, C/8, C/8", "MLP: C, 3C, C, gelu"} <= set(
        words
    )
    _, words, _ = drawn(inception.replace(block="metaformer"))
    assert words.count("+") == 4
    assert words.count("batch norm") == 4
    _, words, _ = drawn(network("convnext_tiny"))
    assert [w for w in words if w.startswith("DW")] == ["DW 7 x 7"]
    assert "layer norm" in words


@pytest.mark.parametrize(
    ("mixer", "expected"),
    [
        (Mixer.of("identity"), ["identity"]),
        (Mixer.of("pooling"), ["average 3 x 3 - input"]),
        (Mixer.of("attention", num_heads=6), ["self-attention, 6 heads"]),
        (Mixer.of("partial_depthwise", conv_ratio=3 / 8), ["split: 5C/8, 3C/8", "identity", "DW 3 x 3"]),
        (Mixer.of("large_band"), ["DW 51 x 5", "DW 5 x 51", "sum"]),
        (Mixer.of("mixed_depthwise", num_kernels=2), ["DW 3 x 3", "DW 5 x 5", "concatenate"]),
        (Mixer.of("inception", branches="vertical", dilation=2), ["identity", "DW 11 x 1, dilation 2"]),
    ],
    ids=str,
)
def test_every_mixer_is_drawn(mixer, expected):
    _, words, _ = drawn(network("convnext_tiny").replace(mixers=(mixer,) * 4))
    assert set(expected) <= set(words)
    assert not any(w.startswith("DW") for w in words if w not in expected)


@pytest.mark.parametrize(
    "mixer", [Mixer.of("partial_depthwise", conv_ratio=1), Mixer.of("inception", branch_ratio=1 / 3)], ids=str
)
def test_no_wire_is_drawn_where_no_channel_is_left(mixer):
    _, words, _ = drawn(network("convnext_tiny").replace(mixers=(mixer,) * 4))
    assert "identity" not in words


def test_bands_in_sequence_stand_one_above_the_other():
    root, _, boxes = drawn(network("inceptionnext_tiny_sequential"))
    convs = [box for box in boxes if box[0] == "conv"][:3]
    assert len({left + right for _, left, _, right, _ in convs[1:]}) == 1
    assert convs[2][4] < convs[1][2]
    assert root.get("width")


@pytest.mark.parametrize("name", NETWORKS)
def test_boxes_lie_inside_and_do_not_overlap(name):
    root, _, boxes = drawn(network(name))
    width, height = float(root.get("width")), float(root.get("height"))
    assert boxes
    for i, (_, left, top, right, bottom) in enumerate(boxes):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        for _, x1, y1, x2, y2 in boxes[:i]:
            assert x2 <= left or right <= x1 or y2 <= top or bottom <= y1


def test_no_layer_scale_is_drawn_where_there_is_none():
    _, words, _ = drawn(network("convnext_tiny").replace(layer_scale_init_value=0))
    assert not re.search("layer scale", " ".join(words))
