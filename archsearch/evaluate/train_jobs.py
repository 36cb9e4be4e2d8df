"""Trainings of many proxy networks in worker processes, without a study."""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from archsearch.arch import Arch
from archsearch.benchmark.exclusive import training_lock
from archsearch.data import ImageData, load_for
from archsearch.data.folder import cache_folder
from archsearch.errors import ArchsearchError
from archsearch.evaluate.machine import Machine, Source
from archsearch.evaluate.pipeline import Task, evaluate
from archsearch.nn.device import environment, identity
from archsearch.objectives import parse_objectives
from archsearch.recipes import ProxyRecipe
from archsearch.train.cache import Trainings
from archsearch.trial import Evaluation
from archsearch.utils.worker_process import Say
from archsearch.utils.workers import ATTEMPTS, Died, Done, Workers


@dataclass(frozen=True)
class TrainJob:
    """One training of a target's proxy network.

    Attributes:
        arch: Target architecture.
        proxy: Proxy recipe.
        seed: Seed of the training.
    """

    arch: Arch
    proxy: ProxyRecipe
    seed: int


@dataclass(frozen=True)
class TrainWork:
    """All that a worker needs to train proxy networks; call it once in the worker.

    Attributes:
        source: Data set and mixer files.
        machine: Devices and cores that the workers share.
    """

    source: Source
    machine: Machine

    def __call__(self, index: int) -> Callable[[TrainJob, Say], Evaluation]:
        """Return a function from a job to its evaluation, whose only score is the accuracy."""
        device = self.machine.device(index)
        self.machine.restrict(index)
        self.machine.load_mixers(self.source)
        trainings = Trainings(cache_folder() / "trainings", environment(device), reuse=not self.source.retrain)
        objectives = parse_objectives("accuracy")
        held: dict[tuple[int, int, int], ImageData] = {}

        def work(job: TrainJob, say: Say) -> Evaluation:
            wanted = (job.proxy.img_size, job.proxy.train_samples, job.proxy.val_samples)
            if wanted not in held:  # the images of another recipe are dropped first
                held.clear()
                with training_lock(identity(device), _say_holder):
                    held[wanted] = load_for(job.proxy, self.source.dataset, self.source.root, device)
            data = held[wanted]
            task = Task(objectives, job.proxy, data, device, on_wait=_say_holder, trainings=trainings, counted=False)
            return evaluate(job.arch, task, job.seed)

        return work


def train_all(jobs: Sequence[TrainJob], source: Source, machine: Machine) -> Iterator[tuple[int, Evaluation]]:
    """Train several proxy networks at a time, in worker processes that end with this iterator.

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


def _say_holder(holder: str | None) -> None:
    if holder:
        print(f"waiting for the device: {holder}", file=sys.stderr)
