"""Clocks for blocks of steps: device events on a GPU, the wall clock elsewhere."""

import time
from collections.abc import Callable

import torch

Step = Callable[[], object]


def block_timer(
    step: Step, device: torch.device, while_busy: Callable[[], None] = lambda: None
) -> Callable[[int], float]:
    """Return a function that runs a number of steps and returns the seconds they took.

    One more step runs ahead of them untimed, so that the caches are not another network's; not where a single step
    makes a block.

    Args:
        step: Step to time.
        device: Device that the step runs on.
        while_busy: Function to call on a GPU while it works off a block and there is nothing left to launch.
    """

    def block(steps: int) -> float:
        if runs_ahead(steps):
            step()
        if device.type == "cuda":
            return _cuda_block(step, steps, while_busy)
        return _wall_block(step, steps, lambda: synchronize(device))

    return block


class SingleSteps:
    """Runs a number of steps, each after the one before has ended, and returns the seconds they took together.

    On a GPU a step in a row of steps is launched while the one before it runs, so that what they take together is the
    inverse of a throughput; whoever waits for one result waits for a whole step.

    Attributes:
        last: Seconds of each step of the last block.
    """

    def __init__(self, step: Step, device: torch.device, after: Callable[[], None] = lambda: None) -> None:
        """Run nothing yet.

        Args:
            step: Step to time.
            device: Device that the step runs on.
            after: Function to call right after a block on a GPU, whose clocks are still those of the block.
        """
        self.step, self.device, self.after = step, device, after
        self.last: list[float] = []

    def __call__(self, steps: int) -> float:
        """Run a block of steps, with one ahead of them as in ``block_timer``."""
        if runs_ahead(steps):
            self.step()
        self.last = [_wall_block(self.step, 1, lambda: synchronize(self.device)) for _ in range(steps)]
        if self.device.type == "cuda":
            self.after()
        return sum(self.last)


def runs_ahead(steps: int) -> bool:
    """Return whether a step runs ahead of a block untimed: not where a single one makes a block, which is as long."""
    return steps > 1


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all work that was submitted to it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def answers(device: torch.device) -> bool:
    """Whether a device still responds: after some errors a GPU serves the process that made them no more."""
    try:
        synchronize(device)
    except Exception:
        return False
    return True


def _wall_block(step: Step, steps: int, finish: Callable[[], None]) -> float:
    """Return seconds by the wall clock; ``finish`` waits for the device."""
    finish()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    finish()
    return time.perf_counter() - start


def _cuda_block(step: Step, steps: int, while_busy: Callable[[], None]) -> float:
    """Return seconds between two events on the stream; the host waits only after the last step."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(steps):
        step()
    end.record()
    while_busy()
    end.synchronize()
    return start.elapsed_time(end) / 1e3
