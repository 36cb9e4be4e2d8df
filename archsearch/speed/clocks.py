"""Blocks of steps timed on a device: events on a GPU, the wall clock elsewhere."""

import time
from collections.abc import Callable

import torch

Step = Callable[[], object]


def block_timer(step: Step, device: torch.device) -> Callable[[int], float]:
    """A function that runs a number of steps and returns the seconds that they took.

    Where a block has several steps, one more runs ahead of them untimed, so that what another
    network left in the caches does not count.
    """
    clock = {"cuda": _cuda_block, "mps": _mps_block}.get(device.type, _cpu_block)

    def block(steps: int) -> float:
        if steps > 1:
            step()
        return clock(step, steps)

    return block


def synchronize(device: torch.device) -> None:
    """Waits for everything that was given to the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _wall_block(step: Step, steps: int, finish: Callable[[], None]) -> float:
    """Seconds by the wall clock; ``finish`` waits for what the device still has to do."""
    finish()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    finish()
    return time.perf_counter() - start


def _cpu_block(step: Step, steps: int) -> float:
    return _wall_block(step, steps, lambda: None)


def _mps_block(step: Step, steps: int) -> float:
    return _wall_block(step, steps, torch.mps.synchronize)


def _cuda_block(step: Step, steps: int) -> float:
    """Between two events on the stream; the host waits only after the last step."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(steps):
        step()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3
