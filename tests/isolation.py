"""A part of the machine for each worker of pytest-xdist: processor cores and a temporary folder of its own.

Tests lock the device, start workers, servers and browsers, and some count what else computes. Two that run at the same
time must not wait for each other's device lock or share files, nor start more threads than there are cores. Imported
before torch, which counts the cores it may use when it is loaded.
"""

import os
import shutil
import tempfile
from pathlib import Path

#: Name of this worker of pytest-xdist ("gw0"), empty in a run without workers.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")


def take_share(worker: str, count: int) -> Path:
    """Confine this process, and those it starts, to a share of the cores and to a temporary folder of its own.

    Args:
        worker: Name of the worker, whose number ends it.
        count: Number of workers that share the machine.

    Returns:
        The temporary folder. Its path is short, as those of sockets in it may have 107 characters.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        number = int(worker.removeprefix("gw")) % min(count, len(cores))
        os.sched_setaffinity(0, cores[number::count])
    folder = Path(tempfile.mkdtemp(prefix=f"{worker}-"))
    folder.chmod(0o755)  # PostgreSQL's user has to get through
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    return folder


def give_back() -> None:
    """Delete this worker's temporary folder."""
    if FOLDER is not None:
        shutil.rmtree(FOLDER, ignore_errors=True)


FOLDER = take_share(WORKER, int(os.environ["PYTEST_XDIST_WORKER_COUNT"])) if WORKER else None
