"""Image data sets: ``load`` one by name, ``reduce`` it to the samples of a proxy recipe."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from archsearch.data.drawn import load_drawn
from archsearch.data.folder import Track, load_folder
from archsearch.data.hub import load_hub
from archsearch.data.images import ImageData, Split, resize, stratified
from archsearch.data.stream import room_on
from archsearch.recipes import ProxyRecipe, check_dataset

__all__ = ["ImageData", "Split", "load", "load_for", "reduce"]


def _untracked(items: Iterable[Any], length: int, what: str) -> Iterable[Any]:
    return items


def load(name: str, root: Path | None, img_size: int, track: Track | None = None) -> ImageData:
    """Load a data set on the CPU.

    Args:
        name: Name of the data set, one of ``archsearch.recipes.DATASETS``.
        root: Folder to read (``folder``) or to download into (other data sets; None for the cache folder).
        img_size: Side of the images, in pixels.
        track: Progress display for decoding a folder; None for no display.

    Raises:
        DataError: The name is unknown, or the data cannot be read or downloaded.
    """
    check_dataset(name, root)
    if name == "folder" and root is not None:
        return load_folder(root, img_size, track or _untracked)
    return resize(load_drawn() if name == "drawn" else load_hub(name, root), img_size)


def load_for(
    proxy: ProxyRecipe, name: str, root: Path | None, device: torch.device, track: Track | None = None
) -> ImageData:
    """Load a data set at the resolution and with the samples of a recipe, on a device as far as it has room."""
    return reduce(load(name, root, proxy.img_size, track), proxy).to(device, room_on(device))


def reduce(data: ImageData, proxy: ProxyRecipe) -> ImageData:
    """Return a data set with the training and validation samples of a recipe; every candidate gets the same ones."""
    counts = {"train": proxy.train_samples, "val": proxy.val_samples}
    kept = {
        name: split.take(stratified(split.labels, count, seed=0))
        for name, count in counts.items()
        if 0 < count < len(split := getattr(data, name))
    }
    return dataclasses.replace(data, **kept)
