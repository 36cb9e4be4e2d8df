"""Effective receptive fields: the pixels that an output of a network with its weights draws on, and how much.

The theoretical field (``archsearch.complexity.receptive``) is where an output's gradient may come from. Within it the
gradient fades from the centre, so that the effective field is smaller (Luo et al. 2016, *Understanding the Effective
Receptive Field in Deep Convolutional Neural Networks*).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from archsearch.complexity.receptive import outputs_of

#: Share of the gradient that the side of a field is given for.
SHARE = 0.95
#: Number of images that are followed at a time, which bounds memory.
CHUNK = 8


@dataclass(frozen=True, eq=False)
class EffectiveField:
    """Effective receptive field of the central output of a module.

    Attributes:
        side: Side of the smallest square that holds ``SHARE`` of the gradient, in pixels.
        gradient: Share of each pixel, as (H, W) that sum to 1.
    """

    side: int
    gradient: np.ndarray


def effective_fields(model: nn.Module, paths: Sequence[str], images: Tensor) -> dict[str, EffectiveField]:
    """Measure the effective receptive field of the central output of each module.

    It is the absolute gradient of the output with respect to the image, averaged over images and their channels. The
    output's channels are added with random signs, drawn for each image: with equal ones, the gradient behind a layer
    norm would be 0.

    Args:
        model: Network with its weights, in evaluation mode. Gradients of its parameters are left alone.
        paths: Paths of modules. Those whose outputs are no maps, or do not depend on the image, are left out.
        images: Images as the network takes them, (N, C, H, W).
    """
    generator = torch.Generator().manual_seed(0)
    sums: dict[str, np.ndarray] = {}
    for chunk in images.split(CHUNK):
        for path, gradient in _gradients(model, paths, chunk.detach().requires_grad_(), generator):
            sums[path] = sums.get(path, 0) + gradient
    known = {path: total / total.sum() for path, total in sums.items() if 0 < total.sum() < float("inf")}
    return {path: EffectiveField(smallest_square(shares, SHARE), shares) for path, shares in known.items()}


def _gradients(
    model: nn.Module, paths: Sequence[str], images: Tensor, generator: torch.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield absolute gradients of central outputs by path, summed over images and their channels, as (H, W)."""
    for path, output in outputs_of(model, paths, images).items():
        maps = as_map(output)
        if maps is None or not maps.requires_grad:
            continue
        centre = maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2]
        signs = torch.randint(0, 2, centre.shape, generator=generator) * 2 - 1
        (gradient,) = torch.autograd.grad(centre, images, signs.to(centre), retain_graph=True, materialize_grads=True)
        yield path, gradient.abs().sum((0, 1)).cpu().double().numpy()


def as_map(output: object) -> Tensor | None:
    """Return a module's output as maps of (N, C, H, W); None where it is not a map, as a transformer's tokens.

    timm's windowed transformers put the channels last; a map is square, and that tells the two orders apart.
    """
    if not isinstance(output, Tensor) or output.ndim != 4:
        return None
    last = output.shape[1] == output.shape[2] != output.shape[3]
    return output.permute(0, 3, 1, 2) if last else output


def smallest_square(shares: np.ndarray, share: float) -> int:
    """Return the side of the smallest square of pixels that holds a share of the whole.

    Ding et al. 2022 (*Scaling Up Your Kernels to 31x31*) measure effective fields so, with squares around the image's
    centre. Here a square may lie anywhere, as the central output of a map with an even side is off that centre.

    Args:
        shares: Share of each pixel, (H, W).
        share: Part of their sum, above 0 and up to 1.

    >>> smallest_square(np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]) / 81, 0.6)  # 49 of 81 are in the central 3 x 3
    3
    """
    height, width = shares.shape
    table = np.zeros((height + 1, width + 1))
    table[1:, 1:] = shares.cumsum(0).cumsum(1)
    wanted = (share - 1e-9) * table[-1, -1]  # sums are rounded

    def most(side: int) -> float:
        """Return the largest sum of a square, cut off where the image is less high or wide than that."""
        rows, columns = min(side, height), min(side, width)
        ends = table[rows:, columns:] - table[:-rows, columns:] - table[rows:, :-columns] + table[:-rows, :-columns]
        return float(ends.max())

    low, high = 1, max(height, width)
    while low < high:  # a larger square holds no less
        middle = (low + high) // 2
        low, high = (low, middle) if most(middle) >= wanted else (middle + 1, high)
    return low
