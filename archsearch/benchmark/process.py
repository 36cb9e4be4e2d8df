"""Start a process that times, send it jobs, and notice when it dies."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import archsearch
from archsearch.benchmark.jobs import Job, Measured
from archsearch.errors import ArchsearchError, OptionError

#: Progress callback that takes an event: its name under ``event``, and its details.
Listen = Callable[[Mapping[str, Any]], None]


class ProcessDied(ArchsearchError):
    """The process that times has ended.

    Attributes:
        index: Index of the network that it was loading or warming up; None if unknown.
    """

    def __init__(self, reason: str, index: int | None) -> None:
        super().__init__(reason)
        self.index = index


class TimingProcess:
    """A process that holds networks on a device and times them; it starts when this object is made.

    Attributes:
        facts: Facts about the device: ``device``, ``kind``, ``name``, ``tf32``.
        listen: Progress callback.
    """

    def __init__(
        self,
        device: str,
        mixers: Sequence[Path] = (),
        listen: Listen = lambda event: None,
        cores: Sequence[int] = (),
    ) -> None:
        """Start the process.

        Args:
            device: Name as for ``--device``.
            mixers: Files of the user's own mixers.
            listen: Progress callback.
            cores: Cores that the process may use; none for those of this process.

        Raises:
            OptionError: There is no such device, or a file of mixers is wrong.
        """
        self.listen = listen
        self._index: int | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        path = os.pathsep.join([str(Path(archsearch.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "archsearch.benchmark.worker", device, ",".join(map(str, cores)), *map(str, mixers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)},
            text=True,
            encoding="utf-8",
        )
        try:
            self.facts = self._await("ready")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "TimingProcess":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def run(self, job: Job) -> list[Measured]:
        """Run a job; return the results of its networks, in order.

        Raises:
            OptionError: The device cannot do what the job asks for.
            ProcessDied: The process has ended; this object is of no more use.
            ArchsearchError: It failed in an unexpected way.
        """
        self._index = None
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            self._process.stdin.write(json.dumps(job.to_dict()) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        return [Measured.from_dict(result) for result in self._await("done")["results"]]

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def _await(self, wanted: str) -> Mapping[str, Any]:
        """Wait for an event of a name, and pass others on to ``listen``; raise what the process reports as errors."""
        for event in self._events():
            if event["event"] == wanted:
                return event
            if event["event"] == "refused":
                raise OptionError(event["error"])
            if event["event"] == "lost":
                raise ProcessDied(f"the device was lost: {event['error']}", event["index"])
            if event["event"] == "failed":
                error = ArchsearchError(event["error"])
                error.add_note(event["traceback"])
                raise error
            self._index = event.get("index") if event["event"] in ("loading", "warming") else None
            self.listen(event)
        raise self._died()

    def _events(self) -> Iterator[Mapping[str, Any]]:
        """Events as the process writes them, until it ends."""
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        for line in self._process.stdout:
            if not line.endswith("\n"):  # it died while it wrote
                return
            yield json.loads(line)

    def _died(self) -> ProcessDied:
        """The error that says how the process ended."""
        code = self._process.wait()
        self._stderr.seek(0)
        last = self._stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if code == -signal.SIGKILL:
            last = "as when memory runs out"
        return ProcessDied(f"the process that timed it ended ({', '.join(filter(None, (how, last)))})", self._index)
