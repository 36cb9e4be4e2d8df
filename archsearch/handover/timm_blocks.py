"""Stem, blocks and stages of a network as a model of timm's, from which ``model_file`` cuts the file of one network.

Names of parameters are those of ``archsearch.nn.MetaNeXt``, in its train and in its deploy form. Besides our own
modules, whose parts are cut out with these, only torch and timm are imported, of timm nothing that came after 1.0.20.
"""

from collections.abc import Callable

import torch
from timm.layers import ConvMlp, DropPath
from timm.models import checkpoint_seq
from torch import Tensor, nn

from archsearch.nn.folding import fold_norm_after, fold_norm_before, fold_scale
from archsearch.nn.mixers import absorb_norm, absorb_scale


def layer_scale(dim: int, init_value: float) -> nn.Parameter | None:
    """Return the scale of a residual branch per channel; None for an initial value of 0, which stands for none."""
    return nn.Parameter(init_value * torch.ones(dim)) if init_value else None


def scaled(x: Tensor, gamma: nn.Parameter | None) -> Tensor:
    """Multiply (N, dim, H, W) by a scale per channel, if there is one."""
    return x if gamma is None else x * gamma.reshape(1, -1, 1, 1)


def fold_norm(norm: nn.Module, conv: nn.Module) -> nn.Module:
    """Move a batch norm into the convolution behind it; return what is left in its place."""
    if not isinstance(norm, nn.BatchNorm2d) or not isinstance(conv, nn.Conv2d):
        return norm
    fold_norm_before(norm, conv)
    return nn.Identity()


class MetaNeXtBlock(nn.Module):
    """A block of one residual: ``x + layer_scale * mlp(norm(token_mixer(x)))``."""

    def __init__(
        self,
        dim: int,
        token_mixer: Callable[[int], nn.Module],
        norm_layer: Callable[[int], nn.Module],
        act_layer: type[nn.Module],
        mlp_ratio: float,
        ls_init_value: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.token_mixer = token_mixer(dim)
        self.norm = norm_layer(dim)
        self.mlp = ConvMlp(dim, int(mlp_ratio * dim), act_layer=act_layer)
        self.gamma = layer_scale(dim, ls_init_value)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim, H, W) to the same shape."""
        return x + self.drop_path(scaled(self.mlp(self.norm(self.token_mixer(x))), self.gamma))

    def reparameterize(self) -> None:
        """Fold a batch norm and the layer scale into the MLP, for inference."""
        self.norm = fold_norm(self.norm, self.mlp.fc1)
        if self.gamma is not None:
            fold_scale(self.mlp.fc2, self.gamma)
        self.gamma = None


class MetaFormerBlock(nn.Module):
    """A block of two residuals: ``x + token_mixer(norm1(x))``, then the same with the MLP."""

    def __init__(
        self,
        dim: int,
        token_mixer: Callable[[int], nn.Module],
        norm_layer: Callable[[int], nn.Module],
        act_layer: type[nn.Module],
        mlp_ratio: float,
        ls_init_value: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norm1 = norm_layer(dim)
        self.token_mixer = token_mixer(dim)
        self.gamma1 = layer_scale(dim, ls_init_value)
        self.norm2 = norm_layer(dim)
        self.mlp = ConvMlp(dim, int(mlp_ratio * dim), act_layer=act_layer)
        self.gamma2 = layer_scale(dim, ls_init_value)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim, H, W) to the same shape."""
        x = x + self.drop_path(scaled(self.token_mixer(self.norm1(x)), self.gamma1))
        return x + self.drop_path(scaled(self.mlp(self.norm2(x)), self.gamma2))

    def reparameterize(self) -> None:
        """Fold batch norms and layer scales into the MLP and, where it can take them, into the mixer, for inference."""
        self.norm2 = fold_norm(self.norm2, self.mlp.fc1)
        if self.gamma2 is not None:
            fold_scale(self.mlp.fc2, self.gamma2)
        self.gamma2 = None
        if isinstance(self.norm1, nn.BatchNorm2d) and absorb_norm(self.token_mixer, self.norm1):
            self.norm1 = nn.Identity()
        if self.gamma1 is not None and absorb_scale(self.token_mixer, self.gamma1):
            self.gamma1 = None


class Stem(nn.Sequential):
    """Patches as a convolution, and a norm."""

    def __init__(self, in_chans: int, dim: int, patch_size: int, norm_layer: Callable[[int], nn.Module]) -> None:
        super().__init__(nn.Conv2d(in_chans, dim, patch_size, stride=patch_size), norm_layer(dim))

    def reparameterize(self) -> None:
        """Fold a batch norm into the convolution, for inference."""
        conv, norm = self
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            fold_norm_after(conv, norm)
            self[1] = nn.Identity()


class Downsample(nn.Sequential):
    """A norm and a 2 x 2 convolution of stride 2."""

    def __init__(self, dim_in: int, dim: int, norm_layer: Callable[[int], nn.Module]) -> None:
        super().__init__(norm_layer(dim_in), nn.Conv2d(dim_in, dim, 2, stride=2))

    def reparameterize(self) -> None:
        """Fold a batch norm into the convolution, for inference."""
        norm, conv = self
        self[0] = fold_norm(norm, conv)


class Stage(nn.Module):
    """Downsampling by 2, but for the first stage, and then blocks."""

    def __init__(self, downsample: nn.Module, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.Sequential(*blocks)
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, dim, H / 2, W / 2); the first stage keeps H and W."""
        x = self.downsample(x)
        return checkpoint_seq(self.blocks, x) if self.grad_checkpointing else self.blocks(x)
