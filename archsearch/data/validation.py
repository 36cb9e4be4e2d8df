"""A folder's validation images as a trained network of timm's wants them."""

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
    """Images (N x 3 x H x W) and labels of ``root/val``, resized, cropped and normalised as the network was trained.

    Args:
        root: with ``val/<class>/``, classes in the order of their folders' names.
        model: of timm's, with its configuration.
        batch_size: images at a time.
        workers: processes that decode; 0 for none.

    Raises:
        DataError: there is no such folder, it has other classes than the network, or an image is broken.
    """
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    try:
        images = ImageFolder(str(root / "val"), transform)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{root} must hold val/ with a folder of images per class: {error}") from None
    if len(images.classes) != model.num_classes:
        raise DataError(
            f"{root / 'val'} has {len(images.classes)} classes, and the weights know {model.num_classes}; "
            "give the data set that they were trained on"
        )
    loader = DataLoader(images, batch_size, num_workers=workers, pin_memory=torch.cuda.is_available())
    try:
        yield from loader
    except OSError as error:
        raise DataError(f"{root / 'val'} holds an image that cannot be read: {error}") from error
