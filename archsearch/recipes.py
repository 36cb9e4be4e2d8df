"""Recipes as plain data: how a proxy network is made and trained, and how the speed of a target is measured."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_args

from archsearch.errors import DataError, UserError, unknown

if TYPE_CHECKING:
    from archsearch.arch import Arch

#: No number of a recipe is as large, and every one below it fits a float.
LARGEST = 1e300


def _check(recipe: Any, allowed: str, names: tuple[str, ...], ok: Callable[[Any], bool]) -> None:
    kinds = {f.name: f.type for f in dataclasses.fields(recipe)}
    for name in names:
        value, kind = getattr(recipe, name), kinds[name]
        if value is None and type(None) in get_args(kind):
            continue
        whole = int in (kind, *get_args(kind))
        fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not fits or not abs(value) < LARGEST or not ok(value):
            or_own = ", or null for the target's own" if get_args(kind) else ""
            raise UserError(
                f"{name} is {value!r}, but must be {'an integer' if whole else 'a number'} {allowed}{or_own}"
            )
    for name, kind in kinds.items():
        if kind is bool and not isinstance(getattr(recipe, name), bool):
            raise UserError(f"{name} is {getattr(recipe, name)!r}, but must be true or false")


@dataclass(frozen=True)
class ProxyRecipe:
    """How the small proxy network of an architecture is made and trained.

    Attributes:
        width: factor on ``dims``, rounded to multiples of ``width_step`` channels.
        width_step: channels; also the least width.
        depth: factor on ``depths``, rounded, at least one block.
        img_size: side of the training images, in pixels.
        stem_patch_size: replaces the target's, so that maps stay wide enough for band kernels; None keeps it.
        layer_scale_init_value: replaces the target's: 1e-6 takes longer than a short schedule; None keeps it.
        drop_path_rate: replaces the target's; None keeps it.
        fan_in_init: kernels drawn with a deviation of 1 / sqrt(fan in) instead of 0.02.
        epochs: passes over the training samples.
        train_samples: drawn once from the training split, class by class; 0 for all.
        val_samples: likewise from the validation split.
        batch_size: samples per optimiser step.
        accumulate: parts that a batch is worked off in; batch norm sees one part at a time.
        lr: peak learning rate of AdamW, after a linear warm-up, then cosine to 0.
        warmup: share of all steps, in [0, 1).
        weight_decay: of AdamW, on matrices and kernels only.
        label_smoothing: in [0, 1).
        ema: decay per step of an average of the weights, which is then what is evaluated; 0 for none.
        flip: mirror at random, where the data set's classes allow it.
        crop_padding: pixels; random crops from the reflected border. 0 for none.
        crop_scale: least share of the area that a random crop keeps, resized back; 1 for none.
        rand_augment: magnitude of RandAugment's two operations, of 30; 0 for none.
        erasing: probability that a random rectangle is replaced by noise.
        cutout: side of a grey square at a random place, in pixels; 0 for none.
        mixup: alpha of the Beta distribution that mixes two images; 0 for none.
        cutmix: alpha of that which pastes a part of one into another; 0 for none. With both, half and half.
    """

    #: Fields of the first release; ``archsearch.utils.key_fields`` says what they are for. Never changed.
    FIRST: ClassVar[tuple[str, ...]] = (
        "width", "width_step", "depth", "img_size", "stem_patch_size", "layer_scale_init_value",
        "drop_path_rate", "fan_in_init", "epochs", "train_samples", "val_samples", "batch_size",
        "accumulate", "lr", "warmup", "weight_decay", "label_smoothing", "ema", "flip",
        "crop_padding", "crop_scale", "rand_augment", "erasing", "cutout", "mixup", "cutmix",
    )  # fmt: skip

    width: float = 0.25
    width_step: int = 4
    depth: float = 1 / 3
    img_size: int = 32
    stem_patch_size: int | None = 2
    layer_scale_init_value: float | None = 0.1
    drop_path_rate: float | None = 0.0
    fan_in_init: bool = True
    epochs: int = 3
    train_samples: int = 3584
    val_samples: int = 2048
    batch_size: int = 64
    accumulate: int = 1
    lr: float = 6e-3
    warmup: float = 0.1
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    ema: float = 0.0
    flip: bool = True
    crop_padding: int = 0
    crop_scale: float = 1.0
    rand_augment: int = 0
    erasing: float = 0.0
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        positive = ("width", "width_step", "depth", "img_size", "stem_patch_size", "epochs", "batch_size", "accumulate")
        _check(self, "greater than 0", (*positive, "lr"), lambda v: v > 0)
        at_least_0 = ("layer_scale_init_value", "train_samples", "val_samples", "weight_decay", "mixup", "cutmix")
        _check(self, "0 or more", at_least_0, lambda v: v >= 0)
        _check(self, "in [0, 1)", ("drop_path_rate", "warmup", "label_smoothing", "ema"), lambda v: 0 <= v < 1)
        _check(self, "in [0, 1]", ("erasing",), lambda v: 0 <= v <= 1)
        _check(self, "in (0, 1]", ("crop_scale",), lambda v: 0 < v <= 1)
        _check(self, "from 0 to 30", ("rand_augment",), lambda v: 0 <= v <= 30)
        _check(self, "from 0 to below img_size", ("crop_padding", "cutout"), lambda v: 0 <= v < self.img_size)
        if self.batch_size % self.accumulate:
            raise UserError(f"accumulate is {self.accumulate}, but must divide batch_size, {self.batch_size}")

    @property
    def full_size(self) -> bool:
        """Whether the proxy network is as wide and as deep as the target."""
        return self.width == 1 and self.depth == 1

    def shrink(self, arch: "Arch", num_classes: int) -> "Arch":
        """The proxy network of a target, for a data set of ``num_classes`` classes.

        Raises:
            ArchError: the shrunken network cannot exist (a branch without channels, say).

        >>> from archsearch.arch.networks import network
        >>> ProxyRecipe().shrink(network("inceptionnext_tiny"), 10).dims
        (24, 48, 96, 192)
        """
        step = self.width_step
        return arch.replace(
            dims=tuple(max(step, round(dim * self.width / step) * step) for dim in arch.dims),
            depths=tuple(max(1, round(depth * self.depth)) for depth in arch.depths),
            img_size=self.img_size,
            num_classes=num_classes,
            **{name: value for name in OWN if (value := getattr(self, name)) is not None},
        )


#: Version of the training: raised when a recipe gives other results than before, so that they are not mixed.
TRAINER = 2
#: Version of the timing protocol: raised when a recipe gives other speeds than before, so that they are not mixed.
PROTOCOL = 1

#: Fields of an architecture that a proxy replaces, unless it keeps the target's own.
OWN = ("stem_patch_size", "layer_scale_init_value", "drop_path_rate")

#: Arithmetic by name: ``bf16`` and ``fp16`` are whole networks in that type, ``amp_*`` is autocast over float32.
PRECISIONS = ("tf32", "fp32", "bf16", "fp16", "amp_bf16", "amp_fp16")
#: How a step is run: operator by operator, compiled by ``torch.compile``, or captured and replayed as a CUDA graph.
MODES = ("eager", "compile", "cudagraph")
#: Memory layouts of images and weights.
LAYOUTS = ("channels_first", "channels_last")


@dataclass(frozen=True)
class BenchRecipe:
    """How the speed of the target is measured; ``archsearch.benchmark`` says what is done with it.

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

    #: Fields of the first release; ``archsearch.utils.key_fields`` says what they are for. Never changed.
    FIRST: ClassVar[tuple[str, ...]] = (
        "batch_size", "img_size", "precision", "mode", "layout", "reference", "rounds",
        "max_rounds", "tolerance", "patience_s", "min_block_s", "warmup_s", "warmup_limit_s",
    )  # fmt: skip

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

    def resized(self, arch: "Arch") -> "Arch":
        """The architecture at the resolution it is timed with.

        Raises:
            ArchError: the images are too small or too large for it.
        """
        return arch.replace(img_size=self.img_size or arch.img_size)


#: Proxies by name; a space names what it changes about those that shrink. ``paper``: Table 9 of *InceptionNeXt*,
#: whose batch of 4096 is worked off in the eight parts that its eight GPUs had.
PROXIES: dict[str, ProxyRecipe] = {
    "smoke": ProxyRecipe(width=1 / 6, width_step=16, depth=0.1, epochs=1, train_samples=256, val_samples=256),
    "cpu": ProxyRecipe(),
    "cpu_long": ProxyRecipe(epochs=6, batch_size=32),
    "gpu": ProxyRecipe(
        width=1 / 3, width_step=8, epochs=20, train_samples=0, val_samples=0, batch_size=128, crop_padding=4
    ),
    "paper": ProxyRecipe(
        width=1,
        width_step=1,
        depth=1,
        img_size=224,
        stem_patch_size=None,
        layer_scale_init_value=None,
        drop_path_rate=None,
        fan_in_init=False,
        epochs=300,
        train_samples=0,
        val_samples=0,
        batch_size=4096,
        accumulate=8,
        lr=4e-3,
        warmup=20 / 300,
        crop_scale=0.08,
        rand_augment=9,
        erasing=0.25,
        mixup=0.8,
        cutmix=1.0,
    ),
}

#: Benches by name; on a CPU the target keeps its resolution and the batch shrinks.
BENCHES: dict[str, BenchRecipe] = {
    "smoke": BenchRecipe(1, precision="fp32", rounds=2, max_rounds=0, min_block_s=0, warmup_s=0, warmup_limit_s=0),
    "cpu": BenchRecipe(2, precision="fp32", max_rounds=0, warmup_s=0.0, warmup_limit_s=1.0),
    "gpu": BenchRecipe(),
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


Recipe = TypeVar("Recipe", ProxyRecipe, BenchRecipe)


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A recipe with some fields changed.

    Raises:
        UserError: a field is unknown, of the wrong type, or out of range.

    >>> override(ProxyRecipe(), {"epochs": 5}).epochs
    5
    """
    fields = {f.name: f for f in dataclasses.fields(recipe)}
    for name in changes:
        if name not in fields:
            raise UserError(
                unknown(f"field of a {type(recipe).__name__.removesuffix('Recipe').lower()} recipe", name, fields)
            )
    return dataclasses.replace(recipe, **changes)
