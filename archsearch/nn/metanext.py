"""MetaNeXt: stem, stages of blocks, head; one module for InceptionNeXt, ConvNeXt and kin.

Submodules carry timm's names (``stages.0.blocks.1.mlp.fc1``), so states map over by
little more than renaming.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.arch import Arch, Mixer
from archsearch.nn.mixers import build_mixer

ACTS: dict[str, Callable[[], nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


def layer_norm_2d(dim: int) -> nn.Module:
    """Layer norm with ConvNeXt's epsilon."""
    return LayerNorm2d(dim, eps=1e-6)


NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm2d, "layer": layer_norm_2d}


class DropPath(nn.Module):
    """Stochastic depth per sample (Huang et al. 2016): drops the branch, rescales the rest."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) to the same shape; the identity in evaluation mode."""
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
        """(N, dim, H, W) to the same shape."""
        return self.fc2(self.act(self.fc1(x)))


class MetaNeXtBlock(nn.Module):
    """``x + layer_scale * mlp(norm(token_mixer(x)))`` (InceptionNeXt, section 3.1)."""

    def __init__(self, arch: Arch, dim: int, mixer: Mixer, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.token_mixer = build_mixer(mixer, dim)
        self.norm = NORMS[arch.norm](dim)
        self.mlp = ConvMlp(dim, int(mlp_ratio * dim), arch.act)
        init = arch.layer_scale_init_value
        self.gamma = nn.Parameter(init * torch.ones(dim)) if init else None
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) to the same shape."""
        y = self.mlp(self.norm(self.token_mixer(x)))
        if self.gamma is not None:
            y = y * self.gamma.view(1, -1, 1, 1)
        return x + self.drop_path(y)


class MetaNeXtStage(nn.Module):
    """Downsampling by 2 (not in the first stage), then ``len(drop_paths)`` equal blocks."""

    def __init__(self, arch: Arch, index: int, drop_paths: list[float]) -> None:
        super().__init__()
        dim = arch.dims[index]
        self.downsample: nn.Module = nn.Identity()
        if index > 0:
            before = arch.dims[index - 1]
            self.downsample = nn.Sequential(NORMS[arch.norm](before), nn.Conv2d(before, dim, 2, stride=2))
        mixer, ratio = arch.mixers[index], arch.mlp_ratios[index]
        self.blocks = nn.Sequential(*(MetaNeXtBlock(arch, dim, mixer, ratio, rate) for rate in drop_paths))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, dim, H / 2, W / 2); the first stage keeps H and W."""
        return self.blocks(self.downsample(x))


class LinearHead(nn.Module):
    """Global average, layer norm, linear: ConvNeXt's head."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.fc = nn.Linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) to (N, num_classes)."""
        return self.fc(self.norm(x.mean((2, 3))))


class MlpHead(nn.Module):
    """Global average, linear to 3 dim, GELU, layer norm, linear: InceptionNeXt's head."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 3 * dim)
        self.act = nn.GELU()
        self.norm = nn.LayerNorm(3 * dim, eps=1e-6)
        self.fc2 = nn.Linear(3 * dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) to (N, num_classes)."""
        return self.fc2(self.norm(self.act(self.fc1(x.mean((2, 3))))))


HEADS: dict[str, Callable[[int, int], nn.Module]] = {"linear": LinearHead, "mlp": MlpHead}


def drop_path_rates(rate: float, depths: tuple[int, ...]) -> list[list[float]]:
    """Stochastic depth per block and stage, linear in the block's index.

    >>> drop_path_rates(0.3, (1, 3))
    [[0.0], [0.1, 0.2, 0.3]]
    """
    last = max(sum(depths) - 1, 1)
    flat = [round(rate * i / last, 10) for i in range(sum(depths))]
    starts = [sum(depths[:i]) for i in range(len(depths))]
    return [flat[s : s + d] for s, d in zip(starts, depths, strict=True)]


class MetaNeXt(nn.Module):
    """The network that an ``Arch`` describes: (N, 3, S, S) to (N, num_classes) logits."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.arch = arch
        patch = arch.stem_patch_size
        self.stem = nn.Sequential(nn.Conv2d(3, arch.dims[0], patch, stride=patch), NORMS[arch.norm](arch.dims[0]))
        rates = drop_path_rates(arch.drop_path_rate, arch.depths)
        self.stages = nn.Sequential(*(MetaNeXtStage(arch, i, r) for i, r in enumerate(rates)))
        self.head = HEADS[arch.head](arch.dims[-1], arch.num_classes)
        self.apply(_init_weights)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, num_classes)."""
        return self.head(self.stages(self.stem(x)))


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def build(arch: Arch) -> MetaNeXt:
    """The module of an architecture, freshly initialised from torch's global generator."""
    return MetaNeXt(arch)


def init_fan_in(model: nn.Module) -> None:
    """Draws kernels and matrices anew with a deviation of 1 / sqrt(fan in).

    A deviation of 0.02 suits widths of several hundred channels. In a narrow proxy it leaves the
    residual branches near zero, and a short schedule ends before they wake up.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
