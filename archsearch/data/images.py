"""Image data sets as uint8 tensors, in memory or memory-mapped."""

import dataclasses
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: Share of a training split that is held out for validation where a data set has no validation split.
HELD_OUT = 0.1


#: Names of the splits of a data set.
SPLITS = ("train", "val", "test")

#: Number of images that are copied at once.
COPIED = 4096


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels; several splits may share one store of images, which may be memory-mapped.

    Attributes:
        store: Images, (M, 3, S, S) as uint8.
        labels: Class of each image of the split, (N,) as int64.
        index: Index into ``store`` of each image of the split, (N,); None where the split has the whole store.
    """

    store: Tensor
    labels: Tensor
    index: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> Tensor:
        """All images of the split, (N, 3, S, S); a copy, unless the split has the whole store."""
        return self.store if self.index is None else self.store[self.index]

    def take(self, chosen: Tensor) -> "Split":
        """Return the samples at the indices ``chosen`` (M,), without copying images."""
        return Split(self.store, self.labels[chosen], chosen if self.index is None else self.index[chosen])

    def pixels(self, chosen: Tensor) -> Tensor:
        """Return the images at the indices ``chosen`` (M,), (M, 3, S, S)."""
        return self.store[chosen if self.index is None else self.index[chosen]]

    def nbytes(self) -> int:
        """Return the size of the images in bytes."""
        return len(self) * self.store[0].numel()

    def to(self, device: torch.device) -> "Split":
        """Return the same samples with their images on a device."""
        images = torch.empty((len(self), *self.store.shape[1:]), dtype=self.store.dtype, device=device)
        for part in torch.arange(len(self), device=self.labels.device).split(COPIED):
            images[part[0] : part[-1] + 1] = self.pixels(part)
        return Split(images, self.labels.to(device))


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set of square images in three splits.

    Attributes:
        name: Name of the data set, as recorded with every study.
        train: Training split.
        val: Validation split, on which candidates are compared; never trained on.
        test: Test split, which a search never looks at.
        classes: Names of the classes, in label order.
        flip: Whether a mirrored image keeps its class.
        fingerprint: Hash that distinguishes data sets of the same name.
        soft: Class probabilities of the training images by a teacher, (N, classes), on the device that trains; None
            where there is no teacher.
    """

    name: str
    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    flip: bool
    fingerprint: str
    soft: Tensor | None = None

    @property
    def img_size(self) -> int:
        """Side of the square images, in pixels."""
        return int(self.train.store.shape[-1])

    def to(self, device: torch.device, room: float = math.inf) -> "ImageData":
        """Return the same data set with the training and the validation split on a device.

        Args:
            device: Device to copy to.
            room: Bytes that images may take there. A split that does not fit stays where it is;
                ``archsearch.data.stream`` copies its images in chunks during training.
        """
        moved = []
        for split in (self.train, self.val):
            fits = split.store.device != device and split.nbytes() <= room
            moved.append(split.to(device) if fits else split)
            room -= split.nbytes() if fits else 0
        return dataclasses.replace(self, train=moved[0], val=moved[1])


def pinned(values: Tensor, device: torch.device) -> Tensor:
    """Return values in memory that a device reads without making the host wait (``non_blocking=True``).

    Args:
        values: Tensor on the CPU.
        device: Device that they are going to be copied to.
    """
    return values.pin_memory() if device.type == "cuda" else values


def to_arrays(data: ImageData) -> dict[str, Any]:
    """Return a data set as plain values and NumPy arrays, to send to another machine."""
    plain: dict[str, Any] = {f.name: getattr(data, f.name) for f in dataclasses.fields(data) if f.name not in SPLITS}
    for name in SPLITS:
        split: Split = getattr(data, name)
        plain[name] = (split.images.cpu().numpy(), split.labels.cpu().numpy())
    return plain


def from_arrays(plain: Mapping[str, Any]) -> ImageData:
    """Return the data set that ``to_arrays`` described; its images are not copied and must not be written to."""
    splits = {}
    for name in SPLITS:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            splits[name] = Split(*(torch.from_numpy(array) for array in plain[name]))
    return ImageData(**{**plain, **splits})


def stratified(labels: Tensor, count: int, seed: int) -> Tensor:
    """Draw a stratified sample, in random order.

    Every class gets its share, rounded by the largest remainders, so that the shares sum to ``count``.

    Args:
        labels: Class of each sample, (N,).
        count: Number of samples to draw, at most N.
        seed: Seed of the draw.

    Returns:
        Indices of the drawn samples, (count,).

    >>> labels = torch.tensor([0] * 6 + [1] * 3)
    >>> sorted(labels[stratified(labels, 3, seed=0)].tolist())
    [0, 0, 1]
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.bincount(labels).double()
    exact = sizes * count / len(labels)
    share = exact.floor().long()
    order = torch.argsort(share - exact, stable=True)
    share[order[: count - int(share.sum())]] += 1
    picked = []
    for label, take in enumerate(share.tolist()):
        members = torch.nonzero(labels == label).flatten()
        picked.append(members[torch.randperm(len(members), generator=generator)[:take]])
    chosen = torch.cat(picked)
    return chosen[torch.randperm(len(chosen), generator=generator)]


def hold_out(split: Split, count: int, seed: int = 0) -> tuple[Split, Split]:
    """Split off ``count`` samples, class by class; return the rest and the held-out part."""
    held = stratified(split.labels, count, seed)
    rest = torch.ones(len(split), dtype=torch.bool)
    rest[held] = False
    return split.take(torch.nonzero(rest).flatten()), split.take(held)


def resize(data: ImageData, img_size: int) -> ImageData:
    """Resize the images of a data set to ``img_size`` pixels a side (bilinear, antialiased)."""
    if data.img_size == img_size:
        return data

    def resized(split: Split) -> Split:
        chunks = [
            F.interpolate(chunk.float(), size=(img_size, img_size), mode="bilinear", antialias=True)
            for chunk in split.images.split(1024)
        ]
        return Split(torch.cat([chunk.round().to(torch.uint8) for chunk in chunks]), split.labels)

    return dataclasses.replace(data, train=resized(data.train), val=resized(data.val), test=resized(data.test))
