"""From an ``Arch`` to its scores, cheapest first; nothing that happens to one candidate escapes."""

import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import torch

from archsearch.arch import Arch
from archsearch.data.images import ImageData
from archsearch.errors import TrialError
from archsearch.measure.complexity import count, count_activations
from archsearch.measure.device import identity, is_out_of_memory
from archsearch.nn import MetaNeXt, build, init_fan_in
from archsearch.objectives import Objective, Tier
from archsearch.recipes import Proxy
from archsearch.speed.exclusive import OnWait, nobody, shared
from archsearch.speed.timing import Timing
from archsearch.train import Training
from archsearch.train.records import Trainings
from archsearch.trial import Epoch, Evaluation

#: What is timed for an objective.
KINDS = {"infer_throughput": "infer", "train_throughput": "train", "latency_ms": "latency", "peak_memory_mb": "train"}

#: An architecture and the kinds of step that are wanted, to their timings.
TimeIt = Callable[[Arch, tuple[str, ...]], Mapping[str, Timing]]

#: Told after an epoch what is known so far; whether there shall be another.
OnEpoch = Callable[[Evaluation], bool]


def go_on(known: Evaluation) -> bool:
    """Stops no training."""
    return True


def never(arch: Arch, kinds: tuple[str, ...]) -> Mapping[str, Timing]:
    """For tasks without a speed among their objectives."""
    raise TrialError("a speed is wanted, and there is nothing to time it with")


@dataclass(frozen=True)
class Task:
    """What every candidate of a study is put through.

    Attributes:
        objectives: the scores that are wanted.
        proxy: how the stand-in is made and trained.
        data: on the device, already reduced to the proxy's samples.
        device: that trains.
        time: times the target.
        on_wait: told when training waits for somebody who times on the device.
        counted: whether parameters and MACs come in any case.
        trainings: those known from before, and where new ones are kept; None trains everything.
    """

    objectives: tuple[Objective, ...]
    proxy: Proxy
    data: ImageData
    device: torch.device
    time: TimeIt = never
    on_wait: OnWait = nobody
    trainings: Trainings | None = None
    counted: bool = True


@dataclass
class _Progress:
    scores: dict[str, float] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    curve: list[Epoch] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def clock(self, phase: str) -> Iterator[Callable[[], None]]:
        start = time.perf_counter()

        def stop() -> None:
            self.seconds[phase] = time.perf_counter() - start

        try:
            yield stop
        finally:
            stop()

    def so_far(self, error: str | None = None, trace: str | None = None, stopped: bool = False) -> Evaluation:
        scores, details, seconds = dict(self.scores), dict(self.details), dict(self.seconds)
        return Evaluation(scores, details, tuple(self.curve), seconds, error, trace, stopped)


def evaluate(arch: Arch, task: Task, seed: int, on_epoch: OnEpoch = go_on) -> Evaluation:
    """Scores one architecture: counted, then timed, then trained.

    A candidate that diverges, runs out of memory or cannot be built comes back with what was
    known by then and ``error`` set.

    Args:
        arch: the target.
        task: what to do with it.
        seed: of the proxy's initialisation, data order and augmentation.
        on_epoch: called after each epoch of training; where it says False, that was the last.
    """
    progress, stopped = _Progress(), False
    try:
        if task.counted:
            _cost(arch, task, progress)
        if any(o.tier is Tier.DEAR for o in task.objectives):
            stopped = not _train(arch, task, seed, progress, on_epoch)
    except TrialError as error:
        return progress.so_far(str(error))
    except Exception as error:  # whatever it is, it is this candidate's end and not the study's
        if is_out_of_memory(error):
            return progress.so_far(f"out of memory: {str(error).splitlines()[0] if str(error) else task.device}")
        return progress.so_far(f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())
    finally:
        if task.device.type == "cuda":
            with suppress(RuntimeError):  # a device that is lost is told by what lost it
                torch.cuda.empty_cache()
    return progress.so_far(stopped=stopped)


def _cost(arch: Arch, task: Task, progress: _Progress) -> None:
    """Counts the target and, where a speed is wanted, times it."""
    beside = shared(identity(task.device), task.on_wait) if task.device.type == "cpu" else nullcontext()
    with progress.clock("count"), beside:  # no work of the processor's beside a timing on it
        model = build(arch)
        complexity = count(model, arch.img_size)
        progress.scores.update(params=complexity.params, macs=complexity.macs)
        if any(o.name == "activations" for o in task.objectives):
            progress.scores["activations"] = count_activations(model, arch.img_size)
    speeds = [o.name for o in task.objectives if o.tier is Tier.CHEAP]
    if not speeds:
        return
    with progress.clock("measure"):
        timings = task.time(arch, tuple(dict.fromkeys(KINDS[name] for name in speeds)))
        for name in speeds:
            timing = timings[KINDS[name]]
            progress.scores[name] = _score(name, timing)
            progress.details[name] = timing.details()


def _score(name: str, timing: Timing) -> float:
    if name == "peak_memory_mb":
        if timing.peak_memory_mb is None:
            raise TrialError("peak_memory_mb is read from a GPU's allocator, and this device has none")
        return timing.peak_memory_mb
    return timing.step_s * 1e3 if name == "latency_ms" else timing.throughput


def _train(arch: Arch, task: Task, seed: int, progress: _Progress, on_epoch: OnEpoch) -> bool:
    """Whether it was trained to its end."""
    with progress.clock("train") as stop_clock:
        for epoch in train(arch, task, seed):
            progress.curve.append(epoch)
            stop_clock()
            if not on_epoch(progress.so_far(stopped=True)) and epoch.epoch < task.proxy.epochs:
                return False
    progress.scores["accuracy"] = progress.curve[-1].accuracy
    return True


def train(arch: Arch, task: Task, seed: int) -> Iterator[Epoch]:
    """Trains the stand-in of a target, or recalls how that went; an epoch at a time.

    Raises:
        TrialError: it diverged.
    """
    stand_in = task.proxy.shrink(arch, len(task.data.classes))
    if task.trainings is None:
        with shared(identity(task.device), task.on_wait):
            training = _start(stand_in, task, seed)
        yield from _alternating(training, task)
        return
    key = task.trainings.key(stand_in, task.proxy, task.data, seed)
    known = task.trainings.curve(key)
    yield from known or _alternating(task.trainings.epochs(key, lambda: _start(stand_in, task, seed)), task)


def _start(stand_in: Arch, task: Task, seed: int) -> Training:
    return Training(build_stand_in(stand_in, task.proxy, seed).to(task.device), task.data, task.proxy, seed)


def build_stand_in(stand_in: Arch, proxy: Proxy, seed: int) -> MetaNeXt:
    """The untrained network of a shrunken architecture, on the CPU, as a recipe and a seed initialise it."""
    torch.manual_seed(seed)
    model = build(stand_in)
    if proxy.fan_in_init:
        init_fan_in(model)
    return model


def _alternating(epochs: Iterator[Epoch], task: Task) -> Iterator[Epoch]:
    """The same epochs; between two of them, others may time on the device."""
    while True:
        with shared(identity(task.device), task.on_wait):
            epoch = next(epochs, None)
        if epoch is None:
            return
        yield epoch
