"""Trainings of many proxy networks in worker processes, without a study."""

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from archsearch.arch import Arch
from archsearch.benchmark.clocks import synchronize
from archsearch.data import ImageData, load_for
from archsearch.data.folder import cache_folder
from archsearch.errors import ArchsearchError
from archsearch.evaluate import COMPILER
from archsearch.evaluate.machine import Machine, Source
from archsearch.evaluate.pipeline import Task, evaluate, in_turn, training_on
from archsearch.evaluate.teacher import taught
from archsearch.nn.device import environment
from archsearch.objectives import parse_objectives
from archsearch.recipes import ProxyRecipe
from archsearch.train.cache import Trainings
from archsearch.train.capture import failed
from archsearch.train.turns import Line, SharedTurn, Turn
from archsearch.trial import Evaluation
from archsearch.utils.worker_events import ATTEMPTS, Died, Done
from archsearch.utils.worker_process import Last, Say, Work
from archsearch.utils.workers import Workers


@dataclass(frozen=True)
class TrainJob:
    """One training of a target's proxy network.

    Attributes:
        arch: Target architecture.
        proxy: Proxy recipe.
        seed: Seed of the training.
        tested: Whether it is judged on the test split.
        keeps_weights: Whether the cache keeps the weights of one that is (``details["accuracy"]`` names the file).
    """

    arch: Arch
    proxy: ProxyRecipe
    seed: int
    tested: bool = False
    keeps_weights: bool = True


@dataclass(frozen=True)
class TrainWork:
    """All that a worker needs to train proxy networks; call it once in the worker.

    Attributes:
        source: Data set and mixer files.
        machine: Devices and cores that the workers share.
    """

    source: Source
    machine: Machine

    def __call__(self, indices: Sequence[int]) -> list[Work]:
        """Return what each of these workers, which share this process, does with its jobs.

        Its result is an evaluation whose only score is the accuracy.
        """
        device = self.machine.device(indices[0])
        self.machine.restrict(indices[0])
        self.machine.load_mixers(self.source)
        trainings = Trainings(cache_folder() / "trainings", environment(device), reuse=not self.source.retrain)
        images, line = _Images(self.source, device, trainings), Line()
        turns = [SharedTurn(line, device) if len(indices) > 1 else Turn() for _ in indices]
        return [partial(_train, images, trainings, turn) for turn in turns]


class _Images:
    """The images of the recipe that was last asked for."""

    def __init__(self, source: Source, device: torch.device, trainings: Trainings) -> None:
        self.source, self.device, self.trainings = source, device, trainings
        self._held: dict[ProxyRecipe, ImageData] = {}

    def of(self, proxy: ProxyRecipe, turn: Turn) -> ImageData:
        """Return a recipe's images on the device; those of another recipe are dropped first."""
        if proxy not in self._held:
            with training_on(self.device, turn, _say_holder):
                if proxy not in self._held:  # another worker may have loaded them while this one waited
                    self._held.clear()
                    data = load_for(proxy, self.source.dataset, self.source.root, self.device)
                    self._held[proxy] = taught(data, proxy, self.device, self.trainings, _say_holder)
                    synchronize(self.device)  # streams of other trainings will read them
        return self._held[proxy]


def _train(images: _Images, trainings: Trainings, turn: Turn, job: TrainJob, say: Say) -> Evaluation | Last:
    """Train a proxy network."""

    def run(turn: Turn) -> Evaluation:
        data = images.of(job.proxy, turn)
        task = Task(
            parse_objectives("accuracy"),
            job.proxy,
            data,
            images.device,
            on_wait=_say_holder,
            trainings=trainings,
            counted=False,
            turn=turn,
            tested=job.tested,
            keeps_weights=job.keeps_weights,
        )
        return evaluate(job.arch, task, job.seed)

    evaluation = in_turn(turn, run)
    return Last(evaluation) if failed() else evaluation


def train_all(jobs: Sequence[TrainJob], source: Source, machine: Machine) -> Iterator[tuple[int, Evaluation]]:
    """Train several proxy networks at a time in workers, which end with this iterator, or one by one without any.

    A finished training is in the disk cache before it is yielded, so that an interrupted run continues from there.

    Args:
        jobs: Trainings to run.
        source: Data set and mixer files.
        machine: Devices, cores and number of workers.

    Yields:
        Index of a job and its evaluation, as soon as it is done.

    Raises:
        ArchsearchError: Two workers died with the same training.
    """
    if not machine.workers:
        yield from _train_here(jobs, source, machine)
        return
    waiting, running = deque(range(len(jobs))), dict[int, int]()
    deaths = [0] * len(jobs)
    with Workers(TrainWork(source, machine), machine.workers, [__name__, COMPILER], machine.together) as workers:
        while waiting or running:
            for worker in workers.idle[: len(waiting)]:
                running[worker] = waiting.popleft()
                workers.start(worker, jobs[running[worker]])
            for event in workers.events():
                if isinstance(event, Done):
                    yield running.pop(event.worker), event.result
                elif isinstance(event, Died):
                    index = running.pop(event.worker)
                    deaths[index] += not event.shared
                    if deaths[index] == ATTEMPTS:
                        raise ArchsearchError(
                            f"a training was tried {ATTEMPTS} times, and {event.reason}; "
                            "what was finished is kept: run the same command again, with fewer --workers"
                        )
                    waiting.appendleft(index)


def _train_here(jobs: Sequence[TrainJob], source: Source, machine: Machine) -> Iterator[tuple[int, Evaluation]]:
    """Train in this process."""
    (train,) = TrainWork(source, machine)([0])
    for place, job in enumerate(jobs):
        done = train(job, lambda said: None)
        yield place, done.result if isinstance(done, Last) else done


def _say_holder(holder: str | None) -> None:
    if holder:
        print(f"waiting for the device: {holder}", file=sys.stderr)
