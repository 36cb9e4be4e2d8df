"""The parts of a network as a model of timm's: ``archsearch.handover.model_file`` cuts a network's file out of them.

Names of parameters are those of ``archsearch.nn.MetaNeXt``. Only torch and timm are imported, of timm nothing that came
after 1.0.20, so that a file needs no more than that.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from timm.layers import ConvMlp, DropPath, NormMlpClassifierHead, SelectAdaptivePool2d
from timm.models import checkpoint_seq
from timm.models._features import feature_take_indices
from torch import Tensor, nn


def layer_scale(dim: int, init_value: float) -> nn.Parameter | None:
    """Return the scale of a residual branch per channel; None for an initial value of 0, which stands for none."""
    return nn.Parameter(init_value * torch.ones(dim)) if init_value else None


def scaled(x: Tensor, gamma: nn.Parameter | None) -> Tensor:
    """Multiply (N, dim, H, W) by a scale per channel, if there is one."""
    return x if gamma is None else x * gamma.reshape(1, -1, 1, 1)


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


class Stage(nn.Module):
    """Downsampling by 2, but for the first stage, and then blocks."""

    def __init__(
        self, dim_in: int, dim: int, norm_layer: Callable[[int], nn.Module], downsample: bool, blocks: list[nn.Module]
    ) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if downsample:
            self.downsample = nn.Sequential(norm_layer(dim_in), nn.Conv2d(dim_in, dim, 2, stride=2))
        self.blocks = nn.Sequential(*blocks)
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, dim_in, H, W) to (N, dim, H / 2, W / 2); the first stage keeps H and W."""
        x = self.downsample(x)
        return checkpoint_seq(self.blocks, x) if self.grad_checkpointing else self.blocks(x)


class MlpHead(nn.Module):
    """Global pooling, linear to 3 dim, GELU, layer norm, linear."""

    def __init__(self, dim: int, num_classes: int, pool_type: str, drop_rate: float) -> None:
        super().__init__()
        self.num_features = 3 * dim
        self.global_pool = SelectAdaptivePool2d(pool_type=pool_type, flatten=True)
        self.fc1 = nn.Linear(dim * self.global_pool.feat_mult(), 3 * dim)
        self.act = nn.GELU()
        self.norm = nn.LayerNorm(3 * dim, eps=1e-6)
        self.drop = nn.Dropout(drop_rate)
        self.fc2 = nn.Linear(3 * dim, num_classes) if num_classes > 0 else nn.Identity()

    def reset(self, num_classes: int, pool_type: str | None = None) -> None:
        """Replace the last layer, and the pooling where one is named."""
        if pool_type:
            self.global_pool = SelectAdaptivePool2d(pool_type=pool_type, flatten=True)
        self.fc2 = nn.Linear(3 * self.fc1.in_features, num_classes) if num_classes > 0 else nn.Identity()

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map (N, dim, H, W) to (N, num_classes), or to the (N, 3 dim) before the last layer."""
        x = self.drop(self.norm(self.act(self.fc1(self.global_pool(x)))))
        return x if pre_logits else self.fc2(x)


class LinearHead(NormMlpClassifierHead):
    """Global pooling, layer norm, linear."""

    def __init__(self, dim: int, num_classes: int, pool_type: str, drop_rate: float) -> None:
        super().__init__(dim, num_classes, pool_type=pool_type, drop_rate=drop_rate, norm_layer="layernorm2d")


class MetaNeXt(nn.Module):
    """Stem, stages of blocks and head; it maps (N, in_chans, H, W) to (N, num_classes) logits.

    Args:
        depths: Number of blocks per stage.
        dims: Number of channels per stage.
        token_mixers: Function per stage that makes a token mixer for a number of channels.
        mlp_ratios: Ratio of hidden to input channels of the MLPs, per stage.
        block: Class of the blocks.
        norm_layer: Function that makes a norm for a number of channels.
        act_layer: Class of the MLPs' activation.
        head: Class of the head.
        patch_size: Kernel size and stride of the stem, in pixels.
        ls_init_value: Initial layer scale; 0 for none.
        drop_path_rate: Stochastic depth rate of the last block; it rises linearly from 0.
        drop_rate: Dropout rate before the last layer.
        in_chans: Number of channels of the image.
        num_classes: Number of classes; 0 for no last layer.
        global_pool: Pooling of the head, by timm's names.
    """

    def __init__(
        self,
        depths: Sequence[int],
        dims: Sequence[int],
        token_mixers: Sequence[Callable[[int], nn.Module]],
        mlp_ratios: Sequence[float],
        block: Callable[..., nn.Module],
        norm_layer: Callable[[int], nn.Module],
        act_layer: type[nn.Module],
        head: Callable[[int, int, str, float], Any],
        patch_size: int = 4,
        ls_init_value: float = 1e-6,
        drop_path_rate: float = 0.0,
        drop_rate: float = 0.0,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        self.num_classes, self.in_chans, self.num_features = num_classes, in_chans, dims[-1]
        self.stem = nn.Sequential(nn.Conv2d(in_chans, dims[0], patch_size, stride=patch_size), norm_layer(dims[0]))
        self.feature_info = [
            {"num_chs": dim, "reduction": patch_size * 2**i, "module": f"stages.{i}"} for i, dim in enumerate(dims)
        ]
        last = max(sum(depths) - 1, 1)
        rates = [drop_path_rate * i / last for i in range(sum(depths))]
        self.stages = nn.Sequential()
        for i, (depth, dim) in enumerate(zip(depths, dims, strict=True)):
            parts = (token_mixers[i], norm_layer, act_layer, mlp_ratios[i], ls_init_value)
            blocks = [block(dim, *parts, rates.pop(0)) for _ in range(depth)]
            self.stages.append(Stage(dims[max(i - 1, 0)], dim, norm_layer, i > 0, blocks))
        self.head = head(dims[-1], num_classes, global_pool, drop_rate)
        self.head_hidden_size = self.head.num_features
        self.apply(self._init_weights)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def group_matcher(self, coarse: bool = False) -> dict[str, object]:
        """Return patterns of names that divide the parameters into layers, for learning rates by layer."""
        blocks = [(r"^stages\.(\d+)\.downsample", (0,)), (r"^stages\.(\d+)\.blocks\.(\d+)", None)]
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if coarse else blocks}

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters without weight decay, beside biases, norms and scales: none."""
        return set()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute activations again in the backward pass instead of keeping them, or not."""
        for module in self.modules():
            if isinstance(module, Stage):
                module.grad_checkpointing = enable

    def get_classifier(self) -> nn.Module:
        """Return the last layer."""
        head = self.head
        return head.fc2 if hasattr(head, "fc2") else head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None, reset_other: bool = False) -> None:
        """Replace the last layer, and the pooling where one is named; the rest of the head stays."""
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the maps of some stages, (N, dim, H, W) each, after those of the last stage if these are asked for.

        Args:
            x: Images, (N, in_chans, H, W).
            indices: Indices of stages, the last ones by their number, or None for all.
            norm: For the interface; maps have no norm of their own.
            stop_early: Whether to leave out the stages behind the last one that is asked for.
            output_fmt: Layout of the maps; only ``NCHW``.
            intermediates_only: Whether to return only the list.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt is {output_fmt!r}, but must be 'NCHW'")
        taken, last = feature_take_indices(len(self.stages), indices)
        maps = []
        x = self.stem(x)
        for index, stage in enumerate(self.stages[: last + 1] if stop_early else self.stages):
            x = stage(x)
            if index in taken:
                maps.append(x)
        return maps if intermediates_only else (x, maps)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove the stages behind the last one that is asked for, and the head; return the stages' indices."""
        taken, last = feature_take_indices(len(self.stages), indices)
        self.stages = self.stages[: last + 1]
        if prune_head:
            self.reset_classifier(0)
        return taken

    def forward_features(self, x: Tensor) -> Tensor:
        """Map (N, in_chans, H, W) to the last stage's (N, dim, h, w)."""
        return self.stages(self.stem(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map the last stage's (N, dim, h, w) to (N, num_classes), or to what is before the last layer."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_chans, H, W) to (N, num_classes)."""
        return self.forward_head(self.forward_features(x))
