"""Throughput, latency and memory of networks, measured side by side.

``run(BenchmarkSpec(networks=("inceptionnext_tiny", "timm:resnet50")))`` times networks and returns records.

The protocol, in the order in which it is followed:

1.  **A process of its own** (``session``, ``process``, ``worker``): what is timed lives in a fresh process that has
    trained nothing, so no fragmented memory and no kernels chosen for other work are left over. It
    holds all candidates and the reference side by side; those that do not fit beside each other take
    turns, each group in a new process and beside the reference.
2.  **The device for itself** (``exclusive``): one lock per device. Timing holds it alone, training
    shares it, so nothing of ours trains on a device that is being timed. What others do there is
    looked for beforehand and reported (``conditions``).
3.  **One step** (``steps``): inference is a forward pass; training is forward, loss, backward and
    optimiser. Images and targets are on the device beforehand. Precision, memory layout and mode
    (eager, ``torch.compile``, CUDA graph) are part of a figure's name. The batch never shrinks by
    itself: what does not fit says so.
4.  **Blocks** (``clocks``): steps are timed in blocks of at least ``min_block_s``, on a GPU with device
    events and without synchronisation inside.
5.  **Warm-up** (``protocol``): until three medians in a row, each of three blocks, agree within 1 %, and
    for at least ``warmup_s``. What never settles is timed and marked.
6.  **Rounds** (``protocol``): in every round each candidate is timed for one block, in a new random order,
    with a block of the reference right before or right after it, so that what the machine does to one
    it does to the other. At least ten rounds; from their scatter follows how many it takes to know
    every ratio within 1 %.
7.  **What is reported** (``timing``): the median over rounds, the quartiles, a bootstrap interval
    (95 %), the ratio to the reference, paired block by block, with its own interval, and all raw
    blocks, beside the device's state during the timing.
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
