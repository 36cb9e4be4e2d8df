"""Modules of the token mixers: made for ``dim`` channels, they map (N, dim, H, W) to the same shape.

``MIXERS`` holds the module of each entry of ``archsearch.arch.mixer_types.MIXER_TYPES``; the parameters are keyword
arguments of the same names.
"""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import inception_groups
from archsearch.errors import ArchError
from archsearch.nn.folding import Layer, assign, bias_of, fold_norm_before, fold_scale


def depthwise_conv(dim: int, kernel_size: int | tuple[int, int], dilation: int = 1) -> nn.Conv2d:
    """Return a depthwise convolution of stride 1 that keeps height and width (odd kernels)."""
    kh, kw = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    padding = (dilation * (kh // 2), dilation * (kw // 2))
    return nn.Conv2d(dim, dim, (kh, kw), padding=padding, dilation=dilation, groups=dim)


class FoldingMixer(nn.Module):
    """A mixer that may take up, at inference, what stands beside it in a MetaFormer block."""

    def absorb_norm(self, norm: nn.BatchNorm2d) -> bool:
        """Take a batch norm before the mixer up into its weights; return whether that is possible."""
        return False

    def scale_output(self, scale: Tensor) -> bool:
        """Take a scale of its output channels, (dim,), up into its weights; return whether that is possible."""
        return False


def absorb_norm(mixer: nn.Module, norm: nn.BatchNorm2d) -> bool:
    """Fold a batch norm into the mixer behind it; return whether that is possible."""
    return isinstance(mixer, FoldingMixer) and mixer.absorb_norm(norm)


def absorb_scale(mixer: nn.Module, scale: Tensor) -> bool:
    """Fold a scale of the output channels into the mixer before it; return whether that is possible."""
    if type(mixer) is nn.Conv2d:  # a depthwise one; a subclass may do more than convolve
        return _scale_groups([mixer], scale)
    return isinstance(mixer, FoldingMixer) and mixer.scale_output(scale)


def _scale_groups(layers: Iterable[nn.Module], scale: Tensor) -> bool:
    """Fold a scale into layers that make all output channels between them, in this order."""
    start = 0
    for layer in layers:
        assert isinstance(layer, Layer)  # noqa: S101 - our own
        channels = len(layer.weight)
        fold_scale(layer, scale[start : start + channels])
        start += channels
    return True


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


class InceptionDWConv2d(FoldingMixer):
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

    def scale_output(self, scale: Tensor) -> bool:
        """Take a scale up where the branches cover all channels."""
        return not self.split_sizes[0] and _scale_groups([getattr(self, path[-1]) for path in self.paths], scale)


class PartialDWConv2d(FoldingMixer):
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

    def scale_output(self, scale: Tensor) -> bool:
        """Take a scale up where all channels are convolved."""
        return not self.split_sizes[0] and _scale_groups([self.dwconv], scale)


class Attention(FoldingMixer):
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

    def absorb_norm(self, norm: nn.BatchNorm2d) -> bool:
        """Take a batch norm up into ``qkv``, which reads each position alone."""
        fold_norm_before(norm, self.qkv)
        return True

    def scale_output(self, scale: Tensor) -> bool:
        """Take a scale up into ``proj``."""
        return _scale_groups([self.proj], scale)


class LargeBandDWConv2d(FoldingMixer):
    """Sum of a depthwise k x s and a depthwise s x k convolution of all channels.

    Source: the factorised large kernel of SLaK (Liu et al. 2023, section 4), without its norms
    and its additional square kernel.
    """

    def __init__(self, dim: int, long_kernel_size: int = 51, short_kernel_size: int = 5) -> None:
        super().__init__()
        self.dwconv_h = depthwise_conv(dim, (long_kernel_size, short_kernel_size))
        self.dwconv_w = depthwise_conv(dim, (short_kernel_size, long_kernel_size))
        self.dwconv: nn.Conv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim, H, W) to the same shape."""
        return self.dwconv_h(x) + self.dwconv_w(x) if self.dwconv is None else self.dwconv(x)

    def scale_output(self, scale: Tensor) -> bool:
        """Take a scale up into every convolution, as their outputs are summed."""
        for conv in self.children():
            _scale_groups([conv], scale)
        return True

    @torch.no_grad()
    def reparameterize(self) -> None:
        """Merge both kernels into one of long x long, where that takes no more multiply-adds: up to 2 x short.

        A position of a channel takes long x long instead of 2 x long x short: 7 x 7 for 7 x 5 and 5 x 7, but not
        51 x 51 for 51 x 5 and 5 x 51.
        """
        if self.dwconv is not None:
            return
        long, short = self.dwconv_h.kernel_size
        if long > 2 * short:
            return
        ends = (long - short) // 2
        weight = F.pad(self.dwconv_h.weight, (ends, ends)) + F.pad(self.dwconv_w.weight, (0, 0, ends, ends))
        self.dwconv = depthwise_conv(len(weight), long).to(weight)
        assign(self.dwconv, weight, bias_of(self.dwconv_h) + bias_of(self.dwconv_w))
        del self.dwconv_h, self.dwconv_w


class MixedDWConv2d(FoldingMixer):
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

    def scale_output(self, scale: Tensor) -> bool:
        """Take a scale up into the convolutions, each its channels' part."""
        return _scale_groups(self.dwconvs, scale)


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


#: Hash of the source file of each mixer that users' files have added.
SOURCES: dict[str, str] = {}


def build_mixer(mixer: Mixer, dim: int) -> nn.Module:
    """Build the module that a ``Mixer`` describes, for ``dim`` channels.

    Raises:
        ArchError: The mixer is known from a record only, without its file, or its file has changed since.
    """
    if mixer.token_mixer not in MIXERS:
        raise ArchError(f"token_mixer {mixer.token_mixer!r} comes from a file that was not given; add --mixers FILE")
    if mixer.type.source != SOURCES.get(mixer.token_mixer):
        raise ArchError(
            f"token_mixer {mixer.token_mixer!r} on record is another version: its file has changed; bring the old one "
            "back, or give the mixer that it is now another name"
        )
    return MIXERS[mixer.token_mixer](dim, **dict(mixer.params))
