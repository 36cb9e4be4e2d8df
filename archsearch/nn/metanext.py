"""MetaNeXt: stem, stages of blocks and head, for InceptionNeXt, ConvNeXt and related networks.

Submodules have timm's names (``stages.0.blocks.1.mlp.fc1``), so that a state of one maps to the other almost by name.
"""

from collections.abc import Callable

from torch import Tensor, nn

from archsearch.arch import Arch
from archsearch.nn.blocks import BLOCKS, NORMS
from archsearch.nn.folding import fold_norm_after, fold_norm_before


class Stem(nn.Sequential):
    """Patches as a convolution, and a norm: (N, 3, S, S) to (N, dim, S / patch, S / patch)."""

    def __init__(self, arch: Arch) -> None:
        patch = arch.stem_patch_size
        super().__init__(nn.Conv2d(3, arch.dims[0], patch, stride=patch), NORMS[arch.norm](arch.dims[0]))

    def reparameterize(self) -> None:
        """Fold a batch norm into the convolution."""
        conv, norm = self
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            fold_norm_after(conv, norm)
            self[1] = nn.Identity()


class Downsampling(nn.Sequential):
    """A norm and a 2 x 2 convolution of stride 2: (N, before, H, W) to (N, dim, H / 2, W / 2)."""

    def __init__(self, norm: str, before: int, dim: int) -> None:
        super().__init__(NORMS[norm](before), nn.Conv2d(before, dim, 2, stride=2))

    def reparameterize(self) -> None:
        """Fold a batch norm into the convolution, which has no padding."""
        norm, conv = self
        if isinstance(norm, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d):
            fold_norm_before(norm, conv)
            self[0] = nn.Identity()


class MetaNeXtStage(nn.Module):
    """A stage: downsampling by 2 (not in the first stage), then one block per entry of ``drop_paths``."""

    def __init__(self, arch: Arch, index: int, drop_paths: list[float]) -> None:
        super().__init__()
        dim = arch.dims[index]
        self.downsample: nn.Module = nn.Identity()
        if index > 0:
            self.downsample = Downsampling(arch.norm, arch.dims[index - 1], dim)
        block, mixer, ratio = BLOCKS[arch.block], arch.mixers[index], arch.mlp_ratios[index]
        self.blocks = nn.Sequential(*(block(arch, dim, mixer, ratio, rate) for rate in drop_paths))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, dim, H / 2, W / 2); the first stage keeps H and W."""
        return self.blocks(self.downsample(x))


class LinearHead(nn.Module):
    """ConvNeXt's head: global average, layer norm, linear."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.fc = nn.Linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim, H, W) to (N, num_classes)."""
        return self.fc(self.norm(x.mean((2, 3))))


class MlpHead(nn.Module):
    """InceptionNeXt's head: global average, linear to 3 dim, GELU, layer norm, linear."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 3 * dim)
        self.act = nn.GELU()
        self.norm = nn.LayerNorm(3 * dim, eps=1e-6)
        self.fc2 = nn.Linear(3 * dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim, H, W) to (N, num_classes)."""
        return self.fc2(self.norm(self.act(self.fc1(x.mean((2, 3))))))


HEADS: dict[str, Callable[[int, int], nn.Module]] = {"linear": LinearHead, "mlp": MlpHead}


def drop_path_rates(rate: float, depths: tuple[int, ...]) -> list[list[float]]:
    """Return the stochastic depth rate of each block, by stage; it is linear in the block's index.

    >>> drop_path_rates(0.3, (1, 3))
    [[0.0], [0.1, 0.2, 0.3]]
    """
    last = max(sum(depths) - 1, 1)
    flat = [round(rate * i / last, 10) for i in range(sum(depths))]
    starts = [sum(depths[:i]) for i in range(len(depths))]
    return [flat[s : s + d] for s, d in zip(starts, depths, strict=True)]


class MetaNeXt(nn.Module):
    """The network that an ``Arch`` describes; it maps (N, 3, S, S) to (N, num_classes) logits."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.arch = arch
        self.stem = Stem(arch)
        rates = drop_path_rates(arch.drop_path_rate, arch.depths)
        self.stages = nn.Sequential(*(MetaNeXtStage(arch, i, r) for i, r in enumerate(rates)))
        self.head = HEADS[arch.head](arch.dims[-1], arch.num_classes)
        self.apply(_init_weights)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, S, S) to (N, num_classes)."""
        return self.head(self.stages(self.stem(x)))


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def build(arch: Arch) -> MetaNeXt:
    """Build the network of an architecture, initialised from torch's global generator."""
    return MetaNeXt(arch)


def init_fan_in(model: nn.Module) -> None:
    """Initialise kernels and matrices again with a standard deviation of 1 / sqrt(fan in).

    The usual 0.02 suits widths of several hundred channels. In a narrow proxy network it leaves the residual branches
    near zero, and a short schedule ends before they contribute.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
