"""Data sets that torchvision downloads: CIFAR-10, CIFAR-100, Fashion-MNIST."""

import shutil
from pathlib import Path
from typing import Any

import torch

from archsearch.data.folder import cache_folder
from archsearch.data.images import HELD_OUT, ImageData, Split, hold_out
from archsearch.errors import DataError, first_line

#: Class in ``torchvision.datasets`` by the name of the data set.
HUB = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashion_mnist": "FashionMNIST"}


def load_hub(name: str, root: Path | None) -> ImageData:
    """Load a torchvision data set at its own resolution; it is downloaded once.

    Args:
        name: Name of the data set, a key of ``HUB``.
        root: Folder of its files; None for the cache folder.

    Raises:
        DataError: The files are missing and cannot be downloaded.
    """
    from torchvision import datasets  # slow to import, and only needed here

    folder = root or cache_folder() / name
    new = not folder.exists()
    try:
        parts = [getattr(datasets, HUB[name])(folder, train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        if new:
            shutil.rmtree(folder, ignore_errors=True)  # remains of an unfinished download
        raise DataError(
            f"cannot get {name}: {first_line(error)}; go online once, put its files into {folder}, "
            "or use --dataset drawn or --dataset folder --data-root DIR"
        ) from None
    whole, test = (_split(part) for part in parts)
    train, val = hold_out(whole, round(len(whole) * HELD_OUT))
    return ImageData(name, train, val, test, tuple(parts[0].classes), flip=True, fingerprint=f"{name}-{len(whole)}")


def _split(part: Any) -> Split:
    """Return torchvision's images, (N, H, W, 3) or grey (N, H, W), as a split of (N, 3, H, W)."""
    pixels, labels = torch.as_tensor(part.data), torch.as_tensor(part.targets)
    images = pixels.permute(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None].expand(-1, 3, -1, -1)
    return Split(images.contiguous(), labels)
