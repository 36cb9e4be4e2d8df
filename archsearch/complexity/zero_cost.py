"""Zero-cost scores of untrained networks, as baselines for trained proxy networks."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from archsearch.nn.blocks import ACTS

#: Modules whose sign patterns NASWOT compares.
ACTIVATIONS = tuple(type(make()) for make in ACTS.values())


def synflow(model: nn.Module, img_size: int) -> float:
    """Return the logarithm of the sum of ``|weight * gradient|`` at an image of ones, with all weights positive.

    Norms are skipped, as the score's authors advise, since they divide the scale of the weights out.

    Source: Tanaka et al. 2020, as a score of architectures in Abdelfattah et al. 2021.

    Args:
        model: Freshly initialised network; it is restored afterwards.
        img_size: Side of the image, in pixels.
    """
    with _positive(model.double()), _without_norms(model):
        model.zero_grad()
        model(torch.ones(1, 3, img_size, img_size, dtype=torch.float64)).sum().backward()
        total = sum(float((p.detach() * p.grad).abs().sum()) for p in model.parameters() if p.grad is not None)
    model.zero_grad()
    model.float()
    return float(torch.tensor(total, dtype=torch.float64).log())


def naswot(model: nn.Module, images: Tensor) -> float:
    """Return the log-determinant of the kernel that counts the activations in whose sign two images agree.

    Source: Mellor et al. 2021 (NASWOT), with the sign of a GELU's or SiLU's input for the state of a ReLU.

    Args:
        model: Freshly initialised network; it runs in training mode, and its statistics are restored.
        images: Normalised images, (N, 3, S, S).
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
    """Replace all parameters by their absolute values inside the context."""
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
    """Skip the norms inside the context, in evaluation mode."""
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
