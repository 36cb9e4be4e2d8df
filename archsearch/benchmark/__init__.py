"""Throughput, latency and memory of networks, measured side by side.

``run(BenchmarkSpec(networks=("inceptionnext_tiny", "timm:resnet50")))`` times networks and returns records.

The protocol, in the order in which it is followed:

1.  **A process of its own** (``session``, ``process``, ``worker``, ``bencher``): networks are timed in a fresh
    process that has trained nothing, so memory is not fragmented and no kernels were chosen for other
    work. It holds all candidates and the reference side by side (``loading``); those that do not fit
    beside each other take turns, each group in a new process and beside the reference.
2.  **Exclusive use of the device** (``exclusive``): one lock per device. Timing holds it exclusively,
    trainings share it, so nothing of ours trains on a device that is being timed. Work of other
    programs is looked for beforehand and reported (``conditions``). What needs no exclusive use is done
    before: networks are built, counted and, for a study, moved to the device.
3.  **One step** (``timed_steps``): inference is a forward pass; training is forward, loss, backward and
    optimiser. Images and targets are on the device beforehand. Precision, memory layout, mode (eager,
    ``torch.compile``, CUDA graph; onnxruntime, ``onnx_steps``) and the network's form at inference are part of a
    timing's setting, and the reference has the same but for its own faster layout. The batch never shrinks by
    itself: a network that does not fit is reported as such.
4.  **Blocks** (``clocks``): steps are timed in blocks of at least ``min_block_s``, on a GPU with device
    events and without synchronisation inside; but a latency is that of steps which wait for each other, by the wall
    clock, and their median and 95th percentile are recorded too.
5.  **Warm-up** (``protocol``): until three medians in a row, each of three blocks, agree within 1 %, and
    for at least ``warmup_s``. A step that never settles is timed and marked.
6.  **Rounds** (``protocol``): in every round each candidate is timed for one block, in a new random order,
    with a block of the reference right before or right after it, so that disturbances affect both
    alike. At least ten rounds; their scatter decides how many it takes to know every relative
    throughput within 1 %.
7.  **Results** (``timing``, ``results``): the median over rounds, the quartiles, a bootstrap interval
    (95 %), the relative throughput (the ratio to the reference, paired block by block) with its own
    interval, and all raw block times, beside the state of the device during the timing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsearch.benchmark.execute import (
        BenchmarkEvent,
        BenchmarkProgress,
        BenchmarkRecord,
        BenchmarkResult,
        run,
    )
    from archsearch.benchmark.spec import BenchmarkSpec, NamedNetwork, default_recipe

__all__ = [
    "BenchmarkEvent",
    "BenchmarkProgress",
    "BenchmarkRecord",
    "BenchmarkResult",
    "BenchmarkSpec",
    "NamedNetwork",
    "default_recipe",
    "run",
]

_SPEC = {"BenchmarkSpec", "NamedNetwork", "default_recipe"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing this package stays cheap (PEP 562)."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{'spec' if name in _SPEC else 'execute'}")
    return getattr(module, name)
