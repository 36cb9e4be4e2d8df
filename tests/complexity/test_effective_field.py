import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from archsearch.arch.networks import network
from archsearch.complexity.effective_field import CHUNK, SHARE, as_map, effective_fields, smallest_square
from archsearch.complexity.receptive import stage_fields
from archsearch.nn import build
from archsearch.recipes import PROXIES


def averages(kernel, layers, channels=3):
    """A stack of depthwise averages, whose gradient is the kernel convolved with itself."""
    convolutions = [
        nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False) for _ in range(layers)
    ]
    for convolution in convolutions:
        nn.init.constant_(convolution.weight, 1 / kernel**2)
    return nn.Sequential(*convolutions)


def convolved(kernel, layers):
    """Gradient along one axis: a uniform kernel convolved with itself, triangular for two layers."""
    line = np.ones(1)
    for _ in range(layers):
        line = np.convolve(line, np.ones(kernel) / kernel)
    return line


@pytest.mark.parametrize(("kernel", "layers"), [(3, 1), (3, 2), (5, 2), (3, 6), (7, 3)])
def test_a_stack_of_averages_has_the_field_of_the_textbook(kernel, layers):
    """Luo et al. 2016, section 2.1: with uniform weights the field is a convolution of windows."""
    line, extent = convolved(kernel, layers), layers * (kernel - 1) + 1
    field = effective_fields(averages(kernel, layers), [str(layers - 1)], torch.randn(3, 3, 41, 41))[str(layers - 1)]
    middle = slice(20 - extent // 2, 20 + extent // 2 + 1)
    assert field.gradient[middle, middle] == pytest.approx(np.outer(line, line), abs=1e-6)
    assert field.gradient.sum() == pytest.approx(1)
    sides = [2 * r + 1 for r in range(extent // 2 + 1)]
    held = [line[extent // 2 - s // 2 : extent // 2 + s // 2 + 1].sum() ** 2 for s in sides]
    assert field.side == next(side for side, mass in zip(sides, held, strict=True) if mass >= SHARE - 1e-9)


def test_the_field_grows_with_the_square_root_of_the_depth():
    """Luo et al. 2016: the theoretical field grows with the depth, the effective one with its square root."""
    sides = [
        effective_fields(averages(3, n), [str(n - 1)], torch.randn(1, 3, 161, 161))[str(n - 1)].side for n in (16, 64)
    ]
    assert sides[1] / sides[0] == pytest.approx(2, rel=0.06)


def test_an_identity_has_a_field_of_one_pixel():
    field = effective_fields(nn.Sequential(nn.Identity()), ["0"], torch.randn(2, 3, 8, 8))["0"]
    assert field.side == 1
    assert field.gradient[4, 4] == 1


def test_a_patch_has_the_field_of_the_patch():
    convolution = nn.Conv2d(3, 5, 4, 4)
    nn.init.ones_(convolution.weight)
    field = effective_fields(nn.Sequential(convolution), ["0"], torch.randn(1, 3, 16, 16))["0"]
    assert field.side == 4
    assert np.argwhere(field.gradient).tolist() == [[r, c] for r in range(8, 12) for c in range(8, 12)]


def test_a_norm_over_channels_hides_nothing():
    """The sum of a layer norm's channels is a constant; with random signs it is not."""

    class OverChannels(nn.LayerNorm):
        def forward(self, x):
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 4, 4), OverChannels(16))
    field = effective_fields(model, ["1"], torch.randn(4, 3, 16, 16))["1"]
    assert field.side == 4
    assert (field.gradient[8:12, 8:12] > 1e-2).all()


def test_images_in_chunks_are_averaged_as_one_by_one():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.GELU(), nn.Conv2d(1, 1, 3, padding=1))
    images = torch.randn(CHUNK + 3, 3, 9, 9)  # with one channel, a sign changes no absolute gradient
    whole = effective_fields(model, ["2"], images)["2"].gradient
    totals = np.zeros((9, 9))
    for image in images:
        x = image[None].requires_grad_()
        totals += torch.autograd.grad(model(x)[0, 0, 4, 4], x)[0].abs().sum((0, 1)).numpy()
    assert whole == pytest.approx(totals / totals.sum(), abs=1e-6)


def test_the_effective_field_lies_within_the_theoretical_one():
    arch = PROXIES["smoke"].shrink(network("convnext_tiny"), 10).replace(img_size=128)
    torch.manual_seed(0)
    model = build(arch).eval()
    paths = [f"stages.{i}" for i in range(4)]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fields = effective_fields(model, paths, torch.randn(2, 3, 128, 128))
    assert list(fields) == paths
    for (rows, columns), field in zip(stage_fields(arch)[1:], fields.values(), strict=True):
        seen = np.argwhere(field.gradient)
        assert tuple(seen.max(0) - seen.min(0) + 1) <= (rows, columns)
        assert 1 <= field.side <= min(rows, 128)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_has_no_field_is_left_out():
    class Blind(nn.Module):
        def forward(self, x):
            return x.detach()

    class Tokens(nn.Module):
        def forward(self, x):
            return x.flatten(2)

    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ModuleDict({"tokens": Tokens()})["tokens"])
    assert list(effective_fields(model, ["0", "1"], torch.randn(1, 3, 8, 8))) == ["0"]
    assert effective_fields(nn.Sequential(Blind()), ["0"], torch.randn(1, 3, 8, 8)) == {}


@pytest.mark.parametrize(
    ("shape", "order"),
    [((2, 5, 7, 7), (2, 5, 7, 7)), ((2, 7, 7, 5), (2, 5, 7, 7)), ((2, 7, 7, 7), (2, 7, 7, 7)), ((2, 49, 5), None)],
)
def test_maps_are_told_from_tokens(shape, order):
    maps = as_map(torch.zeros(shape))
    assert (None if maps is None else tuple(maps.shape)) == order
    assert as_map((torch.zeros(2, 5, 7, 7),)) is None


def by_trying(shares, share):
    """Every square, the slow way."""
    height, width = shares.shape
    for side in range(1, max(height, width) + 1):
        for row in range(max(1, height - side + 1)):
            for column in range(max(1, width - side + 1)):
                if shares[row : row + side, column : column + side].sum() >= share * shares.sum() - 1e-9:
                    return side
    raise AssertionError


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 99), st.sampled_from([0.2, 0.5, 0.95, 1.0]))
def test_the_smallest_square_is_found(height, width, seed, share):
    shares = np.random.default_rng(seed).random((height, width)) ** 4
    assert smallest_square(shares, share) == by_trying(shares, share)
