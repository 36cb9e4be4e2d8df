"""Costs that are measured: images per second and latency, on the device at hand.

Steps are timed in blocks, on a GPU with device events and no synchronisation inside a block;
the median block counts, and its spread goes on record.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from archsearch.recipes import Bench


@dataclass(frozen=True)
class Timing:
    """Timed blocks of one step.

    Attributes:
        step_s: seconds per step, the median over blocks.
        quartiles_s: first and third quartile of the same.
        blocks_s: seconds per step in every block, in order.
        steps_per_block: steps in each block.
        batch_size: images per step.
        img_size: in pixels.
    """

    step_s: float
    quartiles_s: tuple[float, float]
    blocks_s: tuple[float, ...]
    steps_per_block: int
    batch_size: int
    img_size: int

    @property
    def throughput(self) -> float:
        """Images per second."""
        return self.batch_size / self.step_s


def infer_step(model: nn.Module, bench: Bench, img_size: int, device: torch.device) -> Callable[[], object]:
    """One forward pass in evaluation mode, on a batch that is already on the device."""
    model.eval()
    model, images = _laid_out(model, bench, img_size, device)

    def step() -> object:
        with torch.inference_mode():
            return model(images)

    return step


def train_step(model: nn.Module, bench: Bench, img_size: int, device: torch.device) -> Callable[[], object]:
    """Forward, loss, backward and optimiser (SGD with momentum), targets made beforehand."""
    model.train()
    model, images = _laid_out(model, bench, img_size, device)
    labels = torch.zeros(bench.batch_size, dtype=torch.int64, device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def step() -> object:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        return optimizer.step()

    return step


def measure(step: Callable[[], object], bench: Bench, img_size: int, device: torch.device) -> Timing:
    """Times a step by the recipe.

    The number of steps per block is fixed by the last warm-up block, so that a block takes
    at least ``bench.min_block_s``.
    """
    clock = {"cuda": _cuda_block, "mps": _mps_block}.get(device.type, _cpu_block)
    steps, seconds = 1, 0.0
    for _ in range(max(1, bench.warmup_blocks)):
        seconds = clock(step, steps)
        steps = max(1, round(bench.min_block_s / max(seconds / steps, 1e-9) + 0.5))
    blocks = [clock(step, steps) / steps for _ in range(bench.blocks)]
    ordered = sorted(blocks)
    quartiles = (ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4])
    return Timing(statistics.median(blocks), quartiles, tuple(blocks), steps, bench.batch_size, img_size)


def _laid_out(model: nn.Module, bench: Bench, img_size: int, device: torch.device) -> tuple[nn.Module, torch.Tensor]:
    layout = torch.channels_last if bench.channels_last else torch.contiguous_format
    images = torch.randn(bench.batch_size, 3, img_size, img_size, device=device)
    return model.to(device).to(memory_format=layout), images.contiguous(memory_format=layout)


def _wall_block(step: Callable[[], object], steps: int, finish: Callable[[], None]) -> float:
    """Seconds by the wall clock; ``finish`` waits for what the device still has to do."""
    finish()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    finish()
    return time.perf_counter() - start


def _cpu_block(step: Callable[[], object], steps: int) -> float:
    return _wall_block(step, steps, lambda: None)


def _mps_block(step: Callable[[], object], steps: int) -> float:
    return _wall_block(step, steps, torch.mps.synchronize)


def _cuda_block(step: Callable[[], object], steps: int) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(steps):
        step()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3
