"""Explain what networks look at: Grad-CAM on the same images, and receptive fields of their stages."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from archsearch.arch.mixer_types import ReceptiveField
from archsearch.complexity.effective_field import CHUNK, effective_fields
from archsearch.complexity.receptive import stage_fields, traced_fields
from archsearch.errors import OptionError, unknown
from archsearch.handover.explain_images import chosen_images
from archsearch.handover.explain_networks import TrainedNetwork, trained_network
from archsearch.handover.explain_spec import ExplainedNetwork, ExplainSpec, Explanation, Sight, StageField
from archsearch.handover.grad_cam import check_installed, explained_stage, heat_maps
from archsearch.nn.device import pick_device


def explain(spec: ExplainSpec) -> Explanation:
    """Explain networks side by side on the same images, as Figure 4 of the paper.

    Each network takes the images in its own way. All networks and classes are looked up before anything is computed.

    Raises:
        OptionError: A reference is none, Grad-CAM cannot use a stage, or the library is not installed.
        DataError: A file is no image, or weights are missing or do not fit.
        StorageError: A study has no such trained network.
    """
    check_installed()
    device = pick_device(spec.device)
    files = chosen_images(spec.images, spec.limit)
    networks = _told_apart({name: trained_network(name, spec.storage, spec.weights) for name in spec.networks})
    targets = [_target(network, spec.target) for network in networks]
    pairs = zip(networks, targets, strict=True)
    return Explanation(files, tuple(_explained(*pair, files, spec.stage, device) for pair in pairs))


def _told_apart(networks: Mapping[str, TrainedNetwork]) -> list[TrainedNetwork]:
    """Return networks by reference with the whole reference as name where two have the same short one."""
    names = [network.name for network in networks.values()]
    return [
        replace(network, name=reference) if names.count(network.name) > 1 else network
        for reference, network in networks.items()
    ]


def _explained(
    network: TrainedNetwork, target: int | None, files: Sequence[Path], wanted: int | None, device: torch.device
) -> ExplainedNetwork:
    """Explain one network; ``target`` is the index of a class, None for the predicted one."""
    views, inputs = zip(*(network.prepare(file) for file in files), strict=True)
    theoretical = _theoretical(network)  # on the CPU
    images, model = torch.stack(inputs).to(device), network.model.to(device)
    stage, side = explained_stage(network, wanted, images[:1])
    layer = network.stages[stage - 1]
    probabilities = _probabilities(model, images)
    predicted = probabilities.argmax(1).tolist()
    targets = predicted if target is None else [target] * len(files)
    heats = heat_maps(model, layer, images, targets)
    sights = [
        Sight(
            views[i],
            heats[i],
            network.classes[predicted[i]],
            float(probabilities[i, predicted[i]]),
            network.classes[targets[i]],
            float(probabilities[i, targets[i]]),
        )
        for i in range(len(files))
    ]
    return ExplainedNetwork(
        network.name,
        network.weights,
        network.accuracy,
        network.preprocessing,
        network.img_size,
        stage,
        layer,
        side,
        tuple(sights),
        tuple(_fields(network, images, theoretical)),
    )


@torch.no_grad()
def _probabilities(model: torch.nn.Module, images: Tensor) -> Tensor:
    """Return the probability of each class, (N, classes) on the CPU."""
    return torch.cat([model(part).float().softmax(1).cpu() for part in images.split(CHUNK)])


def _fields(
    network: TrainedNetwork, images: Tensor, theoretical: Mapping[str, ReceptiveField | None]
) -> list[StageField]:
    """Return the receptive fields of the stages, the effective ones on these images."""
    measured = effective_fields(network.model, network.stages, images)
    return [
        StageField(
            number,
            layer,
            theoretical.get(layer),
            measured[layer].side if layer in measured else None,
            measured[layer].gradient if layer in measured else None,
        )
        for number, layer in enumerate(network.stages, 1)
    ]


def _theoretical(network: TrainedNetwork) -> Mapping[str, ReceptiveField | None]:
    """Return theoretical fields by layer: ours add up, timm's are read from gradients."""
    if network.arch is None or len(network.arch.depths) != len(network.stages):
        return traced_fields(network.model, network.stages, network.img_size)
    return dict(zip(network.stages, stage_fields(network.arch)[1:], strict=True))


def _target(network: TrainedNetwork, wanted: str | int | None) -> int | None:
    """Return the index of the class to explain.

    Raises:
        OptionError: The network has no such class, or several of that name.
    """
    if wanted is None:
        return None
    count = len(network.classes)
    if isinstance(wanted, int):
        if not 0 <= wanted < count:
            raise OptionError(f"{network.name} has classes 0 to {count - 1}, and no class {wanted}")
        return wanted
    found = [index for index, name in enumerate(network.classes) if name.lower() == wanted.lower()]
    if len(found) > 1:
        raise OptionError(
            f"{network.name} has classes {' and '.join(map(str, found))} named {wanted!r}; give the index"
        )
    if not found:
        raise OptionError(f"{network.name}: {unknown('class', wanted, network.classes)}")
    return found[0]
