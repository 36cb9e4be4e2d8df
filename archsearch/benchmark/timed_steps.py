"""The steps that are timed: one forward pass, or one step of training, as a setting asks."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.benchmark.clocks import Step
from archsearch.benchmark.timing import Setting
from archsearch.errors import OptionError
from archsearch.recipes import BenchRecipe

#: Weights of these precisions are in another type.
_WHOLE = {"bf16": torch.bfloat16, "fp16": torch.float16}
_AUTOCAST = {"amp_bf16": torch.bfloat16, "amp_fp16": torch.float16}
#: Runs before a step is captured, as torch's documentation asks for.
CAPTURE_WARMUP = 3


def has_tf32(device: torch.device) -> bool:
    """Whether the device multiplies in TF32: NVIDIA's from Ampere on."""
    nvidia = device.type == "cuda" and torch.version.hip is None
    return nvidia and torch.cuda.get_device_capability(device) >= (8, 0)


def check_device(bench: BenchRecipe, device: torch.device) -> None:
    """Whether the device can do what a recipe asks for.

    Raises:
        OptionError: it cannot; the message says what it can.
    """
    if bench.precision == "tf32" and not has_tf32(device):
        raise OptionError(f"{device} has no TF32; use float32 (fp32)")
    if bench.mode == "cudagraph" and device.type != "cuda":
        raise OptionError(f"mode cudagraph needs a CUDA device, not {device}; use eager or compile")


def suited(bench: BenchRecipe, asked: bool, device: str) -> BenchRecipe:
    """The recipe, with float32 where TF32 was nobody's wish and the device has none.

    Args:
        bench: the recipe.
        asked: whether its precision is the user's wish.
        device: that will be timed.

    Raises:
        OptionError: the device cannot do what the recipe asks for.
    """
    if bench.precision == "tf32" and not asked and not has_tf32(torch.device(device)):
        bench = dataclasses.replace(bench, precision="fp32")
    check_device(bench, torch.device(device))
    return bench


def set_precision(precision: str) -> None:
    """Process-wide: whether float32 products may be computed in TF32; and kernels are chosen by trial, as in timm."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context that a precision asks for."""
    dtype = _AUTOCAST.get(precision)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def lay_out(model: nn.Module, setting: Setting, device: torch.device) -> nn.Module:
    """The model on the device, in the setting's type and memory layout."""
    return model.to(device, _WHOLE.get(setting.precision)).to(memory_format=_format(setting))


def images_for(setting: Setting, device: torch.device) -> Tensor:
    """Random (N, 3, S, S) images on the device, in the setting's type and layout."""
    shape = (setting.batch_size, 3, setting.img_size, setting.img_size)
    images = torch.randn(shape, device=device, dtype=_WHOLE.get(setting.precision, torch.float32))
    return images.contiguous(memory_format=_format(setting))


def make_step(model: nn.Module, setting: Setting, device: torch.device) -> Step:
    """A step of a laid-out model, compiled or captured as the setting's mode says.

    Two models of one setting share nothing. The step has not run yet, unless it had to be captured.
    """
    make = _train_step if setting.kind == "train" else _infer_step
    ran = _compiled(model) if setting.mode == "compile" else model
    step = make(model, ran, setting, device)
    return _captured(step) if setting.mode == "cudagraph" else step


def _compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Never falls back silently: by default, torch gives up after a few networks of one class."""
    limits = torch._dynamo.config
    limits.recompile_limit = limits.accumulated_recompile_limit = 2**20
    return torch.compile(model, dynamic=False)


def _infer_step(model: nn.Module, ran: Callable[[Tensor], Tensor], setting: Setting, device: torch.device) -> Step:
    model.eval()
    images, context = images_for(setting, device), autocast(setting.precision, device)

    def step() -> object:
        with torch.inference_mode(), context:
            return ran(images)

    return step


def _train_step(model: nn.Module, ran: Callable[[Tensor], Tensor], setting: Setting, device: torch.device) -> Step:
    """SGD with momentum; its cost is the same for all networks of a size, and small."""
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


def _captured(step: Step) -> Step:
    """The step as a CUDA graph: one launch for all of its kernels."""
    stream, pool = _for_captures()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(CAPTURE_WARMUP):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()  # what kernels were tried with does not count
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, stream=stream):
        step()

    def replay(owner: Step = step) -> None:
        """The graph knows addresses only: ``owner`` keeps the model and its images at them."""
        graph.replay()

    return replay


@cache
def _for_captures() -> tuple[torch.cuda.Stream, Any]:
    """One stream and one memory pool for all graphs: they are never replayed at once, and no output is kept."""
    return torch.cuda.Stream(), torch.cuda.graph_pool_handle()


def _format(setting: Setting) -> torch.memory_format:
    return torch.channels_last if setting.layout == "channels_last" else torch.contiguous_format
