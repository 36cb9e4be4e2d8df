"""The faster ways against autograd's own."""

import pytest
import torch
from torch import nn

from archsearch.nn.blocks import LayerNorm2d
from archsearch.nn.mixers import MIXERS
from archsearch.train import kernels
from archsearch.train.kernels import (
    DepthwiseConv2d,
    FloatLayerNorm2d,
    PointwiseConv2d,
    is_slow,
    speed_up,
    weight_gradient,
)

SHAPES = [
    # kernel, padding, dilation, map
    ((7, 7), (3, 3), (1, 1), (16, 16)),
    ((3, 3), (1, 1), (1, 1), (2, 2)),
    ((1, 11), (0, 5), (1, 1), (8, 5)),
    ((11, 1), (5, 0), (1, 1), (4, 9)),
    ((5, 3), (4, 2), (2, 2), (9, 7)),
    ((3, 5), (0, 1), (1, 1), (9, 8)),
    ((3, 3), (2, 3), (2, 3), (10, 11)),
]


@pytest.mark.parametrize(("kernel", "padding", "dilation", "size"), SHAPES)
def test_weight_gradient(kernel, padding, dilation, size):
    torch.manual_seed(0)
    x = torch.randn(5, 6, *size, dtype=torch.float64)
    conv = nn.Conv2d(6, 6, kernel, padding=padding, dilation=dilation, groups=6).double()
    y = conv(x)
    grad = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, conv.weight, grad)
    assert torch.allclose(weight_gradient(x, grad, padding, dilation), expected)


def gradients(model, x, grad, bfloat16=True):
    x = x.clone().requires_grad_()
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        y = model(x)
    y.float().backward(grad)
    return {"y": y.detach().float(), "x": x.grad, **{n: p.grad.clone() for n, p in model.named_parameters()}}


@pytest.mark.parametrize("kind", ["depthwise", "inception", "large_band", "mixed_depthwise", "partial_depthwise"])
@pytest.mark.parametrize("size", [3, 12])
def test_mixers_have_the_same_outputs_and_gradients(kind, size):
    torch.manual_seed(0)
    model = MIXERS[kind](32)
    x, grad = (torch.randn(8, 32, size, size).contiguous(memory_format=torch.channels_last) for _ in range(2))
    expected = gradients(model, x, grad)
    before = dict(model.state_dict())
    speed_up(model)
    assert any(isinstance(m, DepthwiseConv2d) for m in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for name, found in gradients(model, x, grad).items():
        scale = expected[name].abs().max()
        assert (found - expected[name]).abs().max() <= 0.02 * scale, name  # bfloat16 keeps 8 bits


def test_float32_takes_the_faster_gradient_for_large_filters_alone(monkeypatch):
    torch.manual_seed(0)
    taken = []
    monkeypatch.setattr(kernels, "weight_gradient", lambda x, *a: taken.append(x.shape[-1]) or weight_gradient(x, *a))
    for size, kernel, faster in ((16, 7, True), (16, 5, False), (8, 5, True), (4, 11, True), (4, 3, False)):
        conv = nn.Conv2d(12, 12, kernel, padding=kernel // 2, groups=12)
        x, grad = (torch.randn(8, 12, size, size).contiguous(memory_format=torch.channels_last) for _ in range(2))
        expected = gradients(conv, x, grad, bfloat16=False)
        speed_up(conv)
        taken.clear()
        for name, found in gradients(conv, x, grad, bfloat16=False).items():
            assert torch.allclose(found, expected[name], rtol=1e-4, atol=1e-4), name
        assert bool(taken) == faster == is_slow((kernel, kernel), (size, size), bfloat16=False)


def test_double_precision_of_the_whole_against_float32():
    """Against the truth, the faster gradient is no further off than torch's own."""
    torch.manual_seed(0)
    conv, x, grad = nn.Conv2d(16, 16, 7, padding=3, groups=16), torch.randn(64, 16, 8, 8), torch.randn(64, 16, 8, 8)
    true = torch.autograd.grad(conv(x), conv.weight, grad)[0]
    own = gradients(conv, x, grad)["weight"]
    speed_up(conv)
    fast = gradients(conv, x, grad)["weight"]
    assert (fast - true).norm() <= 1.1 * (own - true).norm()


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(8, 8, 7, padding=3, groups=4),
        nn.Conv2d(8, 16, 7, padding=3, groups=8),
        nn.Conv2d(8, 8, 7, padding=3, stride=2, groups=8),
        nn.Conv2d(8, 8, 7, padding=3, groups=8, padding_mode="circular"),
        nn.Conv2d(8, 8, 7, padding="same", groups=8),
        nn.Conv2d(8, 8, 1, groups=2),
        nn.Conv2d(8, 8, 1, stride=2),
        nn.Conv2d(8, 8, 1, padding=1),
    ],
)
def test_other_convolutions_stay_what_they_are(conv):
    speed_up(conv)
    assert type(conv) is nn.Conv2d


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_pointwise_convolutions_have_the_same_outputs_and_gradients(bias, layout):
    torch.manual_seed(0)
    conv = nn.Conv2d(24, 96, 1, bias=bias)
    x, grad = (torch.randn(8, width, 5, 3).contiguous(memory_format=layout) for width in (24, 96))
    expected = gradients(conv, x, grad, bfloat16=False)
    speed_up(conv)
    assert type(conv) is PointwiseConv2d
    found = gradients(conv, x, grad, bfloat16=False)
    assert found.keys() == expected.keys()
    for name in found:
        assert torch.allclose(found[name], expected[name], rtol=1e-5, atol=1e-5), name


def test_pointwise_convolutions_of_images_compute_no_gradient_of_them():
    conv = nn.Conv2d(3, 8, 1)
    speed_up(conv)
    x = torch.randn(2, 3, 4, 4)
    conv(x).sum().backward()
    assert x.grad is None
    assert torch.allclose(conv.bias.grad, torch.full((8,), 32.0))


def test_pointwise_convolutions_in_bfloat16_are_left_to_torch(monkeypatch):
    conv, x = nn.Conv2d(8, 8, 1), torch.randn(2, 8, 4, 4)
    speed_up(conv)
    monkeypatch.setattr(kernels, "_Pointwise", None)  # would raise
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
    with torch.no_grad():
        assert conv(x).dtype == torch.float32


def test_layer_norm_runs_in_float32():
    norm = LayerNorm2d(24)
    x = torch.randn(2, 24, 4, 4)
    expected = norm(x)
    speed_up(norm)
    assert type(norm) is FloatLayerNorm2d
    with torch.autocast("cpu", torch.bfloat16):
        assert norm(x.bfloat16()).dtype == torch.float32
        assert torch.equal(norm(x), expected)


def test_no_bias():
    conv = nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False)
    speed_up(conv)
    found = gradients(conv, torch.randn(2, 4, 6, 6), torch.randn(2, 4, 6, 6))
    assert found["weight"].shape == (4, 1, 5, 5)
