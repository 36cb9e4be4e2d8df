"""What worker processes do: evaluate a study's candidates, or train what a comparison asks for.

Two processes of one thread each train 1.5 times as many small networks per second on two cores as
one process of two threads (``benchmarks/several.py``): small networks' operators are too short to be
worth splitting.
"""

import contextlib
import dataclasses
import os
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from archsearch.arch import Arch
from archsearch.benchmark.exclusive import shared
from archsearch.benchmark.reported import reported
from archsearch.benchmark.timer import Timer, Timings
from archsearch.data import ImageData, load_for
from archsearch.data.folder import cache_folder
from archsearch.data.images import from_arrays
from archsearch.data.stream import room_on
from archsearch.errors import ArchsearchError
from archsearch.evaluate.constraint import Constraint
from archsearch.evaluate.costs import Limits
from archsearch.evaluate.pipeline import Task, evaluate
from archsearch.nn import load_mixers
from archsearch.nn.device import device_name as measured_name
from archsearch.nn.device import environment, identity, pick_device
from archsearch.objectives import Objective, Tier, parse_objectives
from archsearch.recipes import BenchRecipe, ProxyRecipe
from archsearch.train.cache import Trainings
from archsearch.trial import Evaluation, ProgressCallback, Trial, Waiting
from archsearch.utils.workers import ATTEMPTS, Died, Done, Say, Workers

#: Bytes of memory that a worker on a CPU is counted with: torch, its networks, and the process that times.
WORKER_BYTES = 2 << 30


@dataclass(frozen=True)
class Source:
    """Where workers find what they train on.

    Attributes:
        dataset: a key of ``archsearch.recipes.DATASETS``.
        root: of a folder, or of downloads.
        mixers: files with mixers of the user's.
        retrain: whether known trainings are made anew.
    """

    dataset: str
    root: Path | None
    mixers: tuple[Path, ...] = ()
    retrain: bool = False


@dataclass(frozen=True)
class Machine:
    """What workers share out among them.

    Attributes:
        devices: names; workers take them in turns.
        workers: how many; 0 where this process does the work itself.
        cores: that may be used; none where the system does not tell.
        threads: of each worker; 0 for its share of the cores.
    """

    devices: tuple[str, ...]
    workers: int
    cores: tuple[int, ...]
    threads: int = 0

    @classmethod
    def here(cls, devices: Sequence[str], workers: int, threads: int = 0) -> "Machine":
        """All that this process may use."""
        return cls(tuple(devices), workers, available_cores(), threads)

    def device(self, index: int) -> torch.device:
        """That of a worker."""
        return torch.device(self.devices[index % len(self.devices)])

    def share(self, index: int) -> tuple[int, ...]:
        """The cores of a worker: its own, as long as there are as many as workers.

        >>> [Machine(("cpu",), 3, tuple(range(8))).share(i) for i in range(3)]
        [(0, 1), (2, 3, 4), (5, 6, 7)]
        >>> [Machine(("cpu",), 3, (4, 5)).share(i) for i in range(3)]
        [(4,), (5,), (4,)]
        """
        count, cores = max(1, self.workers), self.cores
        if len(cores) < count:
            return cores[index % len(cores) : index % len(cores) + 1] if cores else ()
        return cores[index * len(cores) // count : (index + 1) * len(cores) // count]

    def settle(self, index: int) -> None:
        """In a new worker: takes its share and no more, so that workers do not fight over the cores."""
        if not self.workers:
            return
        share = self.share(index)
        if share and self.device(index).type == "cpu":
            os.sched_setaffinity(0, share)
        # One number for all, as it is part of what a training depends on.
        torch.set_num_threads(self.threads or max(1, len(self.cores or range(os.cpu_count() or 1)) // self.workers))


def available_cores() -> tuple[int, ...]:
    """Logical cores that this process may use; none where the system does not tell."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def devices_for(name: str) -> tuple[str, ...]:
    """The devices that a ``--device`` means for several workers: ``auto`` and ``cuda`` mean all GPUs of one make.

    Raises:
        OptionError: no such device here.
    """
    first = pick_device(name)
    if first.type != "cuda" or name not in ("auto", "cuda"):
        return (str(first),)
    make = torch.cuda.get_device_name(first)
    alike = (i for i in range(torch.cuda.device_count()) if torch.cuda.get_device_name(i) == make)
    return tuple(f"cuda:{i}" for i in alike)


def default_workers(devices: Sequence[str]) -> int:
    """One per GPU; on a CPU one per core, as far as memory goes."""
    if torch.device(devices[0]).type != "cpu":
        return len(devices)
    cores = len(available_cores()) or os.cpu_count() or 1
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return cores
    return max(1, min(cores, memory // WORKER_BYTES))


@dataclass(frozen=True)
class StudyWork:
    """What a worker needs to evaluate the candidates of a study; called in the worker, once.

    Attributes:
        source: of data and mixers.
        machine: that workers share.
        objectives: the scores that are wanted.
        proxy: how proxy networks are made and trained.
        bench: how targets are timed.
        remeasure: whether known timings are made anew.
        data: already loaded and on the device; None where the worker loads it.
        constraints: that candidates have to keep.
        baseline: that constraints compare with.
        seeds: that a candidate may be trained with.
    """

    source: Source
    machine: Machine
    objectives: tuple[Objective, ...]
    proxy: ProxyRecipe
    bench: BenchRecipe
    remeasure: bool = False
    data: ImageData | None = None
    constraints: tuple[Constraint, ...] = ()
    baseline: Arch | None = None
    seeds: int = 1

    @property
    def quantities(self) -> tuple[Objective, ...]:
        """Objectives, and what is constrained."""
        return tuple(dict.fromkeys((*self.objectives, *(constraint.objective for constraint in self.constraints))))

    def __call__(self, index: int) -> "Evaluator":
        """What evaluates candidates from then on."""
        return Evaluator(self, index)


class Evaluator:
    """From an architecture and its seed to its evaluation, and the environment of that."""

    def __init__(self, work: StudyWork, index: int) -> None:
        """Args: work: of the study; index: of the worker."""
        source, machine = work.source, work.machine
        self.device = machine.device(index)
        whole = environment(self.device)  # a timing has the machine to itself, whatever share of it trains
        machine.settle(index)
        _load_mixers(source, machine)
        cores = machine.cores if machine.workers and self.device.type == "cpu" else ()
        timings = Timings(cache_folder() / "timings", whole)
        self.timer = Timer(
            work.bench,
            str(self.device),
            timings,
            source.mixers,
            remeasure=work.remeasure,
            cores=cores,
            reports=reported(work.quantities),
        )
        trainings = Trainings(cache_folder() / "trainings", environment(self.device), reuse=not source.retrain)
        with shared(identity(self.device)):  # data may go to the GPU that another times on
            data = work.data or load_for(work.proxy, source.dataset, source.root, self.device)
        limits = Limits(work.constraints, work.baseline, self.timer) if work.baseline else None
        self.task = Task(
            work.objectives,
            work.proxy,
            data,
            self.device,
            self.timer,
            trainings=trainings,
            limits=limits,
            seeds=work.seeds,
        )

    def __call__(
        self, arch: Arch, seed: int, report: ProgressCallback, known: Evaluation | None = None
    ) -> tuple[Evaluation, dict[str, Any]]:
        """Evaluates a candidate but for what is known; ``report`` hears of its epochs and of waiting, may stop it."""

        def on_wait(holder: str) -> None:
            report(Waiting(holder))

        self.timer.on_wait = on_wait
        evaluation = evaluate(arch, dataclasses.replace(self.task, on_wait=on_wait), seed, report, known)
        return evaluation, environment(self.device)

    def close(self) -> None:
        """Ends the process that times."""
        self.timer.close()


def evaluate_again(work: StudyWork, trial: Trial) -> Evaluation:
    """A finished trial's architecture once more, in this process, with as many threads as it was trained with.

    On one machine with the same versions this gives the same accuracy to the bit.
    """
    seeds = trial.evaluation.details.get("accuracy", {}).get("seeds", [trial.seed])

    def go_on(known: Evaluation | Waiting) -> bool:
        done = {} if isinstance(known, Waiting) else known.details.get("accuracy", {})
        return len(done.get("seeds", ())) < len(seeds)

    with contextlib.closing(work(0)) as evaluator:
        before = torch.get_num_threads()
        torch.set_num_threads(trial.environment.get("threads", before))
        try:
            return evaluator(trial.arch, trial.seed, go_on)[0]
        finally:
            torch.set_num_threads(before)


def begin_remotely(
    index: int,
    *,
    work: StudyWork,
    arrays: Mapping[str, Any],
    mixers: Mapping[str, bytes],
    device_name: str,
    threads: str | None,
) -> Evaluator:
    """What evaluates candidates on another machine, which has been sent all that it needs.

    Args:
        index: of the worker.
        work: of the study.
        arrays: of ``archsearch.data.images.to_arrays``.
        mixers: the user's files, by name.
        device_name: the make of the study's device.
        threads: the user's own OMP_NUM_THREADS; Ray sets one, which the process that times must not have.

    Raises:
        ArchsearchError: this machine's device is of another make, so that its speeds would be others.
    """
    if threads is None:
        os.environ.pop("OMP_NUM_THREADS", None)
        torch.set_num_threads(len(available_cores()) or os.cpu_count() or 1)
    device = work.machine.device(index)
    if measured_name(device) != device_name and any(quantity.tier is Tier.MEASURED for quantity in work.quantities):
        raise ArchsearchError(f"this machine has {measured_name(device)}, and the study's speeds are of {device_name}")
    folder = Path(tempfile.mkdtemp(prefix="archsearch-mixers-")) if mixers else Path()
    for name, content in mixers.items():
        (folder / name).write_bytes(content)
    source = dataclasses.replace(work.source, mixers=tuple(folder / name for name in mixers))
    data = from_arrays(arrays).to(device, room_on(device))
    return Evaluator(dataclasses.replace(work, source=source, data=data), index)


@dataclass(frozen=True)
class TrainJob:
    """One training: an architecture, how, and with which seed."""

    arch: Arch
    proxy: ProxyRecipe
    seed: int


@dataclass(frozen=True)
class TrainWork:
    """What a worker needs to train proxy networks; called in the worker, once."""

    source: Source
    machine: Machine

    def __call__(self, index: int) -> Callable[[TrainJob, Say], Evaluation]:
        """From a job to its evaluation, which has the accuracy alone."""
        device = self.machine.device(index)
        self.machine.settle(index)
        _load_mixers(self.source, self.machine)
        trainings = Trainings(cache_folder() / "trainings", environment(device), reuse=not self.source.retrain)
        held: dict[tuple[int, int, int], ImageData] = {}

        def work(job: TrainJob, say: Say) -> Evaluation:
            wanted = (job.proxy.img_size, job.proxy.train_samples, job.proxy.val_samples)
            if wanted not in held:  # what another recipe trained on is given up first
                held.clear()
                with shared(identity(device), _say_who):
                    held[wanted] = load_for(job.proxy, self.source.dataset, self.source.root, device)
            objectives = parse_objectives("accuracy")
            task = Task(
                objectives, job.proxy, held[wanted], device, on_wait=_say_who, trainings=trainings, counted=False
            )
            return evaluate(job.arch, task, job.seed)

        return work


def train_all(jobs: Sequence[TrainJob], source: Source, machine: Machine) -> Iterator[tuple[int, Evaluation]]:
    """Trains all, several at a time; yields each with its index as soon as it is done.

    Every finished training is on disk by then, so that whatever ends this, the next run goes on.
    What ends it early ends the workers too.

    Raises:
        ArchsearchError: two workers died with the same training.
    """
    waiting, running = deque(range(len(jobs))), dict[int, int]()
    deaths = [0] * len(jobs)
    with Workers(TrainWork(source, machine), machine.workers, [__name__]) as workers:
        while waiting or running:
            for worker in workers.idle[: len(waiting)]:
                running[worker] = waiting.popleft()
                workers.start(worker, jobs[running[worker]])
            for event in workers.events():
                if isinstance(event, Done):
                    yield running.pop(event.worker), event.result
                elif isinstance(event, Died):
                    index = running.pop(event.worker)
                    deaths[index] += 1
                    if deaths[index] == ATTEMPTS:
                        raise ArchsearchError(
                            f"a training was tried {ATTEMPTS} times, and {event.reason}; "
                            "what was finished is kept: run the same command again, with fewer --workers"
                        )
                    waiting.appendleft(index)


def _load_mixers(source: Source, machine: Machine) -> None:
    if machine.workers:  # this process has them
        for path in source.mixers:
            load_mixers(path)


def _say_who(holder: str) -> None:
    print(f"waiting for the device: {holder}", file=sys.stderr)
