"""Scores that a device reports beside the time of a step, and which devices report them."""

from collections.abc import Callable, Iterable, Mapping

import torch

from archsearch.benchmark.nvml import Nvml
from archsearch.errors import OptionError
from archsearch.nn.device import identity
from archsearch.objectives import FromDevice, Objective


def has_allocator(device: torch.device) -> bool:
    """Whether torch allocates the device's memory itself and keeps account of it."""
    return device.type == "cuda"


def counts_energy(device: torch.device) -> bool:
    """Whether the driver counts the device's energy: NVIDIA's from Volta on, with nvidia-ml-py installed."""
    return device.type == "cuda" and Nvml(identity(device)).energy_mj() is not None


#: Whether a device reports a field of ``Timing``, by the field's name.
REPORTS: Mapping[str, Callable[[torch.device], bool]] = {"peak_memory_mb": has_allocator, "energy_mj": counts_energy}


def reported(objectives: Iterable[Objective]) -> tuple[FromDevice, ...]:
    """Return what a device has to report for some objectives."""
    return tuple(o.measured for o in objectives if isinstance(o.measured, FromDevice))


def check_reported(objectives: Iterable[Objective], device: str) -> None:
    """Check that a device reports all that some objectives are read from.

    Raises:
        OptionError: It does not.
    """
    for objective in objectives:
        how = objective.measured
        if isinstance(how, FromDevice) and not REPORTS[how.field](torch.device(device)):
            raise OptionError(f"{objective.name} is read from {how.source}; leave it out on {device}")
