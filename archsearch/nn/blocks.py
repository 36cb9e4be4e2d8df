"""Blocks of MetaNeXt and MetaFormer, with their norms, activations and MLPs."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.nn.folding import fold_norm_before, fold_scale
from archsearch.nn.mixers import absorb_norm, absorb_scale, build_mixer

ACTS: dict[str, Callable[[], nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


def layer_norm_2d(dim: int) -> nn.Module:
    """Return a layer norm with ConvNeXt's epsilon."""
    return LayerNorm2d(dim, eps=1e-6)


NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm2d, "layer": layer_norm_2d}


class DropPath(nn.Module):
    """Stochastic depth per sample (Huang et al. 2016): drop the branch at random and rescale it otherwise."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, ...) to the same shape; the identity in evaluation mode."""
        if not self.training:
            return x
        keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * keep / (1 - self.rate)


class ConvMlp(nn.Module):
    """Two 1 x 1 convolutions with an activation between them."""

    def __init__(self, dim: int, hidden: int, act: str) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(dim, hidden, 1)
        self.act = ACTS[act]()
        self.fc2 = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim, H, W) to the same shape."""
        return self.fc2(self.act(self.fc1(x)))

    def fold_norm(self, norm: nn.Module) -> nn.Module:
        """Move a batch norm before the MLP into ``fc1``; return what is left in its place."""
        if not isinstance(norm, nn.BatchNorm2d):
            return norm
        fold_norm_before(norm, self.fc1)
        return nn.Identity()

    def fold_scale(self, gamma: nn.Parameter | None) -> None:
        """Move a layer scale behind the MLP into ``fc2``."""
        if gamma is not None:
            fold_scale(self.fc2, gamma)


def _layer_scale(arch: Arch, dim: int) -> nn.Parameter | None:
    init = arch.layer_scale_init_value
    return nn.Parameter(init * torch.ones(dim)) if init else None


def _scaled(y: Tensor, gamma: nn.Parameter | None) -> Tensor:
    return y if gamma is None else y * gamma.view(1, -1, 1, 1)


def _drop_path(rate: float) -> nn.Module:
    return DropPath(rate) if rate > 0 else nn.Identity()


class MetaNeXtBlock(nn.Module):
    """``x + layer_scale * mlp(norm(token_mixer(x)))`` (InceptionNeXt, section 3.1)."""

    def __init__(self, arch: Arch, dim: int, mixer: Mixer, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.token_mixer = build_mixer(mixer, dim)
        self.norm = NORMS[arch.norm](dim)
        self.mlp = ConvMlp(dim, int(mlp_ratio * dim), arch.act)
        self.gamma = _layer_scale(arch, dim)
        self.drop_path = _drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim, H, W) to the same shape."""
        return x + self.drop_path(_scaled(self.mlp(self.norm(self.token_mixer(x))), self.gamma))

    def reparameterize(self) -> None:
        """Fold a batch norm and the layer scale into the MLP, as ``archsearch.nn.deploy`` explains."""
        self.norm = self.mlp.fold_norm(self.norm)
        self.mlp.fold_scale(self.gamma)
        self.gamma = None


class MetaFormerBlock(nn.Module):
    """Two residuals: ``x + token_mixer(norm1(x))``, then the same with the MLP (Yu et al. 2022)."""

    def __init__(self, arch: Arch, dim: int, mixer: Mixer, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = NORMS[arch.norm](dim)
        self.token_mixer = build_mixer(mixer, dim)
        self.gamma1 = _layer_scale(arch, dim)
        self.norm2 = NORMS[arch.norm](dim)
        self.mlp = ConvMlp(dim, int(mlp_ratio * dim), arch.act)
        self.gamma2 = _layer_scale(arch, dim)
        self.drop_path = _drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim, H, W) to the same shape."""
        x = x + self.drop_path(_scaled(self.token_mixer(self.norm1(x)), self.gamma1))
        return x + self.drop_path(_scaled(self.mlp(self.norm2(x)), self.gamma2))

    def reparameterize(self) -> None:
        """Fold batch norms and layer scales into the MLP and, where it can take them, into the mixer."""
        self.norm2 = self.mlp.fold_norm(self.norm2)
        self.mlp.fold_scale(self.gamma2)
        self.gamma2 = None
        if isinstance(self.norm1, nn.BatchNorm2d) and absorb_norm(self.token_mixer, self.norm1):
            self.norm1 = nn.Identity()
        if self.gamma1 is not None and absorb_scale(self.token_mixer, self.gamma1):
            self.gamma1 = None


BLOCKS: dict[str, type[MetaNeXtBlock] | type[MetaFormerBlock]] = {
    "metanext": MetaNeXtBlock,
    "metaformer": MetaFormerBlock,
}
