"""The steps that are timed: one forward pass, or one training step."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.benchmark.clocks import Step
from archsearch.benchmark.onnx_steps import check_onnxruntime
from archsearch.benchmark.timing import Setting
from archsearch.errors import OptionError, in_one_line
from archsearch.recipes import ONNXRUNTIME, BenchRecipe

#: Type of weights and images, for precisions other than float32.
_WHOLE = {"bf16": torch.bfloat16, "fp16": torch.float16}
#: Type that autocast uses, by precision.
_AUTOCAST = {"amp_bf16": torch.bfloat16, "amp_fp16": torch.float16}
#: Kernels that cuDNN tries for each convolution, which takes most of a first step's time; and torch's default.
KERNELS, KERNELS_THOROUGH = 4, 10
#: Runs before a step is captured as a CUDA graph, as torch's documentation asks for.
CAPTURE_WARMUP = 3


def has_tf32(device: torch.device) -> bool:
    """Whether the device multiplies in TF32: NVIDIA GPUs from Ampere on."""
    nvidia = device.type == "cuda" and torch.version.hip is None
    return nvidia and torch.cuda.get_device_capability(device) >= (8, 0)


def check_device(bench: BenchRecipe, device: torch.device) -> None:
    """Make sure that the device supports a recipe's precision and mode.

    Raises:
        OptionError: It does not; the message says what it supports.
    """
    if bench.precision == "tf32" and not has_tf32(device):
        raise OptionError(f"{device} has no TF32; use float32 (fp32)")
    if bench.mode == "cudagraph" and device.type != "cuda":
        raise OptionError(f"mode cudagraph needs a CUDA device, not {device}; use eager or compile")
    if bench.mode == ONNXRUNTIME:
        check_onnxruntime(bench, device)


def recipe_on_device(bench: BenchRecipe, asked: bool, device: str) -> BenchRecipe:
    """Return the recipe, with float32 instead of TF32 where the device has no TF32 and the user did not ask for it.

    Args:
        bench: Timing recipe.
        asked: Whether the user chose its precision.
        device: Device to time on, as torch names it.

    Raises:
        OptionError: The device does not support the recipe's precision or mode.
    """
    if bench.precision == "tf32" and not asked and not has_tf32(torch.device(device)):
        bench = dataclasses.replace(bench, precision="fp32")
    check_device(bench, torch.device(device))
    return bench


def set_precision(precision: str) -> None:
    """Set for the process whether float32 products use TF32, and let cuDNN choose kernels by trial, as timm does."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True


def limit_kernel_trials(thorough: bool) -> None:
    """Set for the process how many kernels cuDNN tries for a convolution: its best guesses, or torch's default."""
    torch.backends.cudnn.benchmark_limit = KERNELS_THOROUGH if thorough else KERNELS


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast context of a precision; one that does nothing for precisions without."""
    dtype = _AUTOCAST.get(precision)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def lay_out(model: nn.Module, setting: Setting, device: torch.device) -> nn.Module:
    """Move a model to the device, in the setting's type and memory layout."""
    return model.to(device, _WHOLE.get(setting.precision)).to(memory_format=_format(setting))


def images_for(setting: Setting, device: torch.device) -> Tensor:
    """Return random images on the device, (N, 3, S, S), in the setting's type and layout."""
    shape = (setting.batch_size, 3, setting.img_size, setting.img_size)
    images = torch.randn(shape, device=device, dtype=_WHOLE.get(setting.precision, torch.float32))
    return images.contiguous(memory_format=_format(setting))


def make_step(model: nn.Module, setting: Setting, device: torch.device) -> Step:
    """Return a step of a model from ``lay_out``, compiled or captured as the setting's mode says.

    Two models of one setting share nothing. The step has not run yet, unless it was captured.

    Raises:
        CaptureFailed: The step cannot be captured, and the process is of no more use.
    """
    make = _train_step if setting.kind == "train" else _infer_step
    ran = _compiled(model) if setting.mode == "compile" else model
    step = make(model, ran, setting, device)
    return _captured(step, device) if setting.mode == "cudagraph" else step


def _compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Compile a model; with torch's default limits, it would silently run eagerly after a few networks of one class."""
    limits = torch._dynamo.config
    limits.recompile_limit = limits.accumulated_recompile_limit = 2**20
    return torch.compile(model, dynamic=False)


def _infer_step(model: nn.Module, ran: Callable[[Tensor], Tensor], setting: Setting, device: torch.device) -> Step:
    """One forward pass of ``ran``, which is the model or its compiled form."""
    model.eval()
    images, context = images_for(setting, device), autocast(setting.precision, device)

    def step() -> object:
        with torch.inference_mode(), context:
            return ran(images)

    return step


def _train_step(model: nn.Module, ran: Callable[[Tensor], Tensor], setting: Setting, device: torch.device) -> Step:
    """Forward, loss, backward and SGD with momentum, whose cost is small and alike for networks of one size."""
    images, context = images_for(setting, device), autocast(setting.precision, device)
    with torch.inference_mode(), context:
        classes = model.eval()(images[:1]).shape[-1]
    labels = torch.randint(classes, (setting.batch_size,), device=device)
    model.train().requires_grad_(True)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def step() -> object:
        optimizer.zero_grad(set_to_none=True)
        with context:
            loss = F.cross_entropy(ran(images), labels)
        loss.backward()
        return optimizer.step()

    return step


class CaptureFailed(Exception):
    """A step could not be captured as a CUDA graph, in one line why.

    torch (2.9 to 2.12 at least) is then of no more use in this process: random numbers outside of captures and further
    captures in the same pool raise, and the allocator no longer frees cached memory when it runs out.
    """


def _captured(step: Step, device: torch.device) -> Step:
    """Capture a step as a CUDA graph: one launch for all of its kernels.

    Raises:
        CaptureFailed: It cannot be captured; errors of the runs before are raised as they are.
    """
    stream, pool = _for_captures(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(CAPTURE_WARMUP):
            step()
    torch.cuda.current_stream(device).wait_stream(stream)
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)  # memory used in choosing kernels does not count
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, pool=pool, stream=stream):
            output = step()
    except Exception as error:
        first = error.__context__ or error  # what the step raised, before the capture could not be ended
        raise CaptureFailed(f"no CUDA graph of it: {in_one_line(first)}") from error

    def replay(owner: Step = step) -> object:
        """Replay the graph, which knows addresses only: ``owner`` keeps the model and its images at them.

        Returns:
            What the step returned when it was captured, filled anew by each replay.
        """
        graph.replay()
        return output

    return replay


@cache
def _for_captures(device: torch.device) -> tuple[torch.cuda.Stream, Any]:
    """Return the stream and memory pool of all graphs on a device: they never replay at once."""
    return torch.cuda.Stream(device), torch.cuda.graph_pool_handle()


def _format(setting: Setting) -> torch.memory_format:
    return torch.channels_last if setting.layout == "channels_last" else torch.contiguous_format
