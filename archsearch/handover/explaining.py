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
from archsearch.handover.explain_networks import Subject, subject_of
from archsearch.handover.explain_spec import ExplainedNetwork, ExplainSpec, Explanation, Sight, StageField
from archsearch.handover.grad_cam import check_installed, explained_stage, heat_maps
from archsearch.nn.device import pick_device


def explain(spec: ExplainSpec) -> Explanation:
    """Explain networks side by side on the same images, as Figure 4 of the paper.

    Each network takes the images in its own way. Everything that is asked for is looked up before anything is computed.

    Raises:
        OptionError: A reference is none, Grad-CAM cannot use a stage, or the library is not installed.
        DataError: A file is no image, or weights are missing or do not fit.
        StorageError: A study has no such trained network.
    """
    check_installed()
    device = pick_device(spec.device)
    files = chosen_images(spec.images, spec.limit)
    subjects = _told_apart({name: subject_of(name, spec.storage, spec.weights) for name in spec.networks})
    targets = [_target(subject, spec.target) for subject in subjects]
    networks = [
        _explained(subject, files, target, spec.stage, device)
        for subject, target in zip(subjects, targets, strict=True)
    ]
    return Explanation(files, tuple(networks))


def _told_apart(subjects: Mapping[str, Subject]) -> list[Subject]:
    """Return networks by reference with the whole reference as name where two have the same short one."""
    names = [subject.name for subject in subjects.values()]
    return [
        replace(subject, name=reference) if names.count(subject.name) > 1 else subject
        for reference, subject in subjects.items()
    ]


def _explained(
    subject: Subject, files: Sequence[Path], target: int | None, wanted: int | None, device: torch.device
) -> ExplainedNetwork:
    """Explain one network; ``target`` is the index of a class, None for the predicted one."""
    views, inputs = zip(*(subject.prepare(file) for file in files), strict=True)
    theoretical = _theoretical(subject)  # on the CPU
    images, model = torch.stack(inputs).to(device), subject.model.to(device)
    stage, side = explained_stage(subject, wanted, images[:1])
    layer = subject.stages[stage - 1]
    probabilities = _probabilities(model, images)
    predicted = probabilities.argmax(1).tolist()
    targets = predicted if target is None else [target] * len(files)
    heats = heat_maps(model, layer, images, targets)
    sights = [
        Sight(
            views[i],
            heats[i],
            subject.classes[predicted[i]],
            float(probabilities[i, predicted[i]]),
            subject.classes[targets[i]],
            float(probabilities[i, targets[i]]),
        )
        for i in range(len(files))
    ]
    return ExplainedNetwork(
        subject.name,
        subject.weights,
        subject.accuracy,
        subject.preprocessing,
        subject.img_size,
        stage,
        layer,
        side,
        tuple(sights),
        tuple(_fields(subject, images, theoretical)),
    )


@torch.no_grad()
def _probabilities(model: torch.nn.Module, images: Tensor) -> Tensor:
    """Return the probability of each class, (N, classes) on the CPU."""
    return torch.cat([model(part).float().softmax(1).cpu() for part in images.split(CHUNK)])


def _fields(subject: Subject, images: Tensor, theoretical: Mapping[str, ReceptiveField | None]) -> list[StageField]:
    """Return the receptive fields of the stages, the effective ones on these images."""
    measured = effective_fields(subject.model, subject.stages, images)
    return [
        StageField(
            number,
            layer,
            theoretical.get(layer),
            measured[layer].side if layer in measured else None,
            measured[layer].gradient if layer in measured else None,
        )
        for number, layer in enumerate(subject.stages, 1)
    ]


def _theoretical(subject: Subject) -> Mapping[str, ReceptiveField | None]:
    """Return theoretical fields by layer: ours add up, timm's are read from gradients."""
    if subject.arch is None or len(subject.arch.depths) != len(subject.stages):
        return traced_fields(subject.model, subject.stages, subject.img_size)
    return dict(zip(subject.stages, stage_fields(subject.arch)[1:], strict=True))


def _target(subject: Subject, wanted: str | int | None) -> int | None:
    """Return the index of the class to explain.

    Raises:
        OptionError: The network has no such class, or several of that name.
    """
    if wanted is None:
        return None
    count = len(subject.classes)
    if isinstance(wanted, int):
        if not 0 <= wanted < count:
            raise OptionError(f"{subject.name} has classes 0 to {count - 1}, and no class {wanted}")
        return wanted
    found = [index for index, name in enumerate(subject.classes) if name.lower() == wanted.lower()]
    if len(found) > 1:
        raise OptionError(
            f"{subject.name} has classes {' and '.join(map(str, found))} named {wanted!r}; give the index"
        )
    if not found:
        raise OptionError(f"{subject.name}: {unknown('class', wanted, subject.classes)}")
    return found[0]
