"""From an ``Arch`` to its scores, cheapest first; nothing that happens to one candidate escapes."""

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import torch

from archsearch.arch import Arch
from archsearch.benchmark.clocks import answers
from archsearch.benchmark.exclusive import OnWait, aside, nobody, shared
from archsearch.data.images import ImageData
from archsearch.errors import ArchsearchError, TrialError
from archsearch.evaluate.costs import Costs, Limits, TimeIt, never
from archsearch.nn import MetaNeXt, build, init_fan_in
from archsearch.nn.device import first_line, identity, is_out_of_memory
from archsearch.objectives import Objective, Tier
from archsearch.recipes import ProxyRecipe
from archsearch.train import Training
from archsearch.train.cache import Trainings
from archsearch.trial import Epoch, Evaluation

#: Where a score comes from that was known on this machine.
EARLIER_TRAINING, EARLIER_TIMING = "an earlier training on this machine", "an earlier timing on this machine"

#: Told after an epoch what is known so far; whether there shall be another.
OnEpoch = Callable[[Evaluation], bool]


def go_on(known: Evaluation) -> bool:
    """Stops no training."""
    return True


@dataclass(frozen=True)
class Task:
    """What every candidate of a study is put through.

    Attributes:
        objectives: the scores that are wanted.
        proxy: how the proxy network is made and trained.
        data: on the device, already reduced to the proxy's samples.
        device: that trains.
        time: times the target.
        on_wait: told when training waits for somebody who times on the device.
        counted: whether parameters and MACs come in any case.
        trainings: those known from before, and where new ones are kept; None trains everything.
        limits: constraints that targets have to keep; one that does not is not trained.
        seeds: that a candidate may be trained with.
    """

    objectives: tuple[Objective, ...]
    proxy: ProxyRecipe
    data: ImageData
    device: torch.device
    time: TimeIt = never
    on_wait: OnWait = nobody
    trainings: Trainings | None = None
    counted: bool = True
    limits: Limits | None = None
    seeds: int = 1


@dataclass
class _Progress:
    costs: Costs = field(default_factory=Costs)
    excess: dict[str, float] = field(default_factory=dict)
    accuracies: dict[int, float] = field(default_factory=dict)
    several: bool = False
    curve: list[Epoch] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    reused: dict[str, str] = field(default_factory=dict)
    recalled: bool = False
    note: str | None = None

    def learn(self, seed: int, accuracy: float) -> None:
        """What a training to its end gave, or an earlier one had given."""
        self.accuracies[seed] = accuracy
        if self.recalled:
            self.reused["accuracy"] = EARLIER_TRAINING

    @classmethod
    def after(cls, known: Evaluation, seed: int, several: bool) -> "_Progress":
        scores, details = dict(known.scores), dict(known.details)
        accuracy, seeds = scores.pop("accuracy", None), details.pop("accuracy", None)
        accuracies = {} if accuracy is None else {seed: accuracy}
        if seeds is not None:
            accuracies = dict(zip(seeds["seeds"], seeds["values"], strict=True))
        return cls(Costs(scores, details), {}, accuracies, several, list(known.curve), reused=dict(known.reused))

    @contextmanager
    def clock(self, phase: str) -> Iterator[Callable[[], None]]:
        start = time.perf_counter()

        def stop() -> None:
            self.seconds[phase] = time.perf_counter() - start

        try:
            yield stop
        finally:
            stop()

    def so_far(self, error: str | None = None, trace: str | None = None, pruned: bool = False) -> Evaluation:
        scores, details = dict(self.costs.scores), dict(self.costs.details)
        if self.accuracies:
            values = list(self.accuracies.values())
            scores["accuracy"] = sum(values) / len(values)
            if self.several:
                details["accuracy"] = {"seeds": list(self.accuracies), "values": values}
                details["accuracy"] |= {"note": self.note} if self.note else {}
        seconds, excess, reused = dict(self.seconds), dict(self.excess), dict(self.reused)
        return Evaluation(scores, details, tuple(self.curve), seconds, error, trace, pruned, reused, excess)

    @property
    def infeasible(self) -> bool:
        return any(share > 0 for share in self.excess.values())


def evaluate(
    arch: Arch, task: Task, seed: int, on_epoch: OnEpoch = go_on, known: Evaluation | None = None
) -> Evaluation:
    """Scores one architecture: counted, then timed, then trained.

    A candidate that diverges, runs out of memory or cannot be built comes back with what was
    known by then and ``error`` set; one that breaks a constraint, with what was known when it did.

    Args:
        arch: the target.
        task: what to do with it.
        seed: of the proxy's initialisation, data order and augmentation; further seeds count up from it.
        on_epoch: called after each epoch of the first training, where False stops it, and after each training but
            the last, where False means that no other seed is needed.
        known: scores that are taken from there, with all that stands behind them.

    Raises:
        ArchsearchError: the device does not answer any more, which only another process can change.
    """
    progress, pruned = _Progress.after(known or Evaluation(), seed, task.seeds > 1), False
    try:
        if task.counted:
            _cost(arch, task, progress)
        dear = any(o.tier is Tier.TRAINED for o in task.objectives)
        if dear and not progress.infeasible and not progress.accuracies.keys() >= set(range(seed, seed + task.seeds)):
            pruned = not _train(arch, task, seed, progress, on_epoch)
    except TrialError as error:
        return progress.so_far(str(error))
    except Exception as error:  # whatever it is, it is this candidate's end and not the study's
        if is_out_of_memory(error):
            return progress.so_far(f"out of memory: {str(error).splitlines()[0] if str(error) else task.device}")
        if not answers(task.device):  # whatever this process tries next would fail too
            raise ArchsearchError(f"the device was lost: {first_line(error)}") from error
        return progress.so_far(f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())
    finally:
        if task.device.type == "cuda":
            with suppress(RuntimeError):  # a device that is lost is told by what lost it
                torch.cuda.empty_cache()
    return progress.so_far(pruned=pruned)


def _cost(arch: Arch, task: Task, progress: _Progress) -> None:
    """Counts the target and, where a speed is wanted and nothing speaks against it yet, times it."""
    limits = task.limits or Limits((), arch, task.time)
    counted = {
        "params",
        "macs",
        *(o.name for o in task.objectives if o.tier is Tier.COUNTED),
        *limits.names(Tier.COUNTED),
    }
    known = counted <= progress.costs.scores.keys()
    with nullcontext() if known else progress.clock("count"), aside(task.device, task.on_wait):
        if not known:
            progress.costs.count(arch, counted)
        progress.excess |= limits.excess(progress.costs, Tier.COUNTED)  # the baseline may have to be counted, too
    if progress.infeasible:
        return
    speeds = [o.name for o in task.objectives if o.tier is Tier.MEASURED] + limits.names(Tier.MEASURED)
    if left := [name for name in speeds if name not in progress.costs.scores]:
        with progress.clock("measure"):
            recalled = progress.costs.time(arch, left, task.time)
            progress.reused |= dict.fromkeys(recalled, EARLIER_TIMING)
    progress.excess |= limits.excess(progress.costs, Tier.MEASURED)


def _train(arch: Arch, task: Task, seed: int, progress: _Progress, on_epoch: OnEpoch) -> bool:
    """Whether it was trained to its end."""
    with progress.clock("train") as stop_clock:
        for epoch in () if seed in progress.accuracies else _epochs(arch, task, seed, progress):
            progress.curve.append(epoch)
            stop_clock()
            if not on_epoch(progress.so_far(pruned=True)) and epoch.epoch < task.proxy.epochs:
                _give_up(arch, task, seed)
                return False
        if seed not in progress.accuracies:
            progress.learn(seed, progress.curve[-1].accuracy)
        for another in sorted(set(range(seed + 1, seed + task.seeds)) - progress.accuracies.keys()):
            stop_clock()
            if not on_epoch(progress.so_far()) or not _train_again(arch, task, another, progress):
                break
    return True


def _train_again(arch: Arch, task: Task, seed: int, progress: _Progress) -> bool:
    """Another seed; whatever goes wrong with it, what the first one gave stays."""
    try:
        progress.learn(seed, [epoch.accuracy for epoch in _epochs(arch, task, seed, progress)][-1])
    except Exception as error:
        progress.note = f"seed {seed}: {first_line(error)}"
    return progress.note is None


def _epochs(arch: Arch, task: Task, seed: int, progress: _Progress) -> Iterable[Epoch]:
    """Those of a training, or of an earlier one that it would repeat."""
    recalled = recall(arch, task, seed)
    progress.recalled = bool(recalled)
    return recalled or train(arch, task, seed)


def recall(arch: Arch, task: Task, seed: int) -> tuple[Epoch, ...] | None:
    """The curve of a training of this machine's that the task's would repeat; None where there is none."""
    return None if task.trainings is None else task.trainings.curve(_key(arch, task, task.trainings, seed))


def _key(arch: Arch, task: Task, trainings: Trainings, seed: int) -> dict[str, Any]:
    """Of the training of a target's proxy network."""
    return trainings.key(task.proxy.shrink(arch, len(task.data.classes)), task.proxy, task.data, seed)


def _give_up(arch: Arch, task: Task, seed: int) -> None:
    """Delete the saved state of a pruned training, which nothing resumes."""
    if task.trainings is not None:
        task.trainings.forget(_key(arch, task, task.trainings, seed))


def train(arch: Arch, task: Task, seed: int) -> Iterator[Epoch]:
    """Trains the proxy network of a target, an epoch at a time.

    Raises:
        TrialError: it diverged.
    """
    proxy_arch = task.proxy.shrink(arch, len(task.data.classes))
    if task.trainings is None:
        with shared(identity(task.device), task.on_wait):
            training = _start(proxy_arch, task, seed)
        yield from _alternating(training, task)
        return
    key = _key(arch, task, task.trainings, seed)
    yield from _alternating(task.trainings.epochs(key, lambda: _start(proxy_arch, task, seed)), task)


def _start(proxy_arch: Arch, task: Task, seed: int) -> Training:
    return Training(build_proxy(proxy_arch, task.proxy, seed).to(task.device), task.data, task.proxy, seed)


def build_proxy(proxy_arch: Arch, proxy: ProxyRecipe, seed: int) -> MetaNeXt:
    """The untrained network of a shrunken architecture, on the CPU, as a recipe and a seed initialise it."""
    torch.manual_seed(seed)
    model = build(proxy_arch)
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
