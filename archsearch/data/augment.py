"""Augmentation of many images at once, as tensor operations on the device that holds them.

Random numbers are drawn first, by NumPy on the CPU, and the images are a function of these numbers alone. So the
images of an epoch depend on the seed and the number of the epoch, not on the device.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.data.images import pinned
from archsearch.recipes import ProxyRecipe

#: Images that share the operations of one draw of RandAugment.
RAND_AUGMENT_GROUP = 16
#: Share of the area and aspect ratio of the rectangles of random erasing (Zhong et al. 2020, as in timm).
ERASED, ERASED_ASPECT = (0.02, 1 / 3), (0.3, 1 / 0.3)
#: Aspect ratio of random resized crops.
CROP_ASPECT = (3 / 4, 4 / 3)
#: Grey level of the squares of cutout.
GREY = 128


def augment(images: Tensor, proxy: ProxyRecipe, flip: bool, rng: np.random.Generator) -> Tensor:
    """Apply every augmentation of a recipe except mixing.

    Args:
        images: Images, (N, 3, S, S) as uint8.
        proxy: Recipe that names the augmentations and their strengths.
        flip: Whether a mirrored image keeps its class.
        rng: Random generator.

    Returns:
        Images of the same shape and type.
    """
    count, size = len(images), images.shape[-1]
    if proxy.crop_scale < 1:
        images = crop_resize(images, *draw_crops(count, proxy.crop_scale, rng))
    mirrored = rng.random(count) < 0.5 if flip and proxy.flip else np.zeros(count, dtype=bool)
    shift = rng.integers(-proxy.crop_padding, proxy.crop_padding + 1, (2, count))
    if proxy.crop_padding or mirrored.any():
        images = shift_flip(images, shift, mirrored)
    if proxy.rand_augment:
        images = rand_augment(images, proxy.rand_augment, rng)
    if proxy.erasing:
        erased = rng.random(count) < proxy.erasing
        noise = rng.integers(0, 256, images.shape, dtype=np.uint8)
        images = paste(images, there(noise, images), draw_erased(count, size, rng), erased)
    if proxy.cutout:
        box = np.stack([*rng.integers(0, size, (2, count)), *np.full((2, count), proxy.cutout)])
        box[:2] -= proxy.cutout // 2
        images = paste(images, images.new_full((), GREY), box)
    return images


def shift_flip(images: Tensor, shift: np.ndarray, mirrored: np.ndarray) -> Tensor:
    """Shift each image, with a reflected border, then mirror some of them, in one gather.

    Args:
        images: Images, (N, C, S, S), of any type.
        shift: Rows and columns to shift by, (2, N), in pixels, less than S.
        mirrored: Whether to mirror each image, (N,).

    Returns:
        (N, C, S, S) in channels-last memory.
    """
    size = images.shape[-1]
    places = np.arange(size)
    rows = places + shift[0, :, None]
    columns = np.where(mirrored[:, None], places[::-1], places) + shift[1, :, None]
    last = size - 1
    rows, columns = (there(last - abs(last - abs(side)), images) for side in (rows, columns))
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def draw_crops(count: int, least: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw random rectangles that cover at least a share of the area.

    Args:
        count: Number of rectangles N.
        least: Least share of the area.
        rng: Random generator.

    Returns:
        Extent and centre, (2, N) each, where the image reaches from -1 to 1.
    """
    area = rng.uniform(least, 1, count)
    aspect = _log_uniform(CROP_ASPECT, count, rng).clip(area, 1 / area)  # no side longer than the image's
    extent = np.sqrt(np.stack([area * aspect, area / aspect]))
    return extent, (1 - extent) * rng.uniform(-1, 1, (2, count))


def _log_uniform(bounds: tuple[float, float], count: int, rng: np.random.Generator) -> np.ndarray:
    return np.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1]), count))


def crop_resize(images: Tensor, extent: np.ndarray, centre: np.ndarray) -> Tensor:
    """Resize a rectangle of each image to full size (bilinear): (N, C, S, S) uint8 to the same."""
    across, along = (there(side, images).float() for side in (extent, centre))
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 1, 1] = across
    theta[:, 0, 2], theta[:, 1, 2] = along
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    pixels = F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
    return pixels.round().clamp(0, 255).to(images.dtype)


def rand_augment(images: Tensor, magnitude: int, rng: np.random.Generator) -> Tensor:
    """Apply two of torchvision's RandAugment operations (Cubuk et al. 2020), drawn for groups of images."""
    from torchvision.transforms.v2 import RandAugment  # slow to import, and rarely needed

    change = RandAugment(2, magnitude)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        return torch.cat([change(group) for group in images.split(RAND_AUGMENT_GROUP)])


def draw_erased(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw rectangles for random erasing inside the image: top, left, height, width, (4, N)."""
    area = rng.uniform(*ERASED, count) * size**2
    aspect = _log_uniform(ERASED_ASPECT, count, rng)
    sides = np.rint(np.sqrt(np.stack([area * aspect, area / aspect]))).clip(1, size - 1).astype(np.int64)
    return np.concatenate([(rng.random((2, count)) * (size - sides + 1)).astype(np.int64), sides])


def draw_boxes(kept: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the squares of CutMix (Yun et al. 2019), clipped at the border.

    Args:
        kept: Share of the area of each image that is kept, (N,).
        size: Side of the images, in pixels.
        rng: Random generator.

    Returns:
        Top, left, height and width, (4, N).
    """
    side = (size * np.sqrt(1 - kept)).astype(np.int64)
    start = rng.integers(0, size, (2, len(kept))) - side // 2
    end = np.minimum(start + side, size)
    start = np.maximum(start, 0)
    return np.concatenate([start, end - start])


def paste(images: Tensor, other: Tensor, box: np.ndarray, where: np.ndarray | None = None) -> Tensor:
    """Replace a rectangle of each image by that of another image.

    Args:
        images: Images, (N, C, S, S).
        other: Images to paste from; of the same shape, or one that broadcasts to it.
        box: Top, left, height and width, (4, N); parts outside the image are ignored.
        where: Whether to change each image, (N,); None for all.
    """
    places = np.arange(images.shape[-1])
    down, along = (
        (places >= start[:, None]) & (places < (start + side)[:, None])
        for start, side in zip(box[:2], box[2:], strict=True)
    )
    if where is not None:
        down &= where[:, None]
    rows, columns = (there(inside, images) for inside in (down, along))
    return torch.where((rows[:, :, None] & columns[:, None, :])[:, None], other, images)


def mix(
    images: Tensor, labels: Tensor, classes: int, proxy: ProxyRecipe, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mix each image with its neighbour by mixup (Zhang et al. 2018) or CutMix; with both, half of the images each.

    Args:
        images: Images in random order, (N, C, S, S) as uint8.
        labels: Class of each image, (N,).
        classes: Number of classes.
        proxy: Recipe with the alphas of mixup and CutMix.
        rng: Random generator.

    Returns:
        Images of the same shape and type, and targets (N, classes) whose rows sum to 1.
    """
    count = len(images)
    cut = rng.random(count) < (0.5 if proxy.mixup and proxy.cutmix else float(proxy.cutmix > 0))
    drawn = [rng.beta(alpha, alpha, count) if alpha else np.ones(count) for alpha in (proxy.mixup, proxy.cutmix)]
    box = draw_boxes(drawn[1], images.shape[-1], rng)
    kept = np.where(cut, 1 - box[2] * box[3] / images.shape[-1] ** 2, drawn[0]).astype(np.float32)
    weight = there(kept, images)
    neighbours = images.roll(1, 0)
    blend = torch.lerp(neighbours.float(), images.float(), weight[:, None, None, None]).round().to(images.dtype)
    pasted = paste(images, neighbours, box)
    mixed = torch.where(there(cut, images)[:, None, None, None], pasted, blend)
    targets = F.one_hot(labels, classes).float()
    return mixed, torch.lerp(targets.roll(1, 0), targets, weight[:, None])


def there(array: np.ndarray, images: Tensor) -> Tensor:
    """Return an array as a tensor on the device of images; the host does not wait for the copy."""
    return pinned(torch.from_numpy(array), images.device).to(images.device, non_blocking=True)
