"""Networks that have been brought onto a device, with a step for everything that is timed of them."""

import copy
import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from archsearch.benchmark.clocks import block_timer, synchronize
from archsearch.benchmark.jobs import OUT_OF_MEMORY, Job, Measured, Network
from archsearch.benchmark.protocol import WarmUp
from archsearch.benchmark.timed_steps import lay_out, make_step
from archsearch.benchmark.timing import Setting
from archsearch.complexity.counts import count, count_activations
from archsearch.errors import ArchsearchError, UserError
from archsearch.nn import build_network
from archsearch.nn.device import first_line, is_out_of_memory

#: Share of a machine's memory that is left alone when networks are held on a CPU.
SPARE = 0.2


@dataclass
class Contender:
    """One step of one network, on the device."""

    setting: Setting
    block: Callable[[int], float]
    peak_memory_mb: float | None
    warm: WarmUp | None = None

    def seconds_per_step(self) -> float:
        """Runs a block."""
        assert self.warm is not None, "not warmed up"  # noqa: S101 - a defect, not a user's input
        return self.block(self.warm.steps) / self.warm.steps


@dataclass
class Resident:
    """One network on the device.

    Attributes:
        contenders: what can be timed of it.
        errors: why something cannot, in one line.
        measured: what is known so far.
        model: on the CPU, where its parts are going to be timed.
    """

    contenders: dict[Setting, Contender] = field(default_factory=dict)
    errors: dict[Setting, str] = field(default_factory=dict)
    measured: Measured = Measured()  # noqa: RUF009 - frozen
    model: nn.Module | None = None

    @property
    def did_not_fit(self) -> bool:
        """Whether memory ran out for some step of it."""
        return any(error.startswith(OUT_OF_MEMORY) for error in self.errors.values())


class DeviceLost(ArchsearchError):
    """The device answers no more after an error: its process has to end; ``index`` is the network that it was at."""

    def __init__(self, reason: str, index: int) -> None:
        super().__init__(reason)
        self.index = index


def bring(network: Network, index: int, job: Job, device: torch.device, while_busy: Callable[[], None]) -> Resident:
    """Builds and counts a network, and makes all of its steps ready to be timed.

    Raises:
        DeviceLost: an error that the device does not recover from.
    """
    try:
        model, img_size = build_network(network)
    except UserError as error:
        return Resident(measured=Measured(error=str(error), users_fault=True))
    try:
        counted = count(model, img_size)
        activations = count_activations(model, img_size) if job.thorough else None
    except Exception as error:  # what a network says of images that it was not made for is its own affair
        refused = f"{network} takes no such images: {first_line(error)}; try another --img-size"
        return Resident(measured=Measured(error=refused, users_fault=True))
    measured = Measured(counted.params, counted.macs, activations, img_size)
    resident = Resident(measured=measured, model=model if job.roofline else None)
    for setting in job.settings(img_size):
        try:
            resident.contenders[setting] = _contender(model, setting, device, while_busy)
        except Exception as error:
            resident.errors[setting] = reason(error, setting)
        if setting in resident.errors:  # out of the handler, where the error still holds what it was about
            survive(device, resident.errors[setting], index)
    return resident


def _contender(model: nn.Module, setting: Setting, device: torch.device, while_busy: Callable[[], None]) -> Contender:
    """The first runs compile, choose kernels and claim memory; the memory is read from one after them."""
    cuda, captured = device.type == "cuda", setting.mode == "cudagraph"
    before = torch.cuda.memory_allocated(device) if cuda else 0
    step = make_step(lay_out(copy.deepcopy(model), setting, device), setting, device)
    if not captured:
        for _ in range(2):
            step()
        synchronize(device)
        if cuda:
            torch.cuda.reset_peak_memory_stats(device)
    peak = torch.cuda.max_memory_allocated(device) if cuda and captured else None
    step()
    synchronize(device)
    if cuda and not captured:
        peak = torch.cuda.max_memory_allocated(device)
    return Contender(setting, block_timer(step, device, while_busy), None if peak is None else (peak - before) / 2**20)


def survive(device: torch.device, error: str, index: int) -> None:
    """Gives memory back after an error, and makes sure that the device still answers.

    Raises:
        DeviceLost: it does not.
    """
    try:
        if device.type == "cuda":
            torch.cuda.set_stream(torch.cuda.default_stream(device))  # a failed capture may leave its own behind
            torch.cuda.synchronize(device)
        tidy(device)
    except Exception:
        raise DeviceLost(error, index) from None


def tidy(device: torch.device) -> None:
    """Gives back memory that nobody holds any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def nearly_full(device: torch.device) -> bool:
    """Whether the memory of a CPU's machine is nearly used up; a GPU says so by itself."""
    if device.type != "cpu":
        return False
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return False
    kibibytes = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
    return kibibytes["MemAvailable"] < SPARE * kibibytes["MemTotal"]


def reason(error: Exception, setting: Setting) -> str:
    """Why a step could not be timed."""
    if is_out_of_memory(error):
        return f"{OUT_OF_MEMORY} at batch {setting.batch_size}"
    return f"{type(error).__name__}: {first_line(error)}"
