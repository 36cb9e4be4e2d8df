"""Affine steps at inference moved into the convolution or linear layer beside them, in place.

Everything is computed in float64 and rounded once. A batch norm before a convolution moves into it only where that has
no padding: at the border the norm's shift would be missing from the padding's zeros.
"""

import torch
from torch import Tensor, nn

#: Layers whose rows of weights are output channels.
Layer = nn.Conv2d | nn.Linear


@torch.no_grad()
def norm_as_affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return scale and shift per channel, in float64, of a batch norm in evaluation mode."""
    assert norm.running_mean is not None, "a norm of ours keeps statistics"  # noqa: S101
    assert norm.running_var is not None  # noqa: S101
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale


@torch.no_grad()
def fold_norm_before(norm: nn.BatchNorm2d, layer: Layer) -> None:
    """Move a batch norm into the layer behind it: a linear one, or a convolution without padding and groups."""
    scale, shift = norm_as_affine(norm)
    weight = layer.weight.double()
    per_input = (1, -1) + (1,) * (weight.ndim - 2)
    shifted = (weight * shift.view(per_input)).flatten(1).sum(1)
    assign(layer, weight * scale.view(per_input), bias_of(layer) + shifted)


@torch.no_grad()
def fold_norm_after(layer: Layer, norm: nn.BatchNorm2d) -> None:
    """Move a batch norm into the layer before it."""
    scale, shift = norm_as_affine(norm)
    fold_scale(layer, scale, shift)


@torch.no_grad()
def fold_scale(layer: Layer, scale: Tensor, shift: Tensor | None = None) -> None:
    """Multiply a layer's output channels by ``scale``, and add ``shift``, by its weights."""
    factors, weight = scale.detach().double(), layer.weight.double()
    bias = bias_of(layer) * factors + (0 if shift is None else shift)
    assign(layer, weight * factors.view(-1, *(1,) * (weight.ndim - 1)), bias)


def bias_of(layer: Layer) -> Tensor:
    """Return a layer's bias in float64; zeros where it has none."""
    return layer.weight.new_zeros(len(layer.weight)).double() if layer.bias is None else layer.bias.double()


@torch.no_grad()
def assign(layer: Layer, weight: Tensor, bias: Tensor) -> None:
    """Set a layer's weights, rounded to its type."""
    layer.weight.copy_(weight)
    if layer.bias is None:
        layer.bias = nn.Parameter(bias.to(layer.weight))
    else:
        layer.bias.copy_(bias)
