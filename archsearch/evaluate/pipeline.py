"""The evaluation of one architecture, cheapest scores first; a candidate's failure becomes its result."""

import gc
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from archsearch.arch import Arch
from archsearch.benchmark.clocks import answers
from archsearch.benchmark.exclusive import training_lock
from archsearch.data.images import ImageData
from archsearch.errors import ArchsearchError, TrialError, first_line, in_one_line
from archsearch.evaluate.costs import Costs, Limits, NotYet, TimeIt, never
from archsearch.nn import MetaNeXt, build, init_fan_in
from archsearch.nn.device import identity, is_out_of_memory
from archsearch.objectives import Objective, Tier
from archsearch.recipes import ProxyRecipe
from archsearch.train import Training
from archsearch.train.cache import Trainings
from archsearch.train.training import accuracy_on_test
from archsearch.train.turns import Turn
from archsearch.trial import Epoch, EpochDone, Evaluation, OnWait, ProgressCallback, SeedDone, WorkerEvent, ignore_wait

#: Origins of scores that were in a disk cache.
EARLIER_TRAINING, EARLIER_TIMING = "an earlier training on this machine", "an earlier timing on this machine"


#: First words of the error of a training that ran out of memory, and words of cuDNN that may mean so.
NO_ROOM = "out of memory"
PERHAPS_NO_ROOM = ("unable to find an engine to execute", "cudnn_status_not_initialized")


def never_stop(event: WorkerEvent) -> bool:
    """Progress callback that stops nothing."""
    return True


@dataclass(frozen=True)
class Task:
    """How to evaluate the candidates of a study.

    Attributes:
        objectives: Objectives of the study.
        proxy: Proxy recipe.
        data: Images on the device, reduced to the numbers that the recipe asks for.
        device: Device that trains.
        time: Function that times a target network.
        on_wait: Callback for a wait of training, as for ``archsearch.benchmark.exclusive``.
        trainings: Cache of trainings; None to train everything.
        counted: Whether to count parameters and MACs in any case.
        limits: Constraints on targets; a candidate that breaks one is not trained.
        seeds: Maximum number of training seeds per candidate.
        run: Name of the run of the study, for locks.
        known_within: Half the width of its interval, as a share, within which a speed has to be known; 0 takes any.
        turn: Turn of the evaluation, where others share its process; the caller has taken it.
        tested: Whether the accuracy is that on the test split, by weights that the cache of trainings then keeps.
        keeps_weights: Whether it keeps them; else it keeps that accuracy.
    """

    objectives: tuple[Objective, ...]
    proxy: ProxyRecipe
    data: ImageData
    device: torch.device
    time: TimeIt = never
    on_wait: OnWait = ignore_wait
    trainings: Trainings | None = None
    counted: bool = True
    limits: Limits | None = None
    seeds: int = 1
    run: str = ""
    known_within: float = 0.0
    turn: Turn = field(default_factory=Turn)
    tested: bool = False
    keeps_weights: bool = True


@dataclass
class _Progress:
    """Results of an evaluation under way. ``several``: whether the study trains more than one seed per candidate."""

    costs: Costs = field(default_factory=Costs)
    excess: dict[str, float] = field(default_factory=dict)
    accuracies: dict[int, float] = field(default_factory=dict)
    several: bool = False
    curve: list[Epoch] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    reused: dict[str, str] = field(default_factory=dict)
    recalled: bool = False
    seed_error: str | None = None
    put_off: str | None = None

    @classmethod
    def after(cls, known: Evaluation, task: Task, seed: int) -> "_Progress":
        """Start from earlier results, whose accuracy is that of ``seed`` where they do not name seeds."""
        scores = dict(known.scores)
        accuracy = scores.pop("accuracy", None)
        accuracies = dict(known.accuracies) or ({} if accuracy is None else {seed: accuracy})
        return cls(
            Costs(scores, dict(known.details), task.known_within),
            accuracies=accuracies,
            several=task.seeds > 1,
            curve=list(known.curve),
            seconds=dict(known.seconds),
            reused=dict(known.reused),
        )

    def add_seed(self, seed: int, accuracy: float) -> None:
        """Record the accuracy of a complete training, or of an earlier one that it would repeat."""
        self.accuracies[seed] = accuracy
        if self.recalled:
            self.reused["accuracy"] = EARLIER_TRAINING

    @contextmanager
    def clock(self, phase: str) -> Iterator[Callable[[], None]]:
        """Record the wall time of a phase at its end, and whenever the yielded function is called."""
        start = time.perf_counter() - self.seconds.get(phase, 0.0)

        def record() -> None:
            self.seconds[phase] = time.perf_counter() - start

        try:
            yield record
        finally:
            record()

    def so_far(self, error: str | None = None, trace: str | None = None, pruned: bool = False) -> Evaluation:
        """Return a copy of the results, with the mean accuracy of the seeds."""
        scores, values = dict(self.costs.scores), list(self.accuracies.values())
        if values:
            scores["accuracy"] = sum(values) / len(values)
        return Evaluation(
            scores=scores,
            details=dict(self.costs.details),
            curve=tuple(self.curve),
            seconds=dict(self.seconds),
            error=error,
            traceback=trace,
            pruned=pruned,
            reused=dict(self.reused),
            excess=dict(self.excess),
            accuracies=dict(self.accuracies) if self.several else {},
            seed_error=self.seed_error,
            put_off=self.put_off,
        )

    @property
    def infeasible(self) -> bool:
        return any(share > 0 for share in self.excess.values())


def evaluate(
    arch: Arch, task: Task, seed: int, report: ProgressCallback = never_stop, known: Evaluation | None = None
) -> Evaluation:
    """Score an architecture: count it, then time it, then train its proxy network.

    A candidate that diverges, runs out of memory or cannot be built is returned with the results so far and ``error``
    set; one that breaks a constraint, with the results so far; one whose speed the machine was too busy to measure,
    with ``put_off`` set: call again with these results in another minute.

    Args:
        arch: Target architecture.
        task: Objectives, recipe, data and device.
        seed: Seed of the proxy network's initialisation, data order and augmentation; further seeds count up from it.
        report: Progress callback, called after each epoch of the first training and after each seed but the last.
        known: Earlier results, which are not computed again.

    Raises:
        ArchsearchError: The device no longer answers, so that evaluation has to go on in another process.
    """
    progress, pruned = _Progress.after(known or Evaluation(), task, seed), False
    try:
        if task.counted:
            _cost(arch, task, progress)
        trains = any(o.tier is Tier.TRAINED for o in task.objectives)
        seeds_left = set(range(seed, seed + task.seeds)) - progress.accuracies.keys()
        if trains and seeds_left and not progress.infeasible and not _undecided(task, progress):
            pruned = not _train(arch, task, seed, progress, report)
        if task.tested:
            _test(arch, task, seed, progress)
    except TrialError as error:
        return progress.so_far(str(error))
    except Exception as error:  # whatever it is, it ends this candidate and not the study
        if is_out_of_memory(error):
            return progress.so_far(f"{NO_ROOM}: {first_line(error) if str(error) else task.device}")
        if not answers(task.device):  # whatever this process tries next would fail too
            raise ArchsearchError(f"the device was lost: {first_line(error)}") from error
        return progress.so_far(in_one_line(error), traceback.format_exc())
    finally:
        if task.device.type == "cuda":
            with suppress(RuntimeError):  # a lost device has been reported by then
                torch.cuda.empty_cache()
    return progress.so_far(pruned=pruned)


def in_turn(turn: Turn, run: Callable[[Turn], Evaluation], on_wait: OnWait = ignore_wait) -> Evaluation:
    """Evaluate when it is one's turn; once more, alone in the process, where memory ran out beside others.

    Args:
        turn: Turn of the evaluation.
        run: Function that evaluates, given the turn that it has.
        on_wait: Callback for a wait until others have ended, as for ``archsearch.benchmark.exclusive``.
    """
    with turn.taken(on_wait):
        done = run(turn)
    if not turn.shared or not _did_not_fit(done):
        return done
    with turn.alone(on_wait) as only:
        gc.collect()  # what the others have left in cycles
        return run(only)


def _did_not_fit(done: Evaluation) -> bool:
    error = done.error or ""
    return error.startswith(NO_ROOM) or any(words in error.lower() for words in PERHAPS_NO_ROOM)


def _cost(arch: Arch, task: Task, progress: _Progress) -> None:
    """Count the target and, where a speed is wanted and no constraint is broken yet, time it."""
    limits = task.limits or Limits((), arch, task.time)
    counted = {
        "params",
        "macs",
        *(o.name for o in task.objectives if o.tier is Tier.COUNTED),
        *limits.names(Tier.COUNTED),
    }
    known = counted <= progress.costs.scores.keys()
    with nullcontext() if known else progress.clock("count"):
        if not known:
            progress.costs.count(arch, counted)
        progress.excess |= limits.excess(progress.costs, Tier.COUNTED)  # which may count the baseline
    if progress.infeasible:
        return
    speeds = [o.name for o in task.objectives if o.tier is Tier.MEASURED] + limits.names(Tier.MEASURED)
    if left := [name for name in speeds if name not in progress.costs.scores]:
        with progress.clock("measure"):
            recalled = progress.costs.time(arch, left, task.time)
            progress.reused |= dict.fromkeys(recalled, EARLIER_TIMING)
    progress.put_off = progress.costs.doubts(speeds)
    try:
        progress.excess |= limits.excess(progress.costs, Tier.MEASURED)
    except NotYet as doubts:
        progress.put_off = str(doubts)


def _undecided(task: Task, progress: _Progress) -> bool:
    """Whether it is not known yet if a candidate keeps all constraints."""
    return bool(progress.put_off and task.limits and task.limits.names(Tier.MEASURED))


def _train(arch: Arch, task: Task, seed: int, progress: _Progress, report: ProgressCallback) -> bool:
    """Train with as many seeds as the study asks for; return False if the first training was stopped."""
    with progress.clock("train") as record_time:
        for epoch in () if seed in progress.accuracies else _epochs(arch, task, seed, progress):
            progress.curve.append(epoch)
            record_time()
            if not report(EpochDone(progress.so_far())) and epoch.epoch < task.proxy.epochs:
                _forget_state(arch, task, seed)
                return False
        if seed not in progress.accuracies:
            progress.add_seed(seed, progress.curve[-1].accuracy)
        for another in sorted(set(range(seed + 1, seed + task.seeds)) - progress.accuracies.keys()):
            record_time()
            if not report(SeedDone(progress.so_far())) or not _train_again(arch, task, another, progress):
                break
    return True


def _train_again(arch: Arch, task: Task, seed: int, progress: _Progress) -> bool:
    """Train with a further seed; return whether that succeeded. A failure keeps the results of earlier seeds."""
    try:
        progress.add_seed(seed, [epoch.accuracy for epoch in _epochs(arch, task, seed, progress)][-1])
    except Exception as error:
        progress.seed_error = f"seed {seed}: {first_line(error)}"
    return progress.seed_error is None


def _epochs(arch: Arch, task: Task, seed: int, progress: _Progress) -> Iterable[Epoch]:
    """Return the epochs of a training, from the cache where it has them all."""
    recalled = recall(arch, task, seed)
    progress.recalled = bool(recalled)
    return recalled or train(arch, task, seed)


def recall(arch: Arch, task: Task, seed: int) -> tuple[Epoch, ...] | None:
    """Return the learning curve of a complete training from the cache; None where there is none."""
    if task.trainings is None:
        return None
    key = _key(arch, task, task.trainings, seed)
    return task.trainings.curve(key, task.tested and _known_test(task, task.trainings, key) is None)


def _key(arch: Arch, task: Task, trainings: Trainings, seed: int) -> dict[str, Any]:
    """Return the cache key of the training of a target's proxy network."""
    return trainings.key(task.proxy.shrink(arch, len(task.data.classes)), task.proxy, task.data, seed)


def _forget_state(arch: Arch, task: Task, seed: int) -> None:
    """Delete the saved state of a pruned training, which nothing resumes."""
    if task.trainings is not None:
        task.trainings.forget(_key(arch, task, task.trainings, seed))


def train(arch: Arch, task: Task, seed: int) -> Iterator[Epoch]:
    """Train the proxy network of a target, an epoch at a time.

    Raises:
        TrialError: The training diverged.
    """
    proxy_arch = task.proxy.shrink(arch, len(task.data.classes))
    if task.trainings is None:
        with training_on(task.device, task.turn, task.on_wait, task.run):
            training = _start(proxy_arch, task, seed)
        yield from _alternating(training, task)
        return
    key = _key(arch, task, task.trainings, seed)
    epochs = task.trainings.epochs(key, lambda: _start(proxy_arch, task, seed), task.tested)
    yield from _alternating(epochs, task)


def _start(proxy_arch: Arch, task: Task, seed: int) -> Training:
    model = build_proxy(proxy_arch, task.proxy, seed).to(task.device)
    return Training(model, task.data, task.proxy, seed, task.turn)


def _test(arch: Arch, task: Task, seed: int, progress: _Progress) -> None:
    """Replace the accuracy of a training by that of its weights on the test split."""
    trainings = task.trainings
    assert trainings is not None  # noqa: S101 - the cache keeps the weights
    key, detail = _key(arch, task, trainings, seed), {"split": "test", "images": len(task.data.test)}
    progress.costs.details["accuracy"] = detail
    if (known := _known_test(task, trainings, key)) is not None:
        progress.accuracies[seed] = known
        return
    file = trainings.weights(key)
    progress.accuracies[seed] = _test_accuracy(arch, task, seed, file)
    if task.keeps_weights:
        detail["weights"] = str(file)
        return
    trainings.store.put(_test_key(key), progress.accuracies[seed])
    if not progress.recalled:  # else somebody else has asked for them
        file.unlink()


def _test_key(key: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cache key of the accuracy that a training's weights have on the test split."""
    return {**key, "split": "test"}


def _known_test(task: Task, trainings: Trainings, key: Mapping[str, Any]) -> float | None:
    """Return the accuracy of a training on the test split, where it is in the cache in place of weights."""
    return trainings.store.get(_test_key(key)) if trainings.reuse and not task.keeps_weights else None


def _test_accuracy(arch: Arch, task: Task, seed: int, file: Path) -> float:
    """Return the accuracy of the weights in a file on the test split."""
    model = build_proxy(task.proxy.shrink(arch, len(task.data.classes)), task.proxy, seed)
    model.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))
    with training_on(task.device, task.turn, task.on_wait, task.run):
        return accuracy_on_test(model.to(task.device), task.data, task.proxy)


def build_proxy(proxy_arch: Arch, proxy: ProxyRecipe, seed: int) -> MetaNeXt:
    """Return an untrained proxy network, on the CPU.

    Args:
        proxy_arch: Architecture of the proxy network.
        proxy: Proxy recipe, which chooses the initialisation.
        seed: Seed of the initialisation.
    """
    torch.manual_seed(seed)
    model = build(proxy_arch)
    if proxy.fan_in_init:
        init_fan_in(model)
    return model


def _alternating(epochs: Iterator[Epoch], task: Task) -> Iterator[Epoch]:
    """Yield the same epochs, and let other processes time on the device between two of them."""
    while True:
        with training_on(task.device, task.turn, task.on_wait, task.run):
            epoch = next(epochs, None)
        if epoch is None:
            return
        yield epoch


@contextmanager
def training_on(device: torch.device, turn: Turn, on_wait: OnWait, run: str = "") -> Iterator[None]:
    """Hold a device for training; others of this process compute while it has to be waited for.

    Args:
        device: Device that trains.
        turn: Turn that the caller has taken.
        on_wait: Callback for a wait, as for ``archsearch.benchmark.exclusive``.
        run: Name of the run that this process belongs to.
    """
    with ExitStack() as held:
        with turn.apart():
            held.enter_context(training_lock(identity(device), on_wait, run))
        yield
