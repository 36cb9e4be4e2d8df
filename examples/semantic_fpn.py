"""Semantic FPN on the backbone of any network: train it on drawn masks, and compare its mIoU with a constant guess.

    python examples/semantic_fpn.py [NETWORK] [--steps 300] [--batch-size 16] [--lr 2e-3] [--device auto] [--seed 0]

NETWORK is a named network (``describe`` lists them), an architecture as a JSON file, or a safetensors file with the
weights of a trained network; only the last starts from trained weights. The images are made here: discs, squares and
rings of any colour, which overlap, on textured ground. Shapes alone tell the classes, so the head has to use the maps
that the backbone returns. A minute on two CPU cores suffices.

What it stands for is the paper's semantic segmentation on ADE20K, with Semantic FPN (this head) and UperNet: rows that
tell whether a block that ranks well in classification is as good in a backbone. To run it there, change three things:

1.  ``draw_scenes`` gives way to ADE20K's images, in crops of 512 x 512 pixels, scaled and flipped at random, with its
    150 classes (``CLASSES``); label 0 of its files, "other", is no class: give it to ``cross_entropy`` as
    ``ignore_index``, and leave it out of ``confusion``.
2.  NETWORK is a file of weights that were trained on ImageNet-1K, and ``--channels 256``.
3.  ``--batch-size 16 --steps 80000 --lr 1e-4``, which take a GPU and hours.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.arch.networks import find
from archsearch.handover import load_weights
from archsearch.nn import Backbone, build, init_fan_in
from archsearch.nn.device import pick_device

CLASSES = ("ground", "disc", "square", "ring")
#: Side of the images in pixels; largest number of shapes in one; their radii in pixels.
SIZE, SHAPES, RADIUS = 64, 3, (8.0, 16.0)


class SemanticFPN(nn.Module):
    """A feature pyramid and the head that sums its levels (Kirillov et al. 2019, *Panoptic FPN*, section 3.1)."""

    def __init__(self, backbone: Backbone, classes: int, channels: int) -> None:
        """Build the pyramid and the head, at random.

        Args:
            backbone: Network that returns a map per stage.
            classes: Number of classes.
            channels: Number of channels of the pyramid; the head has half of them.
        """
        super().__init__()
        self.backbone = backbone
        self.laterals = nn.ModuleList(nn.Conv2d(dim, channels, 1) for dim in backbone.feature_info.channels())
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in self.laterals)
        strides = backbone.feature_info.reduction()
        steps = (round(math.log2(stride / strides[0])) for stride in strides)
        self.levels = nn.ModuleList(level(channels, channels // 2, count) for count in steps)
        self.classifier = nn.Conv2d(channels // 2, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) to logits (N, classes, H, W)."""
        maps = [lateral(m) for lateral, m in zip(self.laterals, self.backbone(x), strict=True)]
        for finer in range(len(maps) - 2, -1, -1):
            maps[finer] = maps[finer] + resized(maps[finer + 1], maps[finer], "nearest")
        maps = [smooth(m) for smooth, m in zip(self.smooth, maps, strict=True)]
        total = sum(resized(up(m), maps[0], "bilinear") for up, m in zip(self.levels, maps, strict=True))
        return resized(self.classifier(total), x, "bilinear")


def level(dim: int, out: int, steps: int) -> nn.Sequential:
    """Return the head's part for a level: convolutions, each upsampled by two, until it has the finest map's stride."""
    parts: list[nn.Module] = []
    for step in range(max(1, steps)):
        parts += [nn.Conv2d(dim if step == 0 else out, out, 3, padding=1), nn.GroupNorm(8, out), nn.ReLU()]
        parts += [nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)] if steps else []
    return nn.Sequential(*parts)


def resized(x: Tensor, like: Tensor, mode: str) -> Tensor:
    """Return a map with the sides of another."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, like.shape[-2:], mode=mode, **({} if mode == "nearest" else {"align_corners": False}))


def draw_scenes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw images of shapes on textured ground, and their masks.

    Args:
        count: Number of images, N.
        seed: Seed of every pixel.

    Returns:
        Images (N, 3, S, S), float32 from 0 to 1, and masks (N, S, S) of indices into ``CLASSES``.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    images, masks = np.empty((count, 3, SIZE, SIZE), np.float32), np.zeros((count, SIZE, SIZE), np.int64)
    for image, mask in zip(images, masks, strict=True):
        image[:] = rng.uniform(0.1, 0.5, (3, 1, 1)) + 0.1 * texture(x, y, rng)
        for _ in range(rng.integers(1, SHAPES + 1)):
            kind = int(rng.integers(1, len(CLASSES)))
            inside = shape(kind, x, y, rng)
            image[:, inside] = (rng.uniform(0.4, 0.9, (3, 1, 1)) + 0.1 * texture(x, y, rng))[:, inside]
            mask[inside] = kind
    images += rng.normal(0, 0.05, images.shape).astype(np.float32)
    return torch.from_numpy(images.clip(0, 1)), torch.from_numpy(masks)


def texture(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw waves of random direction, length and phase, in [-1, 1]."""
    angle, period, phase = rng.uniform(0, np.pi), rng.uniform(4, 12), rng.uniform(0, 2 * np.pi)
    return np.sin(2 * np.pi / period * (np.cos(angle) * x + np.sin(angle) * y) + phase)


def shape(kind: int, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the pixels of a disc, a turned square or a ring, as a mask (S, S)."""
    (u, v), radius, turn = rng.uniform(8, SIZE - 8, 2), rng.uniform(*RADIUS), rng.uniform(0, np.pi / 2)
    x, y = x - u, y - v
    distance = np.hypot(x, y)
    if CLASSES[kind] == "square":
        along, across = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
        return np.maximum(abs(along), abs(across)) < 0.85 * radius
    return (distance < radius) & (distance > (0.55 * radius if CLASSES[kind] == "ring" else -1))


def mean_iou(confusion: Tensor) -> float:
    """Return the mean over classes of intersection over union; classes that occur nowhere do not count.

    Args:
        confusion: Number of pixels by true (rows) and predicted class.

    >>> mean_iou(torch.tensor([[3, 1], [0, 4]]))
    0.775
    """
    hits = confusion.diag().double()
    union = confusion.sum(0) + confusion.sum(1) - hits
    return (hits / union)[union > 0].mean().item()


def confusion(truth: Tensor, predicted: Tensor) -> Tensor:
    """Return the number of pixels by true (rows) and predicted class, (classes, classes)."""
    pairs = truth.flatten() * len(CLASSES) + predicted.flatten()
    return pairs.bincount(minlength=len(CLASSES) ** 2).view(len(CLASSES), -1)


def backbone_of(reference: str) -> tuple[Backbone, Tensor, Tensor]:
    """Return the backbone of a network, and mean and standard deviation of its inputs, per channel."""
    if reference.endswith(".safetensors"):
        weights = load_weights(Path(reference))
        mean, std = (torch.tensor(weights.facts[name]).view(1, -1, 1, 1) for name in ("mean", "std"))
        return weights.build_features(), mean, std
    network = build(find(reference))
    init_fan_in(network)  # the usual initialisation needs a schedule of hours
    return Backbone(network), torch.tensor(0.5), torch.tensor(0.25)


def train(model: nn.Module, images: Tensor, masks: Tensor, args: argparse.Namespace) -> None:
    """Train on random batches, each mirrored at random, with AdamW and a learning rate that falls along a cosine."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.05)
    warmup = max(1, args.steps // 10)

    def rate(step: int) -> float:
        return min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * step / args.steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    model.train()
    for _ in range(args.steps):
        batch = torch.randint(len(images), (args.batch_size,)).to(images.device)
        flips = [side for side in (-1, -2) if torch.rand(()) < 0.5]
        loss = F.cross_entropy(model(images[batch].flip(flips)), masks[batch].flip(flips))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def evaluate(model: nn.Module, images: Tensor, masks: Tensor, batch_size: int) -> float:
    """Return the mIoU over images."""
    model.eval()
    batches = zip(images.split(batch_size), masks.split(batch_size), strict=True)
    return mean_iou(sum(confusion(truth, model(batch).argmax(1)) for batch, truth in batches))


def main(words: list[str] | None = None) -> tuple[float, float]:
    """Train and evaluate; print, and return, the mIoU of the constant guess and that of the network."""
    args = parse(words)
    torch.manual_seed(args.seed)
    device = pick_device(args.device)
    backbone, mean, std = backbone_of(args.network)
    model = SemanticFPN(backbone, len(CLASSES), args.channels).to(device)
    sets = [draw_scenes(count, args.seed + at) for at, count in enumerate((args.images, args.val_images))]
    (images, masks), (val_images, val_masks) = (
        (((images - mean) / std).to(device), masks.to(device)) for images, masks in sets
    )
    start = time.perf_counter()
    train(model, images, masks, args)
    guess = masks.flatten().bincount().argmax()
    constant = mean_iou(confusion(val_masks, guess.expand_as(val_masks)))
    reached = evaluate(model, val_images, val_masks, args.batch_size)
    strides = ", ".join(map(str, backbone.feature_info.reduction()))
    print(f"{args.network}, maps at strides {strides}: {args.steps} steps in {time.perf_counter() - start:.0f} s")
    print(f"mIoU of the most frequent class ({CLASSES[guess]}) everywhere: {constant:.3f}")
    print(f"mIoU of Semantic FPN on {len(val_images)} other images: {reached:.3f}")
    return constant, reached


def parse(words: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("network", nargs="?", default="inceptionnext_atto", metavar="NETWORK", help="name, .json or .safetensors file")
    add("--steps", type=int, default=300, help="training steps (%(default)s)")
    add("--batch-size", type=int, default=16, help="images per step (%(default)s)")
    add("--lr", type=float, default=2e-3, help="largest learning rate (%(default)s)")
    add("--channels", type=int, default=64, help="channels of the pyramid, a multiple of 16 (%(default)s)")
    add("--images", type=int, default=512, help="images to train on (%(default)s)")
    add("--val-images", type=int, default=256, help="images to evaluate on (%(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda, mps (%(default)s)")
    add("--seed", type=int, default=0, help="seed of images, initialisation and batches (%(default)s)")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
