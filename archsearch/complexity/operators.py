"""Costs of convolutions by kernel size, counted from the modules (the paper's Table 2 and Figure 3)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from archsearch.complexity.audit import audit
from archsearch.nn.mixers import InceptionDWConv2d, depthwise_conv

#: Operators of Table 2, as functions from channels and kernel size to the module.
OPERATORS: dict[str, Callable[[int, int], nn.Module]] = {
    "convolution": lambda dim, k: nn.Conv2d(dim, dim, k, padding=k // 2),
    "depthwise": depthwise_conv,
    "inception": lambda dim, k: InceptionDWConv2d(dim, band_kernel_size=k),
}
KERNEL_SIZES = tuple(range(3, 32, 2))


@dataclass(frozen=True)
class KernelCost:
    """Costs of an operator on one map.

    Attributes:
        operator: Name of the operator: a key of ``OPERATORS``.
        kernel_size: Size of the square kernel; of the bands, for the Inception operator.
        weights: Number of parameters without biases, as the paper counts them.
        macs: Multiply-adds; the paper's FLOPs are twice as many.
        bytes_moved: Activations read and written in float32, in bytes.
    """

    operator: str
    kernel_size: int
    weights: int
    macs: int
    bytes_moved: int


def kernel_costs(dim: int, side: int, kernel_sizes: Sequence[int] = KERNEL_SIZES) -> list[KernelCost]:
    """Return the costs of every operator at every kernel size.

    Args:
        dim: Number of channels; of a multiple of 8 the Inception operator convolves exactly three eighths.
        side: Side of the map, in positions.
        kernel_sizes: Odd kernel sizes.
    """
    x = torch.zeros(1, dim, side, side)
    costs = []
    for name, make in OPERATORS.items():
        for kernel_size in kernel_sizes:
            module = make(dim, kernel_size)
            checked = audit(module, x)
            weights = sum(p.numel() for p in module.parameters() if p.ndim > 1)
            costs.append(KernelCost(name, kernel_size, weights, checked.macs[""], checked.bytes_moved[""]))
    return costs
