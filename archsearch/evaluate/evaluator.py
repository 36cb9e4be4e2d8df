"""Evaluation of a study's candidates, in worker processes or in this one.

Workers import this module when they start: it must not load Optuna, SQLAlchemy, SciPy or pandas.
"""

import contextlib
import dataclasses
import os
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from archsearch.arch import Arch
from archsearch.benchmark.clocks import synchronize
from archsearch.benchmark.exclusive import training_lock
from archsearch.benchmark.reported import reported
from archsearch.benchmark.speeds import Speeds
from archsearch.benchmark.timer import Timer, Timings
from archsearch.benchmark.timing import Timing
from archsearch.data import ImageData, load_for
from archsearch.data.folder import cache_folder
from archsearch.data.images import from_arrays
from archsearch.data.stream import room_on
from archsearch.errors import ArchsearchError
from archsearch.evaluate.constraint import Constraint
from archsearch.evaluate.costs import Limits
from archsearch.evaluate.machine import Machine, Source, available_cores
from archsearch.evaluate.pipeline import Task, evaluate, in_turn, training_on
from archsearch.evaluate.teacher import taught
from archsearch.nn.device import device_name as model_of
from archsearch.nn.device import environment, identity
from archsearch.objectives import Objective, Tier
from archsearch.recipes import BenchRecipe, ProxyRecipe
from archsearch.train.cache import Trainings
from archsearch.train.capture import failed
from archsearch.train.turns import Line, SharedTurn, Turn
from archsearch.trial import Evaluation, GoingOn, OnWait, ProgressCallback, SeedDone, Trial, Waiting, WorkerEvent


@dataclass(frozen=True)
class StudyWork:
    """All that a worker needs to evaluate the candidates of a study; call it once in the worker.

    Attributes:
        source: Data set and mixer files.
        machine: Devices and cores that the workers share.
        objectives: Objectives of the study.
        proxy: Proxy recipe.
        bench: Recipe for timing target networks.
        remeasure: Whether to ignore cached timings.
        data: Images already on the device; None to load them in the worker.
        constraints: Constraints on counted and measured quantities.
        baseline: Architecture that relative constraints refer to.
        seeds: Maximum number of training seeds per candidate.
        run: Name of this run of the study, whose workers on one machine share a process that times.
        fixed: Fixed seconds per step of the reference, by kind of step.
        speeds: Timings of another machine to take instead of timing on this one.
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
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    fixed: Mapping[str, float] = field(default_factory=dict)
    speeds: Speeds | None = None

    @property
    def quantities(self) -> tuple[Objective, ...]:
        """Objectives and constrained quantities."""
        return tuple(dict.fromkeys((*self.objectives, *(constraint.objective for constraint in self.constraints))))

    def __call__(self, index: int) -> "Evaluator":
        """Return the evaluator of a worker, given the worker's index."""
        return Evaluator(self, index)

    def several(self, indices: Sequence[int]) -> list["Evaluator"]:
        """Return the evaluators of workers that share this process: they train side by side on the same images."""
        whole = environment(self.machine.device(indices[0]))
        first = Evaluator(self, indices[0], whole)
        shared = dataclasses.replace(self, data=first.task.data)
        evaluators = [first, *(Evaluator(shared, index, whole) for index in indices[1:])]
        synchronize(first.device)  # the images are copied on a stream that none of them uses
        line = Line()
        for evaluator in evaluators:
            evaluator.turn = SharedTurn(line, evaluator.device)
        return evaluators


class Evaluator:
    """Evaluates candidates one after another, with data, timer and caches that it keeps.

    Attributes:
        device: Device that trains.
        turn: Turn of the evaluations, where others share their process.
    """

    def __init__(self, work: StudyWork, index: int, whole: Mapping[str, Any] | None = None) -> None:
        """Load the data and start nothing else.

        Args:
            work: Study to evaluate candidates of.
            index: Index of the worker.
            whole: Environment before this process was restricted to its share of the machine; None if it is not yet.
        """
        source, machine, self.speeds = work.source, work.machine, work.speeds
        self.device = machine.device(index)
        self.turn = self._now = Turn()
        whole = whole or environment(self.device)  # a timing has the machine to itself, whatever this worker's share is
        machine.restrict(index)
        machine.load_mixers(source)
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
            run=work.run,
            fixed=work.fixed,
        )
        trainings = Trainings(cache_folder() / "trainings", environment(self.device), reuse=not source.retrain)
        with training_lock(identity(self.device)):  # data may be copied to a GPU on which another process is timing
            data = work.data or load_for(work.proxy, source.dataset, source.root, self.device)
        within = work.bench.known_within
        limits = Limits(work.constraints, work.baseline, self._time, within) if work.baseline else None
        self._teach = any(objective.tier is Tier.TRAINED for objective in work.objectives)
        self.task = Task(
            work.objectives,
            work.proxy,
            data,
            self.device,
            self._time,
            trainings=trainings,
            limits=limits,
            seeds=work.seeds,
            run=work.run,
            known_within=within,
        )

    def __call__(
        self, arch: Arch, seed: int, report: ProgressCallback, known: Evaluation | None = None
    ) -> tuple[Evaluation, dict[str, Any]]:
        """Evaluate a candidate.

        Args:
            arch: Target architecture.
            seed: Seed of its first training.
            report: Progress callback, called after epochs and seeds, and when the device is taken.
            known: Results that need not be found out again.

        Returns:
            The evaluation, and the environment that it was made in.
        """

        def on_wait(holder: str | None) -> None:  # called only while others have their turn
            report(GoingOn() if holder is None else Waiting(holder))

        def report_apart(event: WorkerEvent) -> bool:
            with self._now.apart():
                return report(event)

        def run(turn: Turn) -> Evaluation:
            self._now = turn
            if self._teach:
                self._learn(turn, on_wait)
            task = dataclasses.replace(self.task, on_wait=on_wait, turn=turn)
            return evaluate(arch, task, seed, report_apart, known)

        self.timer.on_wait = on_wait
        return in_turn(self.turn, run, on_wait), environment(self.device)

    def _learn(self, turn: Turn, on_wait: OnWait) -> None:
        """Have the data set's teacher trained, where the recipe has one: before a candidate's seconds count."""
        task, trainings = self.task, self.task.trainings
        assert trainings is not None  # noqa: S101 - it is made with them
        with training_on(self.device, turn, on_wait, task.run):
            self.task = dataclasses.replace(task, data=taught(task.data, task.proxy, self.device, trainings, on_wait))
        self._teach = False

    @property
    def spent(self) -> bool:
        """Whether a failed capture has left this process in a state in which it should evaluate nothing more."""
        return failed()

    def _time(self, arch: Arch, kinds: tuple[str, ...], anew: bool = False) -> Mapping[str, Timing]:
        """Time a network, in another process; or look its timing up where speeds are another machine's."""
        if self.speeds is not None:
            return self.speeds(arch, kinds)
        with self._now.apart():
            return self.timer(arch, kinds, anew)

    def close(self) -> None:
        """End the timing process."""
        self.timer.close()


def evaluate_again(work: StudyWork, trial: Trial) -> Evaluation:
    """Evaluate the architecture of a finished trial again, in this process.

    Trains with the trial's seeds and number of threads: on one machine, with the same versions, its accuracy is
    the same to the bit.
    """
    seeds = len(trial.evaluation.accuracies) or 1

    def go_on(event: WorkerEvent) -> bool:
        return not isinstance(event, SeedDone) or len(event.known.accuracies) < seeds

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
    """Return an evaluator on another machine of a cluster, from data and mixer files sent there.

    Args:
        index: Index of the worker.
        work: Study to evaluate candidates of.
        arrays: Image set, as ``archsearch.data.images.to_arrays`` returns it.
        mixers: Contents of the user's mixer files, by name.
        device_name: Model of the study's device.
        threads: The user's own OMP_NUM_THREADS. Ray sets one, which the timing process must not inherit.

    Raises:
        ArchsearchError: This machine's device is another model, whose speeds would not compare.
    """
    if threads is None:
        os.environ.pop("OMP_NUM_THREADS", None)
        torch.set_num_threads(len(available_cores()) or os.cpu_count() or 1)
    device = work.machine.device(index)
    measured = any(quantity.tier is Tier.MEASURED for quantity in work.quantities)
    if model_of(device) != device_name and measured and work.speeds is None:
        raise ArchsearchError(f"this machine has {model_of(device)}, and the study's speeds are of {device_name}")
    folder = Path(tempfile.mkdtemp(prefix="archsearch-mixers-")) if mixers else Path()
    for name, content in mixers.items():
        (folder / name).write_bytes(content)
    source = dataclasses.replace(work.source, mixers=tuple(folder / name for name in mixers))
    data = from_arrays(arrays).to(device, room_on(device))
    return Evaluator(dataclasses.replace(work, source=source, data=data), index)
