"""Recipes as plain data: how proxy networks are made and trained, and how the speed of targets is measured."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_args

from archsearch.errors import DataError, UserError, unknown
from archsearch.utils.key_fields import KEYED

if TYPE_CHECKING:
    from archsearch.arch import Arch

#: Bound on the numbers of a recipe, so that each of them fits a float.
LARGEST = 1e300
#: Padding of the random crops of a longer training, as a share of the image's side.
CROP_PADDING = 1 / 8


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
        width: Factor on ``dims``, which are rounded to multiples of ``width_step``.
        width_step: Number of channels that widths are multiples of; also the least width.
        depth: Factor on ``depths``, which are rounded to at least one block.
        img_size: Side of the training images, in pixels.
        stem_patch_size: Replacement for the target's, so that maps stay wide enough for band kernels; None keeps it.
        layer_scale_init_value: Replacement for the target's, as 1e-6 needs more epochs than short schedules have; None
            keeps it.
        drop_path_rate: Replacement for the target's; None keeps it.
        fan_in_init: Whether kernels are drawn with a standard deviation of 1 / sqrt(fan in) instead of 0.02.
        epochs: Number of parts of the training; the network is validated after each.
        epoch_samples: Number of training samples per epoch, which goes on in their random order where the epoch before
            it ended, and begins a new order when all have been seen; 0 for each training sample once.
        train_samples: Number of training samples, drawn once, class by class; 0 for all.
        val_samples: Number of validation samples, drawn likewise; 0 for all.
        batch_size: Number of samples per optimiser step.
        accumulate: Number of parts of a batch whose gradients are accumulated; batch norm sees one part at a time.
        lr: Peak learning rate of AdamW, after a linear warm-up, before a cosine decay to 0.
        warmup: Share of all steps that the warm-up takes, in [0, 1).
        weight_decay: Weight decay of AdamW, on matrices and kernels only.
        label_smoothing: Label smoothing, in [0, 1).
        ema: Decay per step of the moving average of the weights, which is then evaluated; 0 for no average.
        flip: Whether images are mirrored at random, where the data set's classes allow it.
        crop_padding: Padding of random crops by reflection, in pixels; 0 for no crops.
        crop_scale: Least share of the area that a random resized crop keeps; 1 for no crops.
        rand_augment: Magnitude of RandAugment's two operations, from 0 to 30; 0 for none.
        erasing: Probability that a random rectangle is replaced by noise.
        cutout: Side of a grey square at a random place, in pixels; 0 for none.
        mixup: Alpha of mixup's Beta distribution; 0 for no mixup.
        cutmix: Alpha of CutMix's Beta distribution; 0 for no CutMix. With mixup, half of the images each.
        teacher: Share of a teacher's class probabilities in the targets, in [0, 1), beside the label; 0 for no teacher.
            ``archsearch.evaluate.teacher`` trains it, once per data set.
        precision: Arithmetic, one of ``PROXY_PRECISIONS``; those with bfloat16 are float32 on devices without it.
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
    precision: str = "amp_bf16"
    epoch_samples: int = 0
    teacher: float = 0.0

    def __post_init__(self) -> None:
        if self.precision not in PROXY_PRECISIONS:
            raise UserError(unknown("precision", self.precision, PROXY_PRECISIONS))
        positive = ("width", "width_step", "depth", "img_size", "stem_patch_size", "epochs", "batch_size", "accumulate")
        _check(self, "greater than 0", (*positive, "lr"), lambda v: v > 0)
        at_least_0 = (
            "layer_scale_init_value", "epoch_samples", "train_samples", "val_samples", "weight_decay", "mixup", "cutmix"
        )  # fmt: skip
        _check(self, "0 or more", at_least_0, lambda v: v >= 0)
        shares = ("drop_path_rate", "warmup", "label_smoothing", "ema", "teacher")
        _check(self, "in [0, 1)", shares, lambda v: 0 <= v < 1)
        _check(self, "in [0, 1]", ("erasing",), lambda v: 0 <= v <= 1)
        _check(self, "in (0, 1]", ("crop_scale",), lambda v: 0 < v <= 1)
        _check(self, "from 0 to 30", ("rand_augment",), lambda v: 0 <= v <= 30)
        _check(self, "from 0 to below img_size", ("crop_padding", "cutout"), lambda v: 0 <= v < self.img_size)
        if self.teacher and (self.mixup or self.cutmix):
            raise UserError("teacher goes with neither mixup nor cutmix: it knows the images, not their mixtures")
        if self.batch_size % self.accumulate:
            raise UserError(f"accumulate is {self.accumulate}, but must divide batch_size, {self.batch_size}")

    def per_epoch(self, available: int) -> int:
        """Return the number of samples of an epoch.

        Args:
            available: Number of training samples, once reduced to ``train_samples``.
        """
        return self.epoch_samples or available

    def with_crops(self) -> "ProxyRecipe":
        """Return the same recipe with random crops where it has none, as longer trainings overfit without.

        >>> ProxyRecipe().with_crops().crop_padding, ProxyRecipe(crop_scale=0.5).with_crops().crop_padding
        (4, 0)
        """
        if self.crop_padding or self.crop_scale < 1:
            return self
        return dataclasses.replace(self, crop_padding=int(self.img_size * CROP_PADDING))

    @property
    def full_size(self) -> bool:
        """Whether proxy networks are as wide and as deep as their targets."""
        return self.width == 1 and self.depth == 1

    def shrink(self, arch: "Arch", num_classes: int) -> "Arch":
        """Return the proxy network of a target architecture.

        Args:
            arch: Target architecture.
            num_classes: Number of classes of the data set.

        Raises:
            ArchError: The smaller network cannot be built (a branch has no channels, say).

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
#: Version of the teacher: raised when ``archsearch.evaluate.teacher`` makes another one of the same recipe.
TEACHER = 1
#: Version of the timing protocol: raised when a recipe gives other speeds than before, so that they are not mixed.
PROTOCOL = 1

#: Fields of an architecture that a proxy recipe replaces where its own are not None.
OWN = ("stem_patch_size", "layer_scale_init_value", "drop_path_rate")

#: Names of the arithmetic: ``bf16`` and ``fp16`` convert the whole network, ``amp_*`` is autocast from float32.
PRECISIONS = ("tf32", "fp32", "bf16", "fp16", "amp_bf16", "amp_fp16")
#: Arithmetic of proxy networks: autocast; bfloat16 for all but norms, with the optimizer's weights in float32; float32.
PROXY_PRECISIONS = ("amp_bf16", "bf16", "tf32", "fp32")
#: Mode in which onnxruntime runs the network, which it can at inference alone.
ONNXRUNTIME = "onnxruntime"
#: What is said of a training step in that mode.
NO_TRAINING = f"mode {ONNXRUNTIME} has no training step"
#: Ways to run a step: operator by operator, compiled by ``torch.compile``, replayed as a CUDA graph, or by onnxruntime.
MODES = ("eager", "compile", "cudagraph", ONNXRUNTIME)
#: Memory layouts of images and weights.
LAYOUTS = ("channels_first", "channels_last")
#: Forms of a network: as it is made and trained, or as it is deployed (``archsearch.nn.deploy``).
FORMS = ("train", "deploy")
#: Values of ``BenchRecipe.layout`` that stand for both.
BOTH = ("both", "best")


@dataclass(frozen=True)
class BenchRecipe:
    """How the speed of target networks is measured; ``archsearch.benchmark`` describes the protocol.

    Attributes:
        batch_size: Number of images per step.
        img_size: Side of the images, in pixels; 0 for the target's own.
        precision: Arithmetic, one of ``PRECISIONS``.
        mode: Way to run a step, one of ``MODES``.
        layout: Memory layout, one of ``LAYOUTS``; ``both`` to time both and keep the faster one; ``best`` to do so as
            long as none is known to be faster on the device for networks of the same token mixers. onnxruntime has
            its own, and takes images as channels_first.
        reference: Reference network of relative throughputs, timed in every round: a named network or ``timm:NAME``.
        rounds: Least number of rounds; in each, one block of steps of every network and of the reference is timed.
        max_rounds: Greatest number of rounds, reached where a relative throughput is not known within ``tolerance``.
        tolerance: Half the width of a relative throughput's 95 % confidence interval to reach, as a share of it.
        patience_s: Seconds that the rounds beyond ``rounds`` may take.
        min_block_s: Least duration of a block, in seconds.
        warmup_s: Least duration of the warm-up of each step, in seconds.
        warmup_limit_s: Seconds of warm-up after which a step is timed even if its speed has not settled.
        known_within: Half the width of a relative throughput's interval, as a share of it, within which a study has to
            know it: rounds are added, and a timing that is still wider is made again later; 0 takes any.
        near_front: The same for candidates that are on the front, or may be at the better end of that interval: such a
            one is timed once more where it is not known so well, and the rounds are joined; 0 times none again.
        form: Form of the networks and of the reference at inference, one of ``FORMS``; training steps are those of the
            train form.
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
    known_within: float = field(default=0.0, metadata={KEYED: False})
    near_front: float = field(default=0.0, metadata={KEYED: False})
    form: str = "train"

    def __post_init__(self) -> None:
        _check(self, "greater than 0", ("batch_size", "rounds"), lambda v: v > 0)
        _check(
            self,
            "0 or more",
            ("img_size", "max_rounds", "tolerance", "patience_s", "min_block_s", "warmup_s", "warmup_limit_s"),
            lambda v: v >= 0,
        )
        _check(self, "in [0, 1)", ("known_within", "near_front"), lambda v: 0 <= v < 1)
        words = {"precision": PRECISIONS, "mode": MODES, "layout": (*LAYOUTS, *BOTH), "form": FORMS}
        for name, known in words.items():
            if getattr(self, name) not in known:
                raise UserError(unknown(name, getattr(self, name), known))
        if not isinstance(self.reference, str) or not self.reference:
            raise UserError(f"reference is {self.reference!r}, but must be the name of a network")

    @property
    def layouts(self) -> tuple[str, ...]:
        """Memory layouts to time, where none is known to be the faster one."""
        return LAYOUTS if self.layout in BOTH else (self.layout,)

    def form_of(self, kind: str) -> str:
        """Return the form that a network is in for a kind of step: ``infer``, ``latency`` or ``train``."""
        return "train" if kind == "train" else self.form

    def resized(self, arch: "Arch") -> "Arch":
        """Return an architecture at the resolution at which it is timed.

        Raises:
            ArchError: The images are too small or too large for the network.
        """
        return arch.replace(img_size=self.img_size or arch.img_size)


#: Proxy recipes by name; a space may override the shape of those that shrink. ``gpu`` keeps the stem's stride at 1, for
#: maps of 32, 16, 8 and 4 positions a side: on smaller ones, wide kernels see little but padding. ``paper`` is Table 9
#: of *InceptionNeXt*, whose batch of 4096 is accumulated from eight parts, as it had eight GPUs.
PROXIES: dict[str, ProxyRecipe] = {
    "smoke": ProxyRecipe(width=1 / 6, width_step=16, depth=0.1, epochs=1, train_samples=256, val_samples=256),
    "drawn": ProxyRecipe(),
    "quick": ProxyRecipe(epochs=1, epoch_samples=17_408, train_samples=0, val_samples=5000, batch_size=32, teacher=0.7),
    "cpu": ProxyRecipe(epochs=3, epoch_samples=14_336, train_samples=0, val_samples=5000, batch_size=32, teacher=0.7),
    "cpu_long": ProxyRecipe(epochs=6, batch_size=32),
    "gpu": ProxyRecipe(
        width=1 / 2,
        width_step=8,
        stem_patch_size=1,
        epochs=30,
        train_samples=0,
        val_samples=0,
        batch_size=512,
        lr=4e-3,
        ema=0.99,
        crop_padding=4,
        cutout=8,
        precision="bf16",
    ),
    "gpu_fast": ProxyRecipe(
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

#: Proxy recipes that earlier versions had under a name; a study that began with one goes on with it.
FORMER_PROXIES: dict[str, ProxyRecipe] = {"cpu": ProxyRecipe()}

#: Timing recipes by name; on a CPU the target keeps its resolution and the batch is small.
BENCHES: dict[str, BenchRecipe] = {
    "smoke": BenchRecipe(1, precision="fp32", rounds=2, max_rounds=0, min_block_s=0, warmup_s=0, warmup_limit_s=0),
    "cpu": BenchRecipe(2, precision="fp32", max_rounds=0, warmup_s=0.0, warmup_limit_s=1.0, known_within=0.08),
    "gpu": BenchRecipe(
        layout="best",
        rounds=5,
        max_rounds=10,
        tolerance=0.03,
        warmup_s=0.5,
        known_within=0.08,
        near_front=0.015,
    ),
}
#: Changes to these recipes, by kind of device, for what times each network once, and shows how fast it is.
PATIENT: dict[str, dict[str, Any]] = {
    "cpu": {},
    "gpu": {"rounds": 10, "max_rounds": 30, "tolerance": 0.01, "warmup_s": 1.0, "near_front": 0.0},
}
#: Timing recipes that earlier versions had under a name; a study that began with one goes on with it.
FORMER_BENCHES: dict[str, BenchRecipe] = {"gpu": BenchRecipe(known_within=0.08)}

#: Names of the data sets, as for ``--dataset``.
DATASETS = ("drawn", "folder", "cifar10", "cifar100", "fashion_mnist")


def default_proxy(kind: str, dataset: str) -> str:
    """Return the name of the proxy recipe where none is chosen.

    Args:
        kind: Kind of device, ``cpu`` or ``gpu``.
        dataset: Name of the data set, one of ``DATASETS``.

    >>> default_proxy("cpu", "folder"), default_proxy("cpu", "drawn")
    ('cpu', 'drawn')
    """
    return "drawn" if (kind, dataset) == ("cpu", "drawn") else kind


def check_dataset(name: str, root: Path | None) -> None:
    """Check the options of a data set before it is loaded.

    Args:
        name: Name of the data set.
        root: Folder of the data set; None if not given.

    Raises:
        DataError: The name is unknown, or ``folder`` has no folder.
    """
    if name not in DATASETS:
        raise DataError(unknown("dataset", name, DATASETS))
    if name == "folder" and root is None:
        raise DataError("--dataset folder needs --data-root DIR, a folder with train/ and val/ or test/")


Recipe = TypeVar("Recipe", ProxyRecipe, BenchRecipe)


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a recipe with some fields changed.

    Args:
        recipe: Recipe to start from.
        changes: New values by name of the field.

    Raises:
        UserError: A field is unknown, of the wrong type, or out of range.

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
