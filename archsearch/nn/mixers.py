"""Modules of the token mixers: made for ``dim`` channels, they map (N, dim, H, W) to the same shape.

``MIXERS`` holds the module of each entry of ``archsearch.arch.mixer_types.MIXER_TYPES``; the parameters are keyword
arguments of the same names.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import inception_groups
from archsearch.errors import ArchError


def depthwise_conv(dim: int, kernel_size: int | tuple[int, int], dilation: int = 1) -> nn.Conv2d:
    """Return a depthwise convolution of stride 1 that keeps height and width (odd kernels)."""
    kh, kw = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    padding = (dilation * (kh // 2), dilation * (kw // 2))
    return nn.Conv2d(dim, dim, (kh, kw), padding=padding, dilation=dilation, groups=dim)


class Identity(nn.Identity):
    """No token mixing."""

    def __init__(self, dim: int) -> None:
        super().__init__()


class Pooling(nn.Module):
    """Average pooling minus its input (PoolFormer, Yu et al. 2022, section 3.2)."""

    def __init__(self, dim: int, pool_size: int = 3) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(pool_size, stride=1, padding=pool_size // 2, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim, H, W) to the same shape."""
        return self.pool(x) - x


class InceptionDWConv2d(nn.Module):
    """Inception depthwise convolution: identity, square, 1 x k and k x 1 branches.

    The channels are split in that order, ``int(dim * branch_ratio)`` for each branch; those left over come first and
    pass through unchanged. Sequential bands share one group, 1 x k before k x 1. Submodules are named as in timm.

    Source: *InceptionNeXt*, section 3.2 and Algorithm 1; bands in sequence: Table 8.
    """

    def __init__(
        self,
        dim: int,
        square_kernel_size: int = 3,
        band_kernel_size: int = 11,
        branch_ratio: float = 0.125,
        branches: str = "square+horizontal+vertical",
        bands: str = "parallel",
        dilation: int = 1,
    ) -> None:
        super().__init__()
        shapes = {
            "square": ("dwconv_hw", (square_kernel_size, square_kernel_size)),
            "horizontal": ("dwconv_w", (1, band_kernel_size)),
            "vertical": ("dwconv_h", (band_kernel_size, 1)),
        }
        groups = inception_groups(branches, bands)
        branch = int(dim * branch_ratio)
        for name in branches.split("+"):
            attribute, shape = shapes[name]
            self.add_module(attribute, depthwise_conv(branch, shape, dilation))
        self.paths = [[shapes[name][0] for name in group] for group in groups]
        self.split_sizes = [dim - len(groups) * branch] + [branch] * len(groups)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim, H, W) to the same shape."""
        untouched, *parts = torch.split(x, self.split_sizes, dim=1)
        return torch.cat((untouched, *(self._path(*pair) for pair in zip(self.paths, parts, strict=True))), dim=1)

    def _path(self, names: list[str], x: Tensor) -> Tensor:
        for name in names:
            x = getattr(self, name)(x)
        return x


class PartialDWConv2d(nn.Module):
    """Depthwise convolution of the last ``int(dim * conv_ratio)`` channels; the others pass through unchanged.

    Source: *InceptionNeXt*, Table 1.
    """

    def __init__(self, dim: int, kernel_size: int = 3, conv_ratio: float = 0.25) -> None:
        super().__init__()
        convolved = int(dim * conv_ratio)
        self.dwconv = depthwise_conv(convolved, kernel_size)
        self.split_sizes = [dim - convolved, convolved]

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim, H, W) to the same shape."""
        untouched, convolved = torch.split(x, self.split_sizes, dim=1)
        return torch.cat((untouched, self.dwconv(convolved)), dim=1)


class Attention(nn.Module):
    """Multi-head self-attention over all positions, without a position embedding.

    Source: Vaswani et al. 2017; projections with bias, as in DeiT.
    """

    def __init__(self, dim: int, num_heads: int = 4) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim, H, W) to the same shape."""
        n, c, h, w = x.shape
        qkv = self.qkv(x.flatten(2).transpose(1, 2)).reshape(n, h * w, 3, self.num_heads, c // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h * w, c)
        return self.proj(y).transpose(1, 2).reshape(n, c, h, w)


class LargeBandDWConv2d(nn.Module):
    """Sum of a depthwise k x s and a depthwise s x k convolution of all channels.

    Source: the factorised large kernel of SLaK (Liu et al. 2023, section 4), without its norms
    and its additional square kernel.
    """

    def __init__(self, dim: int, long_kernel_size: int = 51, short_kernel_size: int = 5) -> None:
        super().__init__()
        self.dwconv_h = depthwise_conv(dim, (long_kernel_size, short_kernel_size))
        self.dwconv_w = depthwise_conv(dim, (short_kernel_size, long_kernel_size))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim, H, W) to the same shape."""
        return self.dwconv_h(x) + self.dwconv_w(x)


class MixedDWConv2d(nn.Module):
    """Depthwise convolutions of 3 x 3, 5 x 5, 7 x 7, ... on equal groups of channels.

    Channels left over go to the first group.

    Source: MixConv (Tan and Le 2019, section 3).
    """

    def __init__(self, dim: int, num_kernels: int = 4) -> None:
        super().__init__()
        group = dim // num_kernels
        self.split_sizes = [dim - group * (num_kernels - 1)] + [group] * (num_kernels - 1)
        self.dwconvs = nn.ModuleList(depthwise_conv(size, 2 * i + 3) for i, size in enumerate(self.split_sizes))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim, H, W) to the same shape."""
        parts = torch.split(x, self.split_sizes, dim=1)
        return torch.cat([conv(part) for conv, part in zip(self.dwconvs, parts, strict=True)], dim=1)


def _depthwise(dim: int, kernel_size: int = 7) -> nn.Conv2d:
    return depthwise_conv(dim, kernel_size)


#: Modules by the mixer's name; ``archsearch.nn.user_mixers`` adds those of users' files.
MIXERS: dict[str, Callable[..., nn.Module]] = {
    "identity": Identity,
    "pooling": Pooling,
    "depthwise": _depthwise,
    "inception": InceptionDWConv2d,
    "partial_depthwise": PartialDWConv2d,
    "attention": Attention,
    "large_band": LargeBandDWConv2d,
    "mixed_depthwise": MixedDWConv2d,
}


def build_mixer(mixer: Mixer, dim: int) -> nn.Module:
    """Build the module that a ``Mixer`` describes, for ``dim`` channels.

    Raises:
        ArchError: The mixer is known from a record only, without its file.
    """
    if mixer.token_mixer not in MIXERS:
        raise ArchError(f"token_mixer {mixer.token_mixer!r} comes from a file that was not given; add --mixers FILE")
    return MIXERS[mixer.token_mixer](dim, **dict(mixer.params))
