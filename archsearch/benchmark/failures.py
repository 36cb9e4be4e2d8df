"""Errors of steps, in words, and what has to be done after them."""

import gc
from pathlib import Path

import torch

from archsearch.benchmark.clocks import synchronize
from archsearch.benchmark.jobs import OUT_OF_MEMORY
from archsearch.benchmark.timed_steps import CaptureFailed
from archsearch.benchmark.timing import Setting
from archsearch.errors import ArchsearchError, first_line, in_one_line
from archsearch.nn.device import is_out_of_memory

#: Share of the machine's memory to leave free when networks are held on a CPU.
SPARE = 0.2


class DeviceLost(ArchsearchError):
    """The device no longer responds after an error, so that its process has to end.

    Attributes:
        index: Index of the network that was being loaded or timed.
    """

    def __init__(self, reason: str, index: int) -> None:
        super().__init__(reason)
        self.index = index


class Uncaptured(ArchsearchError):
    """A step could not be captured as a CUDA graph, so that its process has to end.

    Attributes:
        index: Index of the network.
        setting: Setting of the step.
        crowded: Whether memory ran out while other networks were loaded beside it.
    """

    def __init__(self, reason: str, index: int, setting: Setting) -> None:
        super().__init__(reason)
        self.index, self.setting, self.crowded = index, setting, False

    @property
    def out_of_memory(self) -> bool:
        """Whether memory ran out."""
        return str(self).startswith(OUT_OF_MEMORY)


def recover(device: torch.device, error: str, index: int) -> None:
    """Free memory after an error, and make sure that the device still responds.

    Args:
        device: Device that the error happened on.
        error: The error, in one line.
        index: Index of the network that it happened to.

    Raises:
        DeviceLost: The device does not respond.
    """
    try:
        synchronize(device)
        free_memory(device)
    except Exception:
        raise DeviceLost(error, index) from None


def free_memory(device: torch.device) -> None:
    """Release memory that is no longer referenced."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def memory_nearly_full(device: torch.device) -> bool:
    """Whether a CPU's machine is nearly out of memory; on a GPU, allocations fail in time."""
    if device.type != "cpu":
        return False
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return False
    kibibytes = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
    return kibibytes["MemAvailable"] < SPARE * kibibytes["MemTotal"]


def failure(error: Exception, setting: Setting) -> str:
    """Return in one line why a step could not be timed."""
    if is_out_of_memory(error):
        return f"{OUT_OF_MEMORY} at batch {setting.batch_size}"
    if isinstance(error, CaptureFailed | ArchsearchError):
        return first_line(error)
    return in_one_line(error)
