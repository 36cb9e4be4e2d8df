"""Heads and the whole of a network as a model of timm's; ``archsearch.handover.timm_blocks`` has its other parts."""

from collections.abc import Callable, Sequence
from typing import Any

from timm.layers import NormMlpClassifierHead, SelectAdaptivePool2d
from timm.models._features import feature_take_indices
from timm.utils import reparameterize_model
from torch import Tensor, nn

from archsearch.handover.timm_blocks import Downsample, Stage, Stem


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
        self.fc2 = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()

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
        deploy: Whether norms and scales are folded from the start, for weights of that form and for inference alone.
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
        deploy: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes, self.in_chans, self.num_features = num_classes, in_chans, dims[-1]
        self.stem = Stem(in_chans, dims[0], patch_size, norm_layer)
        self.feature_info = [
            {"num_chs": dim, "reduction": patch_size * 2**i, "module": f"stages.{i}"} for i, dim in enumerate(dims)
        ]
        last = max(sum(depths) - 1, 1)
        rates = [drop_path_rate * i / last for i in range(sum(depths))]
        self.stages = nn.Sequential()
        for i, (depth, dim) in enumerate(zip(depths, dims, strict=True)):
            parts = (token_mixers[i], norm_layer, act_layer, mlp_ratios[i], ls_init_value)
            blocks = [block(dim, *parts, rates.pop(0)) for _ in range(depth)]
            self.stages.append(Stage(Downsample(dims[i - 1], dim, norm_layer) if i else nn.Identity(), blocks))
        self.head = head(dims[-1], num_classes, global_pool, drop_rate)
        self.head_hidden_size = self.head.num_features
        self.apply(self._init_weights)
        if deploy:
            reparameterize_model(self, inplace=True)

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
