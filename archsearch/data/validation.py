"""Validation images of a folder, preprocessed for a trained network of timm."""

from collections.abc import Iterator
from pathlib import Path

import torch
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from archsearch.errors import DataError


def validation_batches(root: Path, model: nn.Module, batch_size: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the images of ``root/val``, resized, cropped and normalised as the network was trained.

    Args:
        root: Folder with ``val/<class>/``, classes in the order of their folders' names.
        model: Network of timm with its configuration.
        batch_size: Number of images per batch.
        workers: Number of processes that decode; 0 to decode in this one.

    Yields:
        Images (N, 3, H, W) and labels (N,).

    Raises:
        DataError: The folder is missing, its classes are not the network's, or an image is broken.
    """
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    try:
        images = ImageFolder(str(root / "val"), transform)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{root} must contain val/ with a folder of images per class: {error}") from None
    if len(images.classes) != model.num_classes:
        raise DataError(
            f"{root / 'val'} has {len(images.classes)} classes, but the weights are for {model.num_classes}; "
            "use the data set that they were trained on"
        )
    loader = DataLoader(images, batch_size, num_workers=workers, pin_memory=torch.cuda.is_available())
    try:
        yield from loader
    except OSError as error:
        raise DataError(f"{root / 'val'} contains an image that cannot be read: {error}") from error
