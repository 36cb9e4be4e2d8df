"""A temporary folder for each worker of pytest-xdist, and threads that sleep while they wait.

Tests lock the device, and start workers, servers and browsers. Two that run at the same time must not wait for each
other's device lock nor share files: both live in the temporary folder. Imported before torch, whose threads read the
environment when they are loaded.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

#: Name of this worker of pytest-xdist ("gw0"), empty in a run without workers.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")


def isolate(worker: str) -> Path:
    """Give this process, and those it starts, a temporary folder of their own.

    Args:
        worker: Name of the worker, with which the folder's name begins.

    Returns:
        The folder. Its path is short, as those of sockets in it may have 107 characters.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{worker}-"))
    folder.chmod(0o755)  # PostgreSQL's user has to get through
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a core that spins is one that the other worker lacks
    return folder


if WORKER:
    # Registered before multiprocessing registers its own tidying, which therefore still finds its folder.
    atexit.register(shutil.rmtree, isolate(WORKER), ignore_errors=True)
