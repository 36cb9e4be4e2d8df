"""Several trainings at once, in processes of their own that share the device.

Two processes of one thread each train 1.5 times as many small networks per second on two cores as
one process of two threads (``benchmarks/several.py``): small networks' operators are too short to be
worth splitting.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import torch

from archsearch.arch import Arch
from archsearch.data import ImageData, load_for
from archsearch.data.folder import cache_folder
from archsearch.errors import ArchsearchError
from archsearch.evaluate import Task, evaluate
from archsearch.measure.device import environment
from archsearch.nn import load_mixers
from archsearch.objectives import parse_objectives
from archsearch.recipes import Proxy
from archsearch.train.records import Trainings
from archsearch.trial import Evaluation


@dataclass(frozen=True)
class Source:
    """Where workers find what they train on.

    Attributes:
        dataset: a key of ``archsearch.recipes.DATASETS``.
        root: of a folder, or of downloads.
        device: that trains.
        mixers: files with mixers of the user's.
        retrain: whether known trainings are made anew.
    """

    dataset: str
    root: Path | None
    device: str
    mixers: tuple[Path, ...] = ()
    retrain: bool = False


@dataclass(frozen=True)
class TrainJob:
    """One training: an architecture, how, and with which seed."""

    arch: Arch
    proxy: Proxy
    seed: int


def default_workers(device: torch.device) -> int:
    """A process per core, or on a GPU one alone."""
    return (os.cpu_count() or 1) if device.type == "cpu" else 1


def train_all(jobs: Sequence[TrainJob], source: Source, workers: int) -> Iterator[tuple[int, Evaluation]]:
    """Trains all, several at a time; yields each with its index as soon as it is done.

    Every finished training is on disk by then, so that whatever ends this, the next run goes on.
    What ends it early ends the workers too.

    Raises:
        ArchsearchError: a worker died.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(source,))
    try:
        futures = {pool.submit(_train, job): index for index, job in enumerate(jobs)}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    except BrokenProcessPool:
        raise ArchsearchError(
            "a process that trains ended unexpectedly, perhaps for want of memory; "
            "what was finished is kept: run the same command again, with fewer --workers"
        ) from None
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_source: Source
_held: dict[tuple[int, int, int], ImageData] = {}


def _begin(source: Source) -> None:
    """In a new worker: one thread, whatever the number of workers, as that is part of what a training depends on."""
    global _source
    _source = source
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # reaches all processes of a terminal; the parent's word is enough
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    for path in source.mixers:
        load_mixers(path)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _say_who(holder: str) -> None:
    print(f"waiting for the device: {holder}", file=sys.stderr)


def _train(job: TrainJob) -> Evaluation:
    device = torch.device(_source.device)
    data = _data(_source, job.proxy)
    trainings = Trainings(cache_folder() / "trainings", environment(device), reuse=not _source.retrain)
    objectives = parse_objectives("accuracy")
    task = Task(objectives, job.proxy, data, device, on_wait=_say_who, trainings=trainings, counted=False)
    return evaluate(job.arch, task, job.seed)


def _data(source: Source, proxy: Proxy) -> ImageData:
    """What the last job trained on, where this one asks for the same; else that is given up first."""
    wanted = (proxy.img_size, proxy.train_samples, proxy.val_samples)
    if wanted not in _held:
        _held.clear()
        _held[wanted] = load_for(proxy, source.dataset, source.root, torch.device(source.device))
    return _held[wanted]
