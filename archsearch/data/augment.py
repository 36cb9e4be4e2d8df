"""Augmentation of whole batches, as tensor operations on the device that holds them."""

import torch
import torch.nn.functional as F
from torch import Tensor


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors each image left to right with probability 1/2: (N, C, H, W) to the same shape."""
    coin = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(coin, images.flip(3), images)


def random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Shifts each image by up to ``padding`` pixels each way, the border reflected.

    Args:
        images: (N, C, H, W), any type.
        padding: in pixels, less than H and W; 0 changes nothing.
        generator: on the images' device.
    """
    if padding == 0:
        return images
    count, _, height, width = images.shape
    padded = F.pad(images.float(), (padding,) * 4, mode="reflect").to(images.dtype)
    shift = torch.randint(2 * padding + 1, (2, count, 1), generator=generator, device=images.device)
    rows = torch.arange(height, device=images.device) + shift[0]
    columns = torch.arange(width, device=images.device) + shift[1]
    sample = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
