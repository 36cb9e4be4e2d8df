"""The devices and cores of a machine, and how worker processes share them.

Two processes of one thread each train 1.5 times as many small networks per second on two cores as
one process of two threads (``benchmarks/several.py``): the operators of small networks are too short to be
worth splitting.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from archsearch.nn import load_mixers
from archsearch.nn.device import pick_device

#: Bytes of memory to allow for a worker on a CPU: torch, its networks, and its timing process.
WORKER_BYTES = 2 << 30
#: Number of candidates that a process of a GPU trains side by side, and bytes of the GPU's memory to allow for each.
SIDE_BY_SIDE, CANDIDATE_BYTES = 4, 4 << 30


@dataclass(frozen=True)
class Source:
    """The data set and the mixer files that workers use.

    Attributes:
        dataset: Key of ``archsearch.recipes.DATASETS``.
        root: Folder of the images, or of downloads.
        mixers: Python files with the user's own mixers.
        retrain: Whether to ignore cached trainings.
    """

    dataset: str
    root: Path | None
    mixers: tuple[Path, ...] = ()
    retrain: bool = False


@dataclass(frozen=True)
class Machine:
    """The devices and cores that workers share.

    Attributes:
        devices: Device names, assigned to workers in turn.
        workers: Number of workers; 0 to work in this process.
        cores: Logical cores that may be used; empty where the system does not tell.
        threads: Threads per worker; 0 for an equal share of the cores.
        beside: Maximum number of workers that share a process; 0 for ``SIDE_BY_SIDE`` on a GPU and 1 elsewhere.
    """

    devices: tuple[str, ...]
    workers: int
    cores: tuple[int, ...]
    threads: int = 0
    beside: int = 0

    @classmethod
    def here(cls, devices: Sequence[str], workers: int, threads: int = 0) -> "Machine":
        """Return this machine, with all cores that this process may use."""
        return cls(tuple(devices), workers, available_cores(), threads)

    def device(self, index: int) -> torch.device:
        """Return the device of a worker."""
        return torch.device(self.devices[index % len(self.devices)])

    @property
    def together(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the workers that share a process, for each process with several.

        >>> Machine(("cuda:0", "cuda:1"), 6, ()).together, Machine(("cpu",), 2, ()).together
        (((0, 2, 4), (1, 3, 5)), ())
        >>> Machine(("cuda:0",), 6, ()).together
        ((0, 1, 2, 3), (4, 5))
        """
        beside = self.beside or (SIDE_BY_SIDE if torch.device(self.devices[0]).type == "cuda" else 1)
        of_devices = [range(first, self.workers, len(self.devices)) for first in range(len(self.devices))]
        groups = [tuple(own[at : at + beside]) for own in of_devices for at in range(0, len(own), beside)]
        return tuple(group for group in groups if len(group) > 1)

    def share(self, index: int) -> tuple[int, ...]:
        """Return the cores of a worker, which are its own where there are at least as many cores as workers.

        >>> [Machine(("cpu",), 3, tuple(range(8))).share(i) for i in range(3)]
        [(0, 1), (2, 3, 4), (5, 6, 7)]
        >>> [Machine(("cpu",), 3, (4, 5)).share(i) for i in range(3)]
        [(4,), (5,), (4,)]
        """
        count, cores = max(1, self.workers), self.cores
        if len(cores) < count:
            return cores[index % len(cores) : index % len(cores) + 1] if cores else ()
        return cores[index * len(cores) // count : (index + 1) * len(cores) // count]

    def restrict(self, index: int) -> None:
        """Restrict this process, a new worker, to its share of cores and threads; without workers, do nothing."""
        if not self.workers:
            return
        share = self.share(index)
        if share and self.device(index).type == "cpu":
            os.sched_setaffinity(0, share)
        # The same number for all workers, as a training's result depends on it.
        torch.set_num_threads(self.threads or max(1, len(self.cores or range(os.cpu_count() or 1)) // self.workers))

    def load_mixers(self, source: Source) -> None:
        """Load the user's mixer files in a worker; without workers, this process has loaded them already."""
        if self.workers:
            for path in source.mixers:
                load_mixers(path)


def available_cores() -> tuple[int, ...]:
    """Return the logical cores that this process may use; empty where the system does not tell."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def devices_for(name: str) -> tuple[str, ...]:
    """Return the devices that workers share for a ``--device`` option.

    Args:
        name: Name of a device; ``auto`` and ``cuda`` mean all GPUs of the first one's model.

    Raises:
        OptionError: There is no such device.
    """
    first = pick_device(name)
    if first.type != "cuda" or name not in ("auto", "cuda"):
        return (str(first),)
    model = torch.cuda.get_device_name(first)
    alike = (i for i in range(torch.cuda.device_count()) if torch.cuda.get_device_name(i) == model)
    return tuple(f"cuda:{i}" for i in alike)


def machine_for(name: str, workers: int | None, threads: int = 0) -> Machine:
    """Return this machine for a ``--device`` and a ``--workers`` option.

    Args:
        name: Name of a device, as for ``devices_for``.
        workers: Number of workers, 0 to work in this process; None for the default.
        threads: Threads per worker; 0 for an equal share of the cores.

    Raises:
        OptionError: There is no such device.
    """
    devices = devices_for(name)
    return Machine.here(devices, default_workers(devices) if workers is None else workers, threads)


def default_workers(devices: Sequence[str]) -> int:
    """Return the default number of workers: ``SIDE_BY_SIDE`` per GPU, one per core on a CPU, if memory allows."""
    first = torch.device(devices[0])
    if first.type == "cuda":
        room = torch.cuda.get_device_properties(first).total_memory // CANDIDATE_BYTES
        return len(devices) * max(1, min(SIDE_BY_SIDE, room))
    if first.type != "cpu":
        return len(devices)
    cores = len(available_cores()) or os.cpu_count() or 1
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return cores
    return max(1, min(cores, memory // WORKER_BYTES))
