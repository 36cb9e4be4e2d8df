"""Batches of an epoch, fetched and augmented many at a time on the device that trains."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.data.augment import augment, mix
from archsearch.data.images import ImageData, Split, pinned
from archsearch.recipes import ProxyRecipe

#: Bytes of images to fetch and augment at once.
CHUNK_BYTES = 1 << 26
#: Share of a device's free memory that images may take for a whole training.
RESIDENT = 0.4


def room_on(device: torch.device) -> float:
    """Return how many bytes of images a device has room for; infinite where images need not be copied."""
    if device.type != "cuda":
        return float("inf")
    return RESIDENT * torch.cuda.mem_get_info(device)[0]


def batches(
    data: ImageData, proxy: ProxyRecipe, seed: int, epoch: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the augmented batches of an epoch in random order, which depends on seed and epoch alone.

    Args:
        data: Data set whose training split is used; an incomplete last batch is dropped.
        proxy: Recipe with batch size and augmentation.
        seed: Seed of the training.
        epoch: Number of the epoch, from 1.
        device: Device that trains.

    Yields:
        Images (B, 3, S, S) as uint8 on ``device``, and labels (B,), or targets (B, classes) where images are mixed or
        a teacher is asked.
    """
    rng = np.random.default_rng((seed, epoch))
    samples = _order(len(data.train), proxy.epoch_samples, seed, epoch, rng)
    size = min(proxy.batch_size, len(samples))
    order = pinned(torch.from_numpy(samples[: len(samples) // size * size]), device)
    at_once = size * max(1, CHUNK_BYTES // (size * data.train.store[0].numel()))
    chunks = order.split(at_once)
    for chunk, (images, labels) in zip(chunks, fetch(data.train, chunks, device), strict=True):
        changed = augment(images, proxy, data.flip, rng)
        targets = labels
        if proxy.mixup or proxy.cutmix:
            changed, targets = mix(changed, labels, len(data.classes), proxy, rng)
        elif proxy.teacher:
            targets = _soften(labels, data, chunk, proxy.teacher)
        yield from zip(changed.split(size), targets.split(size), strict=True)


def _soften(labels: Tensor, data: ImageData, chunk: Tensor, share: float) -> Tensor:
    """Return targets between labels (N,) and a teacher's probabilities, (N, classes)."""
    assert data.soft is not None  # noqa: S101 - archsearch.evaluate.teacher has been asked
    soft = data.soft[chunk.to(data.soft.device, non_blocking=True)]
    return torch.lerp(F.one_hot(labels, soft.shape[1]).to(soft.dtype), soft, share)


def _order(available: int, wanted: int, seed: int, epoch: int, rng: np.random.Generator) -> np.ndarray:
    """Return the samples of an epoch, as indices; all of them in random order where ``wanted`` is 0."""
    if not wanted:
        return rng.permutation(available)
    begin, end = (epoch - 1) * wanted, epoch * wanted
    passes = range(begin // available, -(-end // available))
    whole = np.concatenate([np.random.default_rng((seed, 0, number)).permutation(available) for number in passes])
    return whole[begin - passes.start * available :][:wanted]


def fetch(split: Split, chunks: tuple[Tensor, ...], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images and labels of each chunk on a device; a thread copies one chunk ahead where they lie elsewhere.

    Args:
        split: Split to fetch from.
        chunks: Indices into the split, (N,) each, on the CPU.
        device: Device to copy to.
    """
    if split.store.device == device:
        for chunk in chunks:
            yield _fetch(split, chunk, device)
        return
    stream = torch.cuda.current_stream(device) if device.type == "cuda" else None

    def copied(chunk: Tensor) -> tuple[Tensor, Tensor]:
        with nullcontext() if stream is None else torch.cuda.stream(stream):  # a new thread has the default stream
            return _fetch(split, chunk, device)

    with ThreadPoolExecutor(1) as ahead:
        waiting: deque[Future[tuple[Tensor, Tensor]]] = deque()
        for chunk in chunks:
            waiting.append(ahead.submit(copied, chunk))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _fetch(split: Split, chunk: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    where = chunk.to(split.labels.device, non_blocking=True)
    images, labels = split.pixels(where), split.labels[where]
    if images.device != device:
        images = pinned(images, device)
    return images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
