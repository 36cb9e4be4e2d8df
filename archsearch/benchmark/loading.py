"""Networks on the device, with every step of theirs ready to be timed."""

import copy
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from archsearch.benchmark.clocks import SingleSteps, block_timer, synchronize
from archsearch.benchmark.failures import Uncaptured, failure, recover
from archsearch.benchmark.jobs import OUT_OF_MEMORY, Job, Measured, Network
from archsearch.benchmark.onnx_steps import OnnxFiles, OnnxStep
from archsearch.benchmark.protocol import WarmUp
from archsearch.benchmark.timed_steps import CaptureFailed, lay_out, make_step
from archsearch.benchmark.timing import Setting
from archsearch.complexity.counts import count, count_activations
from archsearch.errors import OptionError, UserError, first_line
from archsearch.nn import build_network, deploy_form
from archsearch.recipes import NO_TRAINING, ONNXRUNTIME


@dataclass
class PreparedStep:
    """One step of one network on the device, ready to be timed.

    Attributes:
        setting: Kind of step and conditions.
        block: Function that runs a number of steps and returns their seconds; for ``latency``, each step is waited for.
        peak_memory_mb: Peak memory of a step in MiB; None if unknown.
        warm: Outcome of the warm-up; None before it.
        singles_s: Seconds of each step of the rounds, for ``latency``.
        runtime: Facts about onnxruntime, where it runs the step.
    """

    setting: Setting
    block: Callable[[int], float]
    peak_memory_mb: float | None
    warm: WarmUp | None = None
    singles_s: list[float] = field(default_factory=list)
    runtime: dict[str, Any] | None = None

    def seconds_per_step(self) -> float:
        """Run a block of as many steps as the warm-up found long enough; return seconds per step."""
        assert self.warm is not None, "not warmed up"  # noqa: S101 - a defect, not a user's input
        seconds = self.block(self.warm.steps) / self.warm.steps
        if isinstance(self.block, SingleSteps):
            self.singles_s += self.block.last
        return seconds


@dataclass(frozen=True)
class LaidOut:
    """A model on the device, in the type and memory layout of a setting.

    Attributes:
        model: The model.
        allocated: Bytes that a GPU's allocator gave it.
    """

    model: nn.Module
    allocated: int

    @classmethod
    def of(cls, model: nn.Module, setting: Setting, device: torch.device) -> "LaidOut":
        """Lay out a copy of a model, in the setting's form."""
        before = _allocated(device)
        laid_out = lay_out(in_form(model, setting.form), setting, device)
        return cls(laid_out, _allocated(device) - before)


def in_form(model: nn.Module, form: str) -> nn.Module:
    """Return a copy of a model in a form of ``archsearch.recipes.FORMS``."""
    return deploy_form(model) if form == "deploy" else copy.deepcopy(model)


@dataclass
class LoadedNetwork:
    """One network on the device.

    Attributes:
        steps: Steps that can be timed, by setting.
        errors: Why a step cannot be timed, in one line, by setting.
        measured: Results so far.
        model: The network on the CPU, until its steps are prepared and where its parts are to be timed; else None.
        laid_out: Copies of it that are on the device already, by setting.
        files: ONNX files of it, as far as they are written already.
    """

    steps: dict[Setting, PreparedStep] = field(default_factory=dict)
    errors: dict[Setting, str] = field(default_factory=dict)
    measured: Measured = Measured()  # noqa: RUF009 - frozen
    model: nn.Module | None = None
    laid_out: dict[Setting, LaidOut] = field(default_factory=dict)
    files: OnnxFiles | None = None

    @property
    def did_not_fit(self) -> bool:
        """Whether memory ran out for one of its steps."""
        return any(error.startswith(OUT_OF_MEMORY) for error in self.errors.values())


def built_network(network: Network, job: Job) -> LoadedNetwork:
    """Build a network on the CPU and, in thorough jobs, count its costs; nothing here needs the device.

    Args:
        network: Network to build.
        job: Job it belongs to.
    """
    try:
        model, img_size = build_network(network)
        shown = deploy_form(model) if job.thorough and job.form == "deploy" else model
    except UserError as error:
        return LoadedNetwork(measured=Measured(error=str(error), users_fault=True))
    if not job.thorough:  # a study has counted its candidates
        return LoadedNetwork(measured=Measured(img_size=img_size), model=model)
    try:
        counted, activations = count(shown, img_size), count_activations(shown, img_size)
    except Exception as error:  # networks refuse images they were not made for in many ways
        refused = f"{network} takes no such images: {first_line(error)}; try another --img-size"
        return LoadedNetwork(measured=Measured(error=refused, users_fault=True))
    measured = Measured(counted.params, counted.macs, activations, img_size, form=job.form)
    return LoadedNetwork(measured=measured, model=model)


def write_ahead(built: LoadedNetwork, index: int, job: Job) -> None:
    """Write the ONNX files that a network's steps need, which takes seconds and not the device.

    Args:
        built: Network of ``built_network``; ``files`` is filled.
        index: Its index in the job.
        job: Job it belongs to.
    """
    if built.model is None or built.measured.img_size is None:
        return
    built.files = OnnxFiles(built.model)
    for setting in job.settings(built.measured.img_size, index):
        if setting.mode == ONNXRUNTIME and setting.kind != "train":
            with suppress(Exception):  # ``load_network`` tries again, and reports it
                built.files.of(setting)


def lay_out_ahead(built: LoadedNetwork, index: int, job: Job, device: torch.device) -> None:
    """Move a copy of a network to the device for each of its steps, as far as there is room.

    Args:
        built: Network of ``built_network``; ``laid_out`` is filled.
        index: Its index in the job.
        job: Job it belongs to.
        device: Device to move it to.

    Raises:
        DeviceLost: The device no longer responds after an error.
    """
    if built.model is None or built.measured.img_size is None:
        return
    reason, known = None, job.failures(index)
    for setting in job.settings(built.measured.img_size, index):
        if setting in known or setting.mode == ONNXRUNTIME:
            continue
        try:
            built.laid_out[setting] = LaidOut.of(built.model, setting, device)
            synchronize(device)
        except Exception as error:  # ``load_network`` tries again, and reports it
            reason = failure(error, setting)
            break
    if reason is not None:
        built.laid_out.clear()
        recover(device, reason, index)


def load_network(
    built: LoadedNetwork, index: int, job: Job, device: torch.device, while_busy: Callable[[], None]
) -> LoadedNetwork:
    """Prepare all steps of a network for timing, but for those that the job says have failed in another process.

    Args:
        built: Network of ``built_network``; its model is kept only for a roofline.
        index: Its index in the job.
        job: Job it belongs to.
        device: Device to load it on.
        while_busy: Function to call while a GPU works off a block of steps.

    Raises:
        DeviceLost: The device no longer responds after an error.
        Uncaptured: A step cannot be captured as a CUDA graph.
    """
    model, built.model = built.model, None
    if model is None or built.measured.img_size is None:
        return built
    loaded = LoadedNetwork(measured=built.measured, model=model if job.roofline else None)
    known = job.failures(index)
    with built.files or OnnxFiles(model) as files:
        for setting in job.settings(built.measured.img_size, index):
            if setting in known:
                loaded.errors[setting] = known[setting]
                continue
            try:
                loaded.steps[setting] = (
                    _prepare_onnx(files, setting, device)
                    if setting.mode == ONNXRUNTIME
                    else _prepare(model, built.laid_out.pop(setting, None), setting, device, while_busy)
                )
            except CaptureFailed as error:
                raise Uncaptured(failure(error, setting), index, setting) from error
            except Exception as error:
                loaded.errors[setting] = failure(error, setting)
            if setting in loaded.errors:  # outside the handler, in which the error still holds references
                recover(device, loaded.errors[setting], index)
    return loaded


def _prepare(
    model: nn.Module, ahead: LaidOut | None, setting: Setting, device: torch.device, while_busy: Callable[[], None]
) -> PreparedStep:
    """Run a step a few times, which compiles, chooses kernels and claims memory; then read the memory of one more."""
    ready = ahead or LaidOut.of(model, setting, device)
    cuda, captured = device.type == "cuda", setting.mode == "cudagraph"
    before = _allocated(device) - ready.allocated
    step = make_step(ready.model, setting, device)
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
    peak_mb = None if peak is None else (peak - before) / 2**20
    alone = setting.kind == "latency"
    block = SingleSteps(step, device, while_busy) if alone else block_timer(step, device, while_busy)
    return PreparedStep(setting, block, peak_mb)


def _prepare_onnx(files: OnnxFiles, setting: Setting, device: torch.device) -> PreparedStep:
    """Write the network as ONNX, load it and run it a few times; its memory is not torch's, and unknown."""
    if setting.kind == "train":
        raise OptionError(NO_TRAINING)
    step = OnnxStep(files.of(setting), setting, device)
    for _ in range(2):
        step()
    clock = torch.device("cpu")  # as a step ends when its logits are there
    block = SingleSteps(step, clock) if setting.kind == "latency" else block_timer(step, clock)
    return PreparedStep(setting, block, None, runtime=step.runtime)


def _allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
