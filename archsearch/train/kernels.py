"""Faster implementations of three operators that are slow on a CPU; their results stay the same.

**Weight gradient of depthwise convolutions.** oneDNN has a fast kernel only where the filter is at most 3 wide and
no larger than the map. Elsewhere its kernel takes 1.5 to 7 times as long as the implementation below in bfloat16, and
in float32 up to 6 times where filters are large for their maps (``benchmarks/depthwise_gradient.py``), up to half of a
ConvNeXt's training step. The gradient of tap (i, j) of channel c is the correlation of input and output gradient of the
channel, summed over samples. That is itself a depthwise convolution: samples and channels together are its channels,
the output gradient is its filter, and its output has the size of the original filter. oneDNN is fast at these.

**Gradients of pointwise convolutions.** In float32 oneDNN's take 1.1 to 2.1 times as long as the two matrix products
that they are (``benchmarks/pointwise_gradient.py``); a proxy's training step is 1.05 to 1.07 times as fast with these.

**Layer norm over the channels.** With few channels, bfloat16 takes several times as long as float32, which is also
what autocast chooses on a GPU.
"""

from typing import Any

import torch
from torch import Tensor, nn

from archsearch.nn.blocks import LayerNorm2d

#: Width of the widest filter that oneDNN's fast gradient kernel supports.
WIDEST = 3
#: Fewest taps for which the gradient below is the faster one in float32, on small maps and on any.
TAPS, MANY_TAPS = 25, 49
#: Positions of the largest map that is small in this sense.
SMALL_MAP = 64


def speed_up(model: nn.Module) -> None:
    """Replace the slow operators of a model in place; parameters, names and, but for rounding, outputs stay."""
    for module in model.modules():
        if type(module) is nn.Conv2d and _is_plain_depthwise(module):
            module.__class__ = DepthwiseConv2d
        elif type(module) is nn.Conv2d and _is_pointwise(module):
            module.__class__ = PointwiseConv2d
        elif type(module) is LayerNorm2d:
            module.__class__ = FloatLayerNorm2d


def _is_plain_depthwise(conv: nn.Conv2d) -> bool:
    depthwise = conv.groups == conv.in_channels == conv.out_channels
    return depthwise and conv.stride == (1, 1) and conv.padding_mode == "zeros" and isinstance(conv.padding, tuple)


def _is_pointwise(conv: nn.Conv2d) -> bool:
    return (conv.kernel_size, conv.stride, conv.groups) == ((1, 1), (1, 1), 1) and conv.padding in ((0, 0), "valid")


class DepthwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` of stride 1 with a group per channel and the faster weight gradient."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W) to (N, C, H', W')."""
        if not (torch.is_grad_enabled() and is_slow(self.kernel_size, (x.shape[2], x.shape[3]), _in_bfloat16())):
            return super().forward(x)
        y: Tensor = _Depthwise.apply(x, self.weight, self.bias, self.padding, self.dilation)
        return y


def is_slow(kernel: tuple[int, ...], size: tuple[int, int], bfloat16: bool) -> bool:
    """Whether oneDNN's weight gradient of a depthwise convolution is slower than ``weight_gradient``.

    Args:
        kernel: Height and width of the filter.
        size: Height and width of the map.
        bfloat16: Whether it is computed in bfloat16, and not in float32.
    """
    kh, kw = kernel
    if bfloat16:
        return kw > WIDEST or kh > size[0] or kw > size[1]
    return kh * kw >= (TAPS if size[0] * size[1] <= SMALL_MAP else MANY_TAPS)


def _in_bfloat16() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


class PointwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` with 1 x 1 kernels and, in float32, the faster gradients."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W) to (N, C', H, W)."""
        if not torch.is_grad_enabled() or _in_bfloat16():
            return super().forward(x)
        y: Tensor = _Pointwise.apply(x, self.weight, self.bias)
        return y


class FloatLayerNorm2d(LayerNorm2d):
    """``LayerNorm2d`` that computes in float32 for inputs of any type."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W) over the channels."""
        return super().forward(x.float())


class _Depthwise(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)  # type: ignore[untyped-decorator]
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int], dilation: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.dilation, ctx.biased = padding, dilation, bias is not None
        return torch.conv2d(x, weight, bias, 1, padding, dilation, len(weight))

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        of_input = None
        if ctx.needs_input_grad[0]:
            of_input = torch.ops.aten.convolution_backward(
                grad,
                x,
                weight,
                None,
                [1, 1],
                ctx.padding,
                ctx.dilation,
                False,
                [0, 0],
                len(weight),
                [True, False, False],
            )[0]
        of_weight = weight_gradient(x, grad, ctx.padding, ctx.dilation)
        of_bias = _channel_sums(grad) if ctx.biased else None
        return of_input, of_weight, of_bias, None, None


class _Pointwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return torch.conv2d(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_input, of_weight = pointwise_gradients(x, weight, grads[0], ctx.needs_input_grad[0])
        return of_input, of_weight, _channel_sums(grads[0]) if ctx.biased else None


def pointwise_gradients(x: Tensor, weight: Tensor, grad: Tensor, of_input: bool = True) -> tuple[Tensor | None, Tensor]:
    """Return the gradients of input and weight of a convolution with 1 x 1 kernels.

    Args:
        x: Input, (N, C, H, W).
        weight: Weight, (C', C, 1, 1).
        grad: Gradient of the output, (N, C', H, W).
        of_input: Whether that of the input is wanted.

    Returns:
        (N, C, H, W) in channels_last, or None; and (C', C, 1, 1).
    """
    rows, matrix = _rows(grad), weight.flatten(1)
    found = (rows @ matrix).view(len(x), *x.shape[2:], x.shape[1]).permute(0, 3, 1, 2) if of_input else None
    return found, (rows.t() @ _rows(x)).view_as(weight)


def _rows(maps: Tensor) -> Tensor:
    """Return (N, C, H, W) as a row per position, (N H W, C); a view in channels_last."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def _channel_sums(grad: Tensor) -> Tensor:
    """Sum (N, C, H, W) to (C,) by a matrix product, several times as fast as ``sum`` in bfloat16."""
    rows = _rows(grad)
    return rows.new_ones(len(rows)) @ rows


def weight_gradient(x: Tensor, grad: Tensor, padding: tuple[int, int], dilation: tuple[int, int]) -> Tensor:
    """Return the gradient of a depthwise filter.

    Args:
        x: Input, (N, C, H, W).
        grad: Gradient of the output, (N, C, H', W').
        padding: Zeros on each side of rows and columns.
        dilation: Dilation of rows and columns; it becomes the stride here.

    Returns:
        (C, 1, kh, kw), in float32 or wider.
    """
    n, c = x.shape[:2]
    samples = x.permute(2, 3, 0, 1).reshape(1, *x.shape[2:], n * c).permute(0, 3, 1, 2)
    filters = grad.permute(2, 3, 0, 1).reshape(*grad.shape[2:], n * c).permute(2, 0, 1)[:, None]
    taps = torch.conv2d(samples, filters, None, dilation, padding, 1, n * c)
    wide = torch.promote_types(taps.dtype, torch.float32)  # avoids rounding the sum once more
    return taps.view(n, c, *taps.shape[2:]).sum(0, dtype=wide)[:, None]
