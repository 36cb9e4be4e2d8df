"""Taps that see padding: counted in closed form, from modules, and by convolving a map of ones with ones."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import MIXER_TYPES
from archsearch.arch.networks import network
from archsearch.complexity.module_filters import module_windows
from archsearch.complexity.padding import StagePadding, Window, mean_share, mixer_windows, stage_padding, taps_inside
from archsearch.nn import load_mixers
from archsearch.nn.mixers import build_mixer

MIXERS = [
    Mixer.of("identity"),
    Mixer.of("attention"),
    Mixer.of("pooling"),
    Mixer.of("pooling", pool_size=7),
    Mixer.of("depthwise"),
    Mixer.of("depthwise", kernel_size=1),
    Mixer.of("partial_depthwise", kernel_size=5, conv_ratio=0.3),
    Mixer.of("inception"),
    Mixer.of("inception", branches="square+vertical", square_kernel_size=5),
    Mixer.of("inception", bands="sequential", band_kernel_size=7, dilation=3),
    Mixer.of("large_band", long_kernel_size=13, short_kernel_size=3),
    Mixer.of("mixed_depthwise", num_kernels=3),
]
DIM = 25  # channels that no mixer divides evenly


def ones_inside(x, kernel, stride, padding, dilation):
    """Count taps on the map the slow way: every output of ones convolved with ones is its number of taps inside."""
    weight = torch.ones(x.shape[1], 1, *kernel, dtype=torch.float64)
    ones = torch.ones(1, *x.shape[1:], dtype=torch.float64)
    return F.conv2d(ones, weight, None, stride, padding, dilation, groups=x.shape[1])


def slow_count(module, dim, side):
    """Return taps outside and in all of a mixer of our own, from its layers as they run."""
    outside, taps = 0, 0

    def look(layer, inputs, output):
        nonlocal outside, taps
        pair = lambda v: v if isinstance(v, tuple) else (v, v)  # noqa: E731
        kernel = pair(layer.kernel_size)
        if kernel == (1, 1):
            return
        inside = ones_inside(
            inputs[0], kernel, pair(layer.stride), pair(layer.padding), pair(getattr(layer, "dilation", 1))
        )
        whole = inside.numel() * kernel[0] * kernel[1]
        taps += whole
        outside += whole - int(inside.sum())

    layers = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.AvgPool2d)]
    for layer in layers:
        layer.register_forward_hook(look)
    module.eval()(torch.zeros(1, dim, side, side))
    return outside, taps


def counts(windows):
    return sum(w.outside for w in windows), sum(w.taps for w in windows)


def test_all_types_of_mixers_are_tried():
    assert {mixer.token_mixer for mixer in MIXERS} == {*MIXER_TYPES}
    assert all(kind.filters for kind in MIXER_TYPES.values())


@pytest.mark.parametrize("mixer", MIXERS, ids=str)
@pytest.mark.parametrize("side", [1, 2, 4, 7, 16])
def test_closed_form_module_and_slow_count_agree(mixer, side):
    dim = 24 if mixer.token_mixer == "attention" else DIM
    known = mixer_windows(mixer, dim, side)
    assert set(known) == set(module_windows(build_mixer(mixer, dim), dim, side))
    assert counts(known) == slow_count(build_mixer(mixer, dim), dim, side)


@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    padding=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_taps_inside_are_those_of_ones_convolved_with_ones(size, kernel, padding, stride, dilation):
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    assume(all(n + 2 * p >= r for n, p, r in zip(size, padding, reach, strict=True)))
    inside = ones_inside(torch.zeros(1, 1, *size), kernel, stride, padding, dilation)
    window = Window(size, tuple(inside.shape[2:]), kernel, padding, stride, dilation, channels=1)
    assert window.taps - window.outside == int(inside.sum())
    assert window.taps == inside.numel() * kernel[0] * kernel[1]


@given(size=st.integers(1, 40), reach=st.integers(0, 20))
def test_the_axis_of_a_filter_that_keeps_the_map_has_a_closed_form(size, reach):
    """A kernel of 2 r + 1 loses 1 + 2 + ... + r taps at either end, until it is wider than the map from any output."""
    kernel = 2 * reach + 1
    if reach < size:
        assert taps_inside(size, size, kernel, reach) == size * kernel - reach * (reach + 1)
    else:  # every output sees the whole map
        assert taps_inside(size, size, kernel, reach) == size * size


OWN = """
import torch
import torch.nn.functional as F
from torch import nn

class Own(nn.Module):
    def __init__(self, dim, kernel_size=3):
        super().__init__()
        self.kernel_size, self.dim = kernel_size, dim
        self.weight = nn.Parameter(torch.ones(dim, 1, kernel_size, kernel_size))
        self.down = nn.Conv2d(dim, dim, 2, stride=2)
        self.point = nn.Conv2d(dim, dim, 1)
        self.reflect = nn.Conv2d(dim, dim, 5, padding=2, padding_mode="reflect", groups=dim)

    def forward(self, x):
        k = self.kernel_size
        return BODY

MIXERS = {"own": Own}
"""
DEPTHWISE = Window((8, 8), (8, 8), (3, 3), (1, 1), (1, 1), (1, 1), 4)


@pytest.mark.parametrize(
    ("body", "windows"),
    [
        ("F.conv2d(x, self.weight, padding=k // 2, groups=self.dim)", [DEPTHWISE]),
        ("F.conv2d(F.pad(x, (1, 1, 1, 1)), self.weight, groups=self.dim)", [DEPTHWISE]),
        ("F.conv2d(F.pad(F.pad(x, (0, 1)), (1, 0, 1, 1)), self.weight, groups=self.dim)", [DEPTHWISE]),
        ("self.point(F.conv2d(x, self.weight, padding='same', groups=self.dim))", [DEPTHWISE]),
        ("F.max_pool2d(x, k, 1, k // 2)", [DEPTHWISE]),
        ("F.avg_pool2d(x, k, 1, k // 2, count_include_pad=False)", [DEPTHWISE]),
        ("self.reflect(x)", [Window((8, 8), (8, 8), (5, 5), (2, 2), (1, 1), (1, 1), 4)]),
        (  # a smaller map within the mixer: what is read there counts there
            "F.interpolate(F.conv2d(self.down(x), self.weight, padding=1, groups=4), size=8)",
            [
                Window((8, 8), (4, 4), (2, 2), (0, 0), (2, 2), (1, 1), 16),
                Window((4, 4), (4, 4), (3, 3), (1, 1), (1, 1), (1, 1), 4),
            ],
        ),
        ("F.conv1d(x.flatten(2), self.weight[:, :, 0], padding=1, groups=4).view_as(x)",
         [Window((64,), (64,), (3,), (1,), (1,), (1,), 4)]),
        ("x + self.point(x)", []),
        ("x + undefined", []),
    ],
)  # fmt: skip
def test_filters_of_a_users_mixer_are_read_from_its_module(tmp_path, body, windows):
    file = tmp_path / "own.py"
    file.write_text(OWN.replace("BODY", body))
    load_mixers(file)
    assert mixer_windows(Mixer.of("own"), 4, 8) == tuple(windows)


def test_an_edited_mixer_has_other_filters(tmp_path):
    file = tmp_path / "own.py"
    for padding, outside in (("k // 2", 4 * (8 * 8 * 9 - 22 * 22)), ("0", 0)):
        body = f"F.interpolate(F.conv2d(x, self.weight, padding={padding}, groups=self.dim), size=8)"
        file.write_text(OWN.replace("BODY", body))
        load_mixers(file)
        assert counts(mixer_windows(Mixer.of("own"), 4, 8))[0] == outside


def test_stages_of_the_papers_networks():
    """7 x 7 on maps of n positions a side loses 12 / 7 n of an axis."""
    found = stage_padding(network("convnext_tiny"))
    assert [stage.side for stage in found] == [56, 28, 14, 7]
    assert [stage.share for stage in found] == pytest.approx([1 - (1 - 12 / (7 * n)) ** 2 for n in (56, 28, 14, 7)])
    assert mean_share(found) == pytest.approx(sum(b * s.share for b, s in zip((3, 3, 9, 3), found, strict=True)) / 18)


def test_branches_are_joined_by_their_taps():
    (first, *_) = stage_padding(network("inceptionnext_tiny"))
    square, band = 1 - (1 - 2 / (3 * 56)) ** 2, 30 / (11 * 56)
    assert first.share == pytest.approx((9 * square + 22 * band) / 31)


def test_the_mean_leaves_out_stages_without_filters():
    stages = [StagePadding(8, 1, 100, 10), StagePadding(4, 3, 100, 50), StagePadding(2, 9, 0, 0)]
    assert mean_share(stages) == pytest.approx(0.4)
    assert mean_share(stages[2:]) is None
