"""Recipes as plain data: ``Proxy`` (how a stand-in is made and trained), ``Bench`` (how speed is measured)."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from archsearch.arch import Arch
from archsearch.errors import DataError, UserError, unknown


def _check(recipe: Any, allowed: str, names: tuple[str, ...], ok: Callable[[Any], bool]) -> None:
    kinds = {f.name: f.type for f in dataclasses.fields(recipe)}
    for name in names:
        value, kind = getattr(recipe, name), kinds[name]
        fits = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
        if not fits or not math.isfinite(value) or not ok(value):
            raise UserError(f"{name} is {value!r}, but must be {'an integer' if kind is int else 'a number'} {allowed}")
    for name, kind in kinds.items():
        if kind is bool and not isinstance(getattr(recipe, name), bool):
            raise UserError(f"{name} is {getattr(recipe, name)!r}, but must be true or false")


@dataclass(frozen=True)
class Proxy:
    """How the small stand-in of an architecture is made and trained.

    Attributes:
        width: factor on ``dims``, rounded to multiples of ``width_step`` channels.
        width_step: channels; also the least width.
        depth: factor on ``depths``, rounded, at least one block.
        img_size: side of the training images, in pixels.
        stem_patch_size: replaces the target's, so that maps stay wide enough for band kernels.
        layer_scale_init_value: replaces the target's: 1e-6 takes longer than a short schedule.
        epochs: passes over the training samples.
        train_samples: drawn once from the training split, class by class; 0 for all.
        val_samples: likewise from the validation split.
        batch_size: samples per optimiser step.
        lr: peak learning rate of AdamW, after a linear warm-up, then cosine to 0.
        warmup: share of all steps, in [0, 1).
        weight_decay: of AdamW, on matrices and kernels only.
        label_smoothing: in [0, 1).
        crop_padding: pixels; random crops from the reflected border. 0 for none.
        flip: mirror at random, where the data set's classes allow it.
    """

    width: float = 0.25
    width_step: int = 4
    depth: float = 1 / 3
    img_size: int = 32
    stem_patch_size: int = 2
    layer_scale_init_value: float = 0.1
    epochs: int = 3
    train_samples: int = 3584
    val_samples: int = 2048
    batch_size: int = 64
    lr: float = 6e-3
    warmup: float = 0.1
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    crop_padding: int = 0
    flip: bool = True

    def __post_init__(self) -> None:
        positive = ("width", "width_step", "depth", "img_size", "stem_patch_size", "epochs", "batch_size", "lr")
        _check(self, "greater than 0", positive, lambda v: v > 0)
        at_least_0 = ("layer_scale_init_value", "train_samples", "val_samples", "weight_decay", "crop_padding")
        _check(self, "0 or more", at_least_0, lambda v: v >= 0)
        _check(self, "in [0, 1)", ("warmup", "label_smoothing"), lambda v: 0 <= v < 1)
        _check(self, "below img_size", ("crop_padding",), lambda v: v < self.img_size)

    def shrink(self, arch: Arch, num_classes: int) -> Arch:
        """The stand-in of a target, for a data set of ``num_classes`` classes.

        Raises:
            ArchError: the shrunken network cannot exist (a branch without channels, say).

        >>> from archsearch.networks import network
        >>> Proxy().shrink(network("inceptionnext_tiny"), 10).dims
        (24, 48, 96, 192)
        """
        step = self.width_step
        return arch.replace(
            dims=tuple(max(step, round(dim * self.width / step) * step) for dim in arch.dims),
            depths=tuple(max(1, round(depth * self.depth)) for depth in arch.depths),
            img_size=self.img_size,
            stem_patch_size=self.stem_patch_size,
            layer_scale_init_value=self.layer_scale_init_value,
            drop_path_rate=0.0,
            num_classes=num_classes,
        )


#: Arithmetic by name: ``bf16`` and ``fp16`` are whole networks in that type, ``amp_*`` is autocast over float32.
PRECISIONS = ("tf32", "fp32", "bf16", "fp16", "amp_bf16", "amp_fp16")
#: How a step is run: operator by operator, compiled by ``torch.compile``, or captured and replayed as a CUDA graph.
MODES = ("eager", "compile", "cudagraph")
#: Memory layouts of images and weights.
LAYOUTS = ("channels_first", "channels_last")


@dataclass(frozen=True)
class Bench:
    """How the speed of the target is measured; ``archsearch.speed`` says what is done with it.

    Attributes:
        batch_size: images per step.
        img_size: side of the images in pixels; 0 for the target's own.
        precision: one of ``PRECISIONS``.
        mode: one of ``MODES``.
        layout: one of ``LAYOUTS``, or ``both``: the better one counts.
        reference: the network that ratios are to, timed in every round: a named one, or ``timm:NAME``.
        rounds: in each, every network's step is timed for one block, beside one of the reference.
        max_rounds: rounds go on until then, as long as some ratio is not known within ``tolerance``.
        tolerance: half the width of a ratio's 95 % interval, as a share of the ratio.
        patience_s: seconds that rounds beyond the first ``rounds`` may take.
        min_block_s: seconds that a block takes at least.
        warmup_s: seconds of warm-up at least, for each step.
        warmup_limit_s: seconds after which a step that has not settled is timed all the same.
    """

    batch_size: int = 128
    img_size: int = 0
    precision: str = "tf32"
    mode: str = "eager"
    layout: str = "channels_last"
    reference: str = "inceptionnext_tiny"
    rounds: int = 10
    max_rounds: int = 30
    tolerance: float = 0.01
    patience_s: float = 120.0
    min_block_s: float = 0.05
    warmup_s: float = 1.0
    warmup_limit_s: float = 20.0

    def __post_init__(self) -> None:
        _check(self, "greater than 0", ("batch_size", "rounds"), lambda v: v > 0)
        _check(
            self,
            "0 or more",
            ("img_size", "max_rounds", "tolerance", "patience_s", "min_block_s", "warmup_s", "warmup_limit_s"),
            lambda v: v >= 0,
        )
        for name, known in (("precision", PRECISIONS), ("mode", MODES), ("layout", (*LAYOUTS, "both"))):
            if getattr(self, name) not in known:
                raise UserError(unknown(name, getattr(self, name), known))
        if not isinstance(self.reference, str) or not self.reference:
            raise UserError(f"reference is {self.reference!r}, but must be the name of a network")

    @property
    def layouts(self) -> tuple[str, ...]:
        """The layouts to be timed."""
        return LAYOUTS if self.layout == "both" else (self.layout,)

    def resized(self, arch: Arch) -> Arch:
        """The architecture at the resolution it is timed with.

        Raises:
            ArchError: the images are too small or too large for it.
        """
        return arch.replace(img_size=self.img_size or arch.img_size)


#: Proxies by name; a space names what it changes about them.
PROXIES: dict[str, Proxy] = {
    "smoke": Proxy(width=1 / 6, width_step=16, depth=0.1, epochs=1, train_samples=256, val_samples=256),
    "cpu": Proxy(),
    "gpu": Proxy(width=1 / 3, width_step=8, epochs=20, train_samples=0, val_samples=0, batch_size=128, crop_padding=4),
}

#: Benches by name; on a CPU the target keeps its resolution and the batch shrinks.
BENCHES: dict[str, Bench] = {
    "smoke": Bench(1, precision="fp32", rounds=2, max_rounds=0, min_block_s=0, warmup_s=0, warmup_limit_s=0),
    "cpu": Bench(2, precision="fp32", max_rounds=0, warmup_s=0.0, warmup_limit_s=1.0),
    "gpu": Bench(),
}

#: Data sets by name, as ``--dataset`` takes them.
DATASETS = ("drawn", "folder", "cifar10", "cifar100", "fashion_mnist")


def check_dataset(name: str, root: Path | None) -> None:
    """What can be said about a data set before it is loaded.

    Raises:
        DataError: the name is unknown, or a folder is wanted and not named.
    """
    if name not in DATASETS:
        raise DataError(unknown("dataset", name, DATASETS))
    if name == "folder" and root is None:
        raise DataError("--dataset folder needs --data-root DIR, a folder with train/ and val/ or test/")


Recipe = TypeVar("Recipe", Proxy, Bench)


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A recipe with some fields changed.

    Raises:
        UserError: a field is unknown, of the wrong type, or out of range.

    >>> override(Proxy(), {"epochs": 5}).epochs
    5
    """
    fields = {f.name: f for f in dataclasses.fields(recipe)}
    for name in changes:
        if name not in fields:
            raise UserError(unknown(f"field of a {type(recipe).__name__.lower()} recipe", name, fields))
    return dataclasses.replace(recipe, **changes)
