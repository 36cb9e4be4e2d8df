"""Energy per image, from a GPU's energy counter."""

import time

from archsearch.benchmark.clocks import runs_ahead
from archsearch.benchmark.loading import PreparedStep
from archsearch.benchmark.nvml import Nvml

#: Seconds over which the energy counter is read: it moves in steps of some 0.1 s.
ENERGY_S = 3.0


def energy_per_image(step: PreparedStep, nvml: Nvml | None) -> float | None:
    """Run a step for some seconds, from one tick of the energy counter to another.

    Args:
        step: Step that has been warmed up.
        nvml: NVML's view of the GPU; None on other devices.

    Returns:
        Millijoules per image, of the whole device; None where it has no counter, or the step fails.
    """
    if nvml is None or nvml.energy_mj() is None:
        return None
    try:
        before, _ = _run_until_tick(step, nvml, 0.0)
        after, steps = _run_until_tick(step, nvml, ENERGY_S)
    except Exception:  # the throughput is known already; losing the energy must not cost it
        return None
    if before is None or after is None:
        return None
    return (after - before) / (steps * step.setting.batch_size)


def _run_until_tick(step: PreparedStep, nvml: Nvml, seconds: float) -> tuple[int | None, int]:
    """Run blocks for some seconds, and on until the energy counter moves.

    Returns:
        The counter's new value in mJ, or None where it does not move; and the number of steps.
    """
    assert step.warm is not None, "not warmed up"  # noqa: S101 - a defect, not a user's input
    start, steps, last = time.monotonic(), 0, nvml.energy_mj()
    while True:
        long_enough = time.monotonic() - start >= seconds
        step.block(step.warm.steps)
        steps += step.warm.steps + runs_ahead(step.warm.steps)
        now = nvml.energy_mj()
        if now is None or time.monotonic() - start > seconds + ENERGY_S:
            return None, steps
        if long_enough and now != last:
            return now, steps
        last = now
