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

#: Share of a training split that is held out to choose by, where a data set brings no split for it.
HELD_OUT = 0.1


#: Fields of a data set that are splits.
SPLITS = ("train", "val", "test")

#: Images that are copied at once.
COPIED = 4096


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels; the images may lie on disk, memory-mapped, and most of them may belong to others.

    Attributes:
        store: (M, 3, S, S) as uint8.
        labels: (N,) as int64.
        index: (N,) places in ``store``; None where all of them belong, in order.
    """

    store: Tensor
    labels: Tensor
    index: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> Tensor:
        """All images, (N, 3, S, S); a copy, unless the split has the whole store."""
        return self.store if self.index is None else self.store[self.index]

    def take(self, chosen: Tensor) -> "Split":
        """The samples at ``chosen`` (M,), without copying an image."""
        return Split(self.store, self.labels[chosen], chosen if self.index is None else self.index[chosen])

    def pixels(self, chosen: Tensor) -> Tensor:
        """The images at ``chosen`` (M,), (M, 3, S, S)."""
        return self.store[chosen if self.index is None else self.index[chosen]]

    def nbytes(self) -> int:
        """Bytes of its images."""
        return len(self) * self.store[0].numel()

    def to(self, device: torch.device) -> "Split":
        """The same samples with their images on a device."""
        images = torch.empty((len(self), *self.store.shape[1:]), dtype=self.store.dtype, device=device)
        for part in torch.arange(len(self), device=self.labels.device).split(COPIED):
            images[part[0] : part[-1] + 1] = self.pixels(part)
        return Split(images, self.labels.to(device))


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set: three splits, names, and which augmentation keeps its labels true.

    Attributes:
        name: as recorded with every trial.
        train: what candidates are trained on.
        val: what candidates are compared by; never trained on.
        test: untouched by a search, for the final word on what it found.
        classes: class names, in label order.
        flip: whether a mirrored image keeps its class.
        fingerprint: hash that tells two data sets of one name apart.
    """

    name: str
    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    flip: bool
    fingerprint: str

    @property
    def img_size(self) -> int:
        """Side of the square images, in pixels."""
        return int(self.train.store.shape[-1])

    def to(self, device: torch.device, room: float = math.inf) -> "ImageData":
        """The same data set with what candidates are trained on and compared by on a device.

        Args:
            device: where it is wanted.
            room: bytes that images may take there; those of a larger split stay where they are,
                and ``archsearch.data.stream`` brings them over while others are worked on.
        """
        moved = []
        for split in (self.train, self.val):
            fits = split.store.device != device and split.nbytes() <= room
            moved.append(split.to(device) if fits else split)
            room -= split.nbytes() if fits else 0
        return dataclasses.replace(self, train=moved[0], val=moved[1])


def to_arrays(data: ImageData) -> dict[str, Any]:
    """A data set as plain values and NumPy arrays of the images that belong to it, to be sent elsewhere."""
    plain: dict[str, Any] = {f.name: getattr(data, f.name) for f in dataclasses.fields(data) if f.name not in SPLITS}
    for name in SPLITS:
        split: Split = getattr(data, name)
        plain[name] = (split.images.cpu().numpy(), split.labels.cpu().numpy())
    return plain


def from_arrays(plain: Mapping[str, Any]) -> ImageData:
    """What ``to_arrays`` gave; the images are not copied, and must not be written to."""
    splits = {}
    for name in SPLITS:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            splits[name] = Split(*(torch.from_numpy(array) for array in plain[name]))
    return ImageData(**{**plain, **splits})


def stratified(labels: Tensor, count: int, seed: int) -> Tensor:
    """Indices of about ``count`` samples, every class in its share, in random order.

    Largest remainders go first, so the shares add up to ``count`` exactly.

    Args:
        labels: (N,) class of each sample.
        count: how many to draw, at most N.
        seed: of the drawing.

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
    """Splits off ``count`` samples, class by class: (the rest, the held-out part)."""
    held = stratified(split.labels, count, seed)
    rest = torch.ones(len(split), dtype=torch.bool)
    rest[held] = False
    return split.take(torch.nonzero(rest).flatten()), split.take(held)


def resize(data: ImageData, img_size: int) -> ImageData:
    """The data set at ``img_size`` pixels a side (bilinear, antialiased)."""
    if data.img_size == img_size:
        return data

    def resized(split: Split) -> Split:
        chunks = [
            F.interpolate(chunk.float(), size=(img_size, img_size), mode="bilinear", antialias=True)
            for chunk in split.images.split(1024)
        ]
        return Split(torch.cat([chunk.round().to(torch.uint8) for chunk in chunks]), split.labels)

    return dataclasses.replace(data, train=resized(data.train), val=resized(data.val), test=resized(data.test))
