"""AdamW, its learning-rate schedule, and the moving average of the weights."""

import copy
import itertools
import math
from typing import Any

import torch
from torch import nn

from archsearch.recipes import ProxyRecipe


def adamw(model: nn.Module, proxy: ProxyRecipe, capturable: bool = False) -> torch.optim.AdamW:
    """Return AdamW without weight decay on vectors (biases, norms, layer scale).

    Args:
        model: Model on the device that trains.
        proxy: Recipe with learning rate and weight decay.
        capturable: Whether a step can be captured in a CUDA graph.
    """
    decayed = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": proxy.weight_decay}, {"params": free, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=proxy.lr, fused=True, capturable=capturable)
    # The steps before a capture run without one, about which some versions of torch would warn in every process.
    optimizer._warned_capturable_if_run_uncaptured = True
    return optimizer


class Average:
    """Exponential moving average of a model's parameters and buffers; the first update copies them.

    ``torch.optim.swa_utils.AveragedModel`` computes the same numbers, but reads how often it was updated from a tensor,
    which makes the host wait and cannot be captured in a CUDA graph.

    Attributes:
        model: Model with the averaged values.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Copy the model.

        Args:
            model: Model that trains.
            decay: Share of the average that each later update keeps.
        """
        self.model, self.decay = copy.deepcopy(model).requires_grad_(False), decay
        self._begun = False
        values = [(own.detach(), new.detach()) for own, new in zip(_values(self.model), _values(model), strict=True)]
        self._averaged = [pair for pair in values if pair[0].is_floating_point()]
        self._copied = [pair for pair in values if not pair[0].is_floating_point()]  # counts of batches

    @torch.no_grad()
    def update(self) -> None:
        """Average in the model's present values."""
        copied, averaged = self._copied, self._averaged
        if not self._begun:
            copied, averaged, self._begun = [*copied, *averaged], [], True
        for own, new in copied:
            own.copy_(new)
        if averaged:
            torch._foreach_lerp_([own for own, _ in averaged], [new for _, new in averaged], 1 - self.decay)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged values, for ``torch.save``."""
        return {"begun": self._begun, "model": self.model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._begun = state["begun"]
        self.model.load_state_dict(state["model"])


def _values(model: nn.Module) -> "itertools.chain[torch.Tensor]":
    return itertools.chain(model.parameters(), model.buffers())


class Schedule:
    """Learning-rate factor per step: linear warm-up, then cosine to 0.

    >>> [round(Schedule(10, 0.2)(step), 2) for step in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """

    def __init__(self, steps: int, warmup: float) -> None:
        self.steps, self.warmup = steps, max(1, round(steps * warmup))

    def __call__(self, step: int) -> float:
        """Return the factor at a step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
