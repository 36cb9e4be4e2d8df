"""Token mixers: modules of ``dim`` that map (N, dim, H, W) to the same shape.

``MIXERS`` pairs each name of ``archsearch.arch.MIXER_PARAMS`` with its module; the
parameters are keyword arguments of the same names.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from archsearch.arch import Mixer


def depthwise_conv(dim: int, kernel_size: int | tuple[int, int]) -> nn.Conv2d:
    """Depthwise convolution, stride 1, that keeps height and width (odd kernels)."""
    kh, kw = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    return nn.Conv2d(dim, dim, (kh, kw), padding=(kh // 2, kw // 2), groups=dim)


class Identity(nn.Identity):
    """No token mixing at all."""

    def __init__(self, dim: int) -> None:
        super().__init__()


class Pooling(nn.Module):
    """Average pooling minus its input (PoolFormer, Yu et al. 2022, section 3.2)."""

    def __init__(self, dim: int, pool_size: int = 3) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(pool_size, stride=1, padding=pool_size // 2, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) to the same shape."""
        return self.pool(x) - x


class InceptionDWConv2d(nn.Module):
    """Inception depthwise convolution: identity, square, 1 x k and k x 1 branches in parallel.

    The channels are split in that order into ``dim - 3g, g, g, g`` with
    ``g = int(dim * branch_ratio)``. Submodules are named as in timm.

    Source: *InceptionNeXt*, section 3.2 and Algorithm 1.
    """

    def __init__(
        self,
        dim: int,
        square_kernel_size: int = 3,
        band_kernel_size: int = 11,
        branch_ratio: float = 0.125,
    ) -> None:
        super().__init__()
        branch = int(dim * branch_ratio)
        self.dwconv_hw = depthwise_conv(branch, square_kernel_size)
        self.dwconv_w = depthwise_conv(branch, (1, band_kernel_size))
        self.dwconv_h = depthwise_conv(branch, (band_kernel_size, 1))
        self.split_sizes = [dim - 3 * branch, branch, branch, branch]

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) to the same shape."""
        x_id, x_hw, x_w, x_h = torch.split(x, self.split_sizes, dim=1)
        return torch.cat((x_id, self.dwconv_hw(x_hw), self.dwconv_w(x_w), self.dwconv_h(x_h)), dim=1)


def _depthwise(dim: int, kernel_size: int = 7) -> nn.Conv2d:
    return depthwise_conv(dim, kernel_size)


MIXERS: dict[str, Callable[..., nn.Module]] = {
    "identity": Identity,
    "pooling": Pooling,
    "depthwise": _depthwise,
    "inception": InceptionDWConv2d,
}


def build_mixer(mixer: Mixer, dim: int) -> nn.Module:
    """The module that a ``Mixer`` describes, for ``dim`` channels."""
    return MIXERS[mixer.token_mixer](dim, **dict(mixer.params))
