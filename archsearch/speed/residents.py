"""Networks that have been brought onto a device, with a step for everything that is timed of them."""

import copy
import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from archsearch.errors import UserError
from archsearch.measure.complexity import count, count_activations
from archsearch.nn import build_network
from archsearch.speed.clocks import block_timer, synchronize
from archsearch.speed.plan import OUT_OF_MEMORY, Job, Measured, Network
from archsearch.speed.protocol import WarmUp
from archsearch.speed.steps import lay_out, make_step
from archsearch.speed.timing import Setting

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


def bring(network: Network, job: Job, device: torch.device) -> Resident:
    """Builds and counts a network, and makes all of its steps ready to be timed."""
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
            resident.contenders[setting] = _contender(model, setting, device)
        except Exception as error:
            resident.errors[setting] = reason(error, setting)
        tidy(device)
    return resident


def _contender(model: nn.Module, setting: Setting, device: torch.device) -> Contender:
    """The first runs compile, choose kernels and claim memory."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) if cuda else 0
    step = make_step(lay_out(copy.deepcopy(model), setting, device), setting, device)
    for _ in range(2):
        step()
    synchronize(device)
    peak = (torch.cuda.max_memory_allocated(device) - before) / 2**20 if cuda else None
    return Contender(setting, block_timer(step, device), peak)


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


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory has run out, on a GPU or on the host."""
    words = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in words or "alloc_failed" in words)
    )


def reason(error: Exception, setting: Setting) -> str:
    """Why a step could not be timed."""
    if is_out_of_memory(error):
        return f"{OUT_OF_MEMORY} at batch {setting.batch_size}"
    return f"{type(error).__name__}: {first_line(error)}"


def first_line(error: Exception) -> str:
    """The message, as far as the first line goes."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
