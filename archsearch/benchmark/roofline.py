"""Why a part of a network is as fast as it is: its speed beside what the device reaches at best.

Williams, Waterman and Patterson, *Roofline*, CACM 2009. The two roofs are measured, not taken from a
data sheet: a large matrix product in the same precision, and a large copy.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from archsearch.benchmark.clocks import block_timer, synchronize
from archsearch.benchmark.timed_steps import autocast, images_for, lay_out
from archsearch.benchmark.timing import Setting
from archsearch.complexity.breakdown import Part, breakdown
from archsearch.stats.intervals import median

#: Side of the matrices, and bytes of the copy, by kind of device; others as a CPU.
MATRIX = {"cuda": 8192}
COPY_BYTES = {"cuda": 2**30}
#: Runs of which the fastest makes a roof, and of which the median makes a part's time.
RUNS = 7


@dataclass(frozen=True)
class Roofs:
    """What the device reached.

    Attributes:
        flops_per_s: of a large matrix product; a multiply-add is two.
        bytes_per_s: of a large copy, read and written.
    """

    flops_per_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class Share:
    """One part of a forward pass beside the roofs.

    Attributes:
        level: depth in the tree, from 0.
        name: of the part, as ``describe`` has it.
        seconds: per step, as run operator by operator.
        flops: per step; a multiply-add is two.
        bytes_moved: per step: activations as ``describe`` counts them, and weights once per batch.
    """

    level: int
    name: str
    seconds: float
    flops: float
    bytes_moved: float


def view(model: nn.Module, setting: Setting, device: torch.device) -> dict[str, Any]:
    """Times every part of one forward pass.

    Args:
        model: on the CPU, as built.
        setting: of an eager ``infer`` step.
        device: to run on.

    Returns:
        ``roofs`` and ``parts``, the fields of ``Roofs`` and ``Share``.
    """
    parts = breakdown(model, setting.img_size).parts
    laid_out, images = lay_out(model, setting, device).eval(), images_for(setting, device)
    paths = {path for part in parts for path in part.modules}
    seconds = _times(laid_out, images, paths, setting.precision)
    width = images.element_size() / 4 if not setting.precision.startswith("amp") else 0.5
    shares = tuple(_shares(parts, seconds, setting.batch_size, width))
    return {"roofs": asdict(roofs(device, setting.precision)), "parts": [asdict(share) for share in shares]}


@cache
def roofs(device: torch.device, precision: str) -> Roofs:
    """The device's measured best in this process; once per precision."""
    dtype = {"bf16": torch.bfloat16, "amp_bf16": torch.bfloat16, "fp16": torch.float16, "amp_fp16": torch.float16}
    side, size = MATRIX.get(device.type, 2048), COPY_BYTES.get(device.type, 2**28)
    a = torch.randn(side, side, device=device).to(dtype.get(precision, torch.float32))
    out = torch.empty_like(a)
    product = _fastest(lambda: torch.mm(a, a, out=out), device)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return Roofs(2 * side**3 / product, 2 * size / _fastest(lambda: target.copy_(source), device))


def _fastest(step: Callable[[], object], device: torch.device) -> float:
    block = block_timer(step, device)
    return min(block(3) / 3 for _ in range(RUNS))


def _times(model: nn.Module, images: Tensor, paths: set[str], precision: str) -> dict[str, float]:
    """Seconds per pass inside each module, and under ``""`` of the whole: medians over runs."""
    context = autocast(precision, images.device)
    runs: defaultdict[str, list[float]] = defaultdict(list)
    with torch.inference_mode(), context:
        for _ in range(3):
            model(images)
        for _ in range(RUNS):
            with _marks(model, paths | {""}, images.device) as spans:
                model(images)
                synchronize(images.device)
            for path, pairs in spans.items():
                runs[path].append(sum(_between(*pair) for pair in pairs))
    return {path: median(values) for path, values in runs.items()}


@contextmanager
def _marks(model: nn.Module, paths: set[str], device: torch.device) -> Iterator[dict[str, list[tuple[Any, Any]]]]:
    """Begin and end of every run of every module, as device events or seconds, by path."""
    spans: defaultdict[str, list[tuple[Any, Any]]] = defaultdict(list)
    begun: defaultdict[str, list[Any]] = defaultdict(list)
    hooks = []
    for path in paths:
        module = model.get_submodule(path)

        def enter(module: nn.Module, inputs: Any, path: str = path) -> None:
            begun[path].append(_now(device))

        def leave(module: nn.Module, inputs: Any, output: Any, path: str = path) -> None:
            spans[path].append((begun[path].pop(), _now(device)))

        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield spans
    finally:
        for hook in hooks:
            hook.remove()


def _now(device: torch.device) -> Any:
    if device.type != "cuda":
        synchronize(device)
        return perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(start: Any, end: Any) -> float:
    return end - start if isinstance(start, float) else start.elapsed_time(end) / 1e3


def _shares(parts: Sequence[Part], seconds: dict[str, float], batch: int, width: float) -> Iterator[Share]:
    """What is made of no module has the time that its parent, or the network, has left over."""
    left = {-1: seconds[""]}
    for part in parts:
        time = sum(seconds.get(path, 0.0) for path in part.modules) if part.modules else max(0.0, left[part.level - 1])
        left[part.level - 1] -= time
        left[part.level] = time
        moved = width * (part.bytes_moved * batch + 4 * part.params)
        yield Share(part.level, part.name, time, 2.0 * part.macs * batch, moved)
