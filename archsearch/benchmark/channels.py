"""Lines to and from a process that times, of one's own or shared with other processes of one run."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

from filelock import FileLock

import archsearch
from archsearch.benchmark.serving import HERE
from archsearch.errors import ArchsearchError

#: Settings of OpenMP by which users say how threads wait for each other.
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
#: Seconds that a new shared process may take until it can be connected to.
LISTENS_S = 60.0


class Program:
    """A process that times, as the process that starts it sees it."""

    starts = True  # as in ``Shared``

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Start it.

        Args:
            settings: What ``archsearch.benchmark.worker`` documents.
        """
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "archsearch.benchmark.worker", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=_environment(),
            text=True,
            encoding="utf-8",
        )

    def send(self, line: str) -> None:
        """Send a job.

        Raises:
            OSError: The process has ended.
        """
        assert self.process.stdin is not None  # noqa: S101 - it is a pipe
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def lines(self) -> Iterator[str]:
        """Yield what the process says, until it ends."""
        assert self.process.stdout is not None  # noqa: S101 - it is a pipe
        for line in self.process.stdout:
            if not line.endswith("\n"):  # it died while it wrote
                return
            yield line

    def ending(self) -> tuple[int | None, str]:
        """Return its exit code and the last line that it wrote to stderr."""
        code = self.process.wait()
        self._stderr.seek(0)
        return code, self._stderr.read().decode(errors="replace").strip().rpartition("\n")[2]

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self._stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue


class Shared:
    """A connection to the process that times for all processes of a run; the first of them starts it."""

    def __init__(self, settings: Mapping[str, Any], address: Path) -> None:
        """Connect.

        Args:
            settings: What ``archsearch.benchmark.worker`` documents; the same for all processes of the run.
            address: File in which the process says where it listens.

        Raises:
            ArchsearchError: It cannot be started.
        """
        self._program: Program | None = None
        with FileLock(address.with_name("start.lock")):
            connection = _connect(address)
            if connection is None:
                self._program = Program({**settings, "address": str(address)})
                connection = self._first(self._program, address)
        self._connection = connection

    @property
    def starts(self) -> bool:
        """Whether this process has started it."""
        return self._program is not None

    def send(self, line: str) -> None:
        """Send a job.

        Raises:
            OSError: The process has ended.
        """
        self._connection.send(line)

    def lines(self) -> Iterator[str]:
        """Yield what the process says, until it ends."""
        while True:
            try:
                line: str = self._connection.recv()
            except (EOFError, OSError):
                return
            yield line

    def ending(self) -> tuple[int | None, str]:
        """Return the exit code, where this process has started it."""
        return (None, "") if self._program is None else self._program.ending()

    def close(self) -> None:
        """Disconnect; the process ends with its last connection, or where it was at a job of this one."""
        self._connection.close()
        if self._program is not None and self._program.process.poll() is not None:
            self._program.close()

    def _first(self, program: Program, address: Path) -> "Connection[Any, Any]":
        end = time.monotonic() + LISTENS_S
        while time.monotonic() < end and program.process.poll() is None:
            if (connection := _connect(address)) is not None:
                return connection
            time.sleep(0.02)
        program.process.kill()
        raise ArchsearchError(f"a process that times cannot be started ({words_of(program.ending())})")


def _connect(address: Path) -> "Connection[Any, Any] | None":
    """Return a connection; None where no process listens."""
    try:
        found = json.loads(address.read_text())
        return Client((HERE, found["port"]), authkey=bytes.fromhex(found["key"]))
    except (OSError, ValueError, KeyError, EOFError, AuthenticationError):
        return None


def words_of(ending: tuple[int | None, str]) -> str:
    """Return how a process ended, in words.

    Args:
        ending: Exit code, if known, and the last line on stderr.

    >>> words_of((1, "no memory")), words_of((-9, ""))
    ('exit code 1, no memory', 'SIGKILL, as when memory runs out')
    """
    code, last = ending
    if code is None:
        return "its reason is not known here"
    if code == -signal.SIGKILL:
        last = "as when memory runs out"
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return ", ".join(filter(None, (how, last)))


def _environment() -> dict[str, str]:
    """Environment of a process that times.

    Its threads sleep while they wait for each other. By default they spin, so that a core that another program takes
    for a moment stops all of them: on a busy machine steps take three times as long and scatter by a factor of ten;
    on a quiet one there is no difference (``benchmarks/busy.py``).
    """
    path = os.pathsep.join([str(Path(archsearch.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    policy = {} if any(name in os.environ for name in WAITING) else {"OMP_WAIT_POLICY": "PASSIVE"}
    return {**os.environ, **policy, "PYTHONPATH": path.rstrip(os.pathsep)}
