"""Grad-CAM by the library ``grad-cam``: which positions of a stage's output speak for a class."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from archsearch.complexity.effective_field import CHUNK, as_map
from archsearch.complexity.receptive import outputs_of
from archsearch.errors import OptionError
from archsearch.handover.explain_networks import TrainedNetwork


def check_installed() -> None:
    """Check that the library can be imported.

    Raises:
        OptionError: It cannot; the message says how to install it.
    """
    try:
        import pytorch_grad_cam  # noqa: F401
    except ImportError:
        raise OptionError("explain needs the library grad-cam: pip install 'archsearch[explain]'") from None


def heat_maps(model: nn.Module, layer: str, images: Tensor, targets: Sequence[int]) -> np.ndarray:
    """Return Grad-CAM of each image (Selvaraju et al. 2017), (N, S, S) from 0 to 1, the maximum of each image.

    Args:
        model: Network in evaluation mode.
        layer: Path of the module whose output is weighed; ``map_sides`` has found it usable.
        images: Images as the network takes them, (N, 3, S, S).
        targets: Index of the class to explain, for each image.
    """
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    chosen = [ClassifierOutputTarget(target) for target in targets]
    cam = GradCAM(model, [model.get_submodule(layer)], reshape_transform=as_map)
    try:  # as a context manager, it would swallow an IndexError
        starts = range(0, len(images), CHUNK)
        parts = [cam(input_tensor=images[at : at + CHUNK], targets=chosen[at : at + CHUNK]) for at in starts]
    finally:
        cam.activations_and_grads.release()
        model.zero_grad(set_to_none=True)
    return np.concatenate(parts)


def explained_stage(network: TrainedNetwork, stage: int | None, image: Tensor) -> tuple[int, int]:
    """Return the number of the stage to explain, from 1, and the side of its map.

    Args:
        network: Network.
        stage: Wanted number of the stage; None for the last one.
        image: An image as the network takes it, (1, 3, S, S).

    Raises:
        OptionError: The network has no such stage, or Grad-CAM cannot use it; the message names those it can use.
    """
    number = len(network.stages) if stage is None else stage
    if number > len(network.stages):
        raise OptionError(f"{network.name} has {len(network.stages)} stages; --stage {number} names none of them")
    found = map_sides(network.model, network.stages, image)
    side = found[number - 1]
    if isinstance(side, int):
        return number, side
    usable = [str(at) for at, other in enumerate(found, 1) if isinstance(other, int)]
    remedy = f"--stage {' or '.join(usable)} can be used" if usable else "none of its stages can be used, leave it out"
    raise OptionError(
        f"{network.name}: Grad-CAM cannot use stage {number} ({network.stages[number - 1]}), {side}; {remedy}"
    )


def map_sides(model: nn.Module, layers: Sequence[str], image: Tensor) -> list[int | str]:
    """Return the side of each layer's map, or why Grad-CAM cannot use the layer."""
    outputs = outputs_of(model, [*layers, ""], image)  # the path "" is the model itself
    best = outputs[""].max() if "" in outputs else torch.zeros(())
    return [_side(outputs.get(layer), best) for layer in layers]


def _side(output: Tensor | None, best: Tensor) -> int | str:
    maps = as_map(output)
    if output is None or maps is None:
        return "whose output is no map"
    if maps.shape[2:].numel() == 1:
        return "whose map has a single position"
    if not maps.requires_grad or not best.requires_grad:
        return "which passes no gradient on"
    (gradient,) = torch.autograd.grad(best, output, retain_graph=True, allow_unused=True)
    return "which passes no gradient on" if gradient is None else int(maps.shape[-1])
