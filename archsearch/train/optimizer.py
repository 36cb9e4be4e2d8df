"""AdamW, its learning-rate schedule, and the moving average of the weights."""

import math

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

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
    return torch.optim.AdamW(groups, lr=proxy.lr, fused=True, capturable=capturable)


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of a model's parameters and buffers."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


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
