"""Roofline of a network: the speed of each part, and the limits that the device sets.

Williams, Waterman and Patterson, *Roofline*, CACM 2009. The two limits (roofs) are measured, not taken
from a data sheet: a large matrix product in the same precision, and a large copy.
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

#: Side of the matrices, and bytes of the copy, on a GPU; other devices use smaller ones.
MATRIX = {"cuda": 8192}
COPY_BYTES = {"cuda": 2**30}
#: Number of runs: the fastest gives a roof, the median a part's time.
RUNS = 7


@dataclass(frozen=True)
class Roofs:
    """Measured limits of a device.

    Attributes:
        flops_per_s: FLOP/s of a large matrix product; a multiply-add is two.
        bytes_per_s: Bytes per second of a large copy, read and written.
    """

    flops_per_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class PartTime:
    """Time and work of one part of a forward pass.

    Attributes:
        level: Depth in the tree of parts, from 0.
        name: Name of the part, as ``describe`` has it.
        seconds: Seconds per step, run operator by operator.
        flops: FLOPs per step; a multiply-add is two.
        bytes_moved: Bytes moved per step: activations as ``describe`` counts them, and weights once per batch.
    """

    level: int
    name: str
    seconds: float
    flops: float
    bytes_moved: float


def view(model: nn.Module, setting: Setting, device: torch.device) -> dict[str, Any]:
    """Time every part of one forward pass.

    Args:
        model: Network on the CPU, as built.
        setting: Setting of an eager ``infer`` step.
        device: Device to run on.

    Returns:
        ``roofs`` and ``parts``: the fields of ``Roofs`` and, part by part, of ``PartTime``, JSON-ready.
    """
    parts = breakdown(model, setting.img_size).parts
    laid_out, images = lay_out(model, setting, device).eval(), images_for(setting, device)
    paths = {path for part in parts for path in part.modules}
    seconds = _times(laid_out, images, paths, setting.precision)
    width = images.element_size() / 4 if not setting.precision.startswith("amp") else 0.5
    timed = tuple(_part_times(parts, seconds, setting.batch_size, width))
    return {"roofs": asdict(roofs(device, setting.precision)), "parts": [asdict(part) for part in timed]}


@cache
def roofs(device: torch.device, precision: str) -> Roofs:
    """Measure a device's limits in a precision; once per process."""
    dtype = {"bf16": torch.bfloat16, "amp_bf16": torch.bfloat16, "fp16": torch.float16, "amp_fp16": torch.float16}
    side, size = MATRIX.get(device.type, 2048), COPY_BYTES.get(device.type, 2**28)
    a = torch.randn(side, side, device=device).to(dtype.get(precision, torch.float32))
    out = torch.empty_like(a)
    product = _fastest(lambda: torch.mm(a, a, out=out), device)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return Roofs(2 * side**3 / product, 2 * size / _fastest(lambda: target.copy_(source), device))


def _fastest(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of a few runs."""
    block = block_timer(step, device)
    return min(block(3) / 3 for _ in range(RUNS))


def _times(model: nn.Module, images: Tensor, paths: set[str], precision: str) -> dict[str, float]:
    """Seconds per pass inside each module by path, and of the whole network under ``""``: medians over runs."""
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
    """Record begin and end of every run of every module, as device events or seconds, by path."""
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


def _part_times(parts: Sequence[Part], seconds: dict[str, float], batch: int, width: float) -> Iterator[PartTime]:
    """Times of the parts; a part without modules of its own gets the time that its parent has left."""
    left = {-1: seconds[""]}
    for part in parts:
        time = sum(seconds.get(path, 0.0) for path in part.modules) if part.modules else max(0.0, left[part.level - 1])
        left[part.level - 1] -= time
        left[part.level] = time
        moved = width * (part.bytes_moved * batch + 4 * part.params)
        yield PartTime(part.level, part.name, time, 2.0 * part.macs * batch, moved)
