"""Training a proxy: ``fit`` yields one ``Epoch`` at a time, so the caller stops it by not asking for more."""

import math
import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.data.augment import random_crop, random_flip
from archsearch.data.images import ImageData, Split
from archsearch.errors import DivergedError
from archsearch.processor import cpuinfo
from archsearch.recipes import Proxy
from archsearch.trial import Epoch

#: Samples per step of an evaluation.
EVAL_BATCH = 512


def fit(model: nn.Module, data: ImageData, proxy: Proxy, seed: int) -> Iterator[Epoch]:
    """Trains ``model`` in place on ``data``, both on the same device.

    Args:
        model: (N, 3, S, S) normalised images to (N, classes) logits.
        data: already reduced to the proxy's number of samples.
        proxy: the recipe.
        seed: of data order and augmentation.

    Yields:
        One ``Epoch`` after each pass, with the accuracy on ``data.val``.

    Raises:
        DivergedError: the loss of an epoch is not finite.
    """
    device = data.train.images.device
    model.to(memory_format=torch.channels_last)
    optimizer = _optimizer(model, proxy)
    generator = torch.Generator(device).manual_seed(seed)
    mean, std = channel_statistics(data.train.images)
    steps = max(1, len(data.train) // proxy.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, Schedule(steps * proxy.epochs, proxy.warmup))
    for epoch in range(1, proxy.epochs + 1):
        start = time.perf_counter()
        loss_sum = torch.zeros((), device=device)
        model.train()
        for batch in _batches(data.train, proxy, data.flip, generator):
            logits = _forward(model, (batch.images.float() - mean) / std)
            loss = F.cross_entropy(logits, batch.labels, label_smoothing=proxy.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += loss.detach()
        train_loss = loss_sum.item() / steps
        if not math.isfinite(train_loss):
            raise DivergedError(f"diverged: the training loss of epoch {epoch} is {train_loss}")
        accuracy = evaluate_accuracy(model, data.val, mean, std)
        yield Epoch(epoch, train_loss, accuracy, time.perf_counter() - start)


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel, each (1, 3, 1, 1), in grey levels."""
    sample = images[:: max(1, len(images) // 2048)].float()  # a folder's images are sorted by class
    mean = sample.mean((0, 2, 3), keepdim=True)
    return mean, sample.std((0, 2, 3), keepdim=True).clamp_min(1.0)


@torch.no_grad()
def evaluate_accuracy(model: nn.Module, split: Split, mean: Tensor, std: Tensor) -> float:
    """Top-1 accuracy on a split, a fraction; leaves the model in evaluation mode."""
    model.eval()
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    for start in range(0, len(split), EVAL_BATCH):
        images = (split.images[start : start + EVAL_BATCH].float() - mean) / std
        correct += (_forward(model, images).argmax(1) == split.labels[start : start + EVAL_BATCH]).sum()
    return correct.item() / len(split)


def _forward(model: nn.Module, images: Tensor) -> Tensor:
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=has_bfloat16(images.device)):
        logits: Tensor = model(images)
    return logits.float()


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware, so that autocast pays."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return any({"avx512_bf16", "amx_bf16"} & set(flags.split()) for flags in cpuinfo("flags")[:1])
    return False


def _batches(split: Split, proxy: Proxy, flip: bool, generator: torch.Generator) -> Iterator[Split]:
    """One epoch of full batches in random order, augmented."""
    device = split.labels.device
    order = torch.randperm(len(split), generator=generator, device=device)
    size = min(proxy.batch_size, len(split))
    for start in range(0, len(split) - size + 1, size):
        batch = split.take(order[start : start + size])
        images = random_crop(batch.images, proxy.crop_padding, generator)
        if flip and proxy.flip:
            images = random_flip(images, generator)
        yield Split(images, batch.labels)


def _optimizer(model: nn.Module, proxy: Proxy) -> torch.optim.Optimizer:
    """AdamW; vectors (biases, norms, layer scale) do not decay."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": proxy.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=proxy.lr, fused=True)


class Schedule:
    """Learning-rate factor per step: linear warm-up, then cosine to 0.

    >>> [round(Schedule(10, 0.2)(step), 2) for step in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """

    def __init__(self, steps: int, warmup: float) -> None:
        self.steps, self.warmup = steps, max(1, round(steps * warmup))

    def __call__(self, step: int) -> float:
        """The factor at a step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
