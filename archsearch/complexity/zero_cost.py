"""Scores of a network that has not been trained: what a trained proxy has to beat."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from archsearch.nn.blocks import ACTS

#: Modules whose sign patterns NASWOT compares.
ACTIVATIONS = tuple(type(make()) for make in ACTS.values())


def synflow(model: nn.Module, img_size: int) -> float:
    """Logarithm of the sum over parameters of ``|weight * gradient|`` at an image of ones, all weights made positive.

    Norms are left out of it, as the score's authors advise: what they divide by hides the weights.

    Source: Tanaka et al. 2020, as a score of architectures in Abdelfattah et al. 2021.

    Args:
        model: freshly initialised; put back as it was.
        img_size: side of the image, in pixels.
    """
    with _positive(model.double()), _without_norms(model):
        model.zero_grad()
        model(torch.ones(1, 3, img_size, img_size, dtype=torch.float64)).sum().backward()
        total = sum(float((p.detach() * p.grad).abs().sum()) for p in model.parameters() if p.grad is not None)
    model.zero_grad()
    model.float()
    return float(torch.tensor(total, dtype=torch.float64).log())


def naswot(model: nn.Module, images: Tensor) -> float:
    """Log-determinant of how much images agree in which activations are positive.

    Source: Mellor et al. 2021 (NASWOT), with the sign of a GELU's or SiLU's input for the state of a ReLU.

    Args:
        model: freshly initialised; seen in training mode, its statistics put back.
        images: (N, 3, S, S), normalised.
    """
    count = len(images)
    kernel = torch.zeros(count, count, dtype=torch.float64)

    def compare(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        on = (inputs[0] > 0).flatten(1).float()
        kernel.add_(on @ on.T + (1 - on) @ (1 - on).T)

    hooks = [m.register_forward_pre_hook(compare) for m in model.modules() if isinstance(m, ACTIVATIONS)]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        with torch.no_grad():
            model.train()(images)
    finally:
        for hook in hooks:
            hook.remove()
        model.load_state_dict(before)
    return float(torch.linalg.slogdet(kernel).logabsdet)


@contextmanager
def _positive(model: nn.Module) -> Iterator[None]:
    """All parameters as their absolute values."""
    before = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        for p in model.parameters():
            p.abs_()
    try:
        yield
    finally:
        with torch.no_grad():
            for p, value in zip(model.parameters(), before, strict=True):
                p.copy_(value)


def _pass_on(input: Tensor) -> Tensor:
    return input


@contextmanager
def _without_norms(model: nn.Module) -> Iterator[None]:
    """Norms that pass their input on, in evaluation mode."""
    was_training = model.training
    model.eval()
    norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm | nn.BatchNorm2d)]
    for norm in norms:
        norm.forward = _pass_on  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward
        model.train(was_training)
