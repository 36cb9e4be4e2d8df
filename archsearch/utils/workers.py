"""Worker processes that are started once and do one job after another; the death of one costs its job at most.

Every worker has a pipe of its own and shares no lock with others, so that one killed at any moment blocks none of the
rest. Where the system has it, workers are forked from a server that has imported what they need, and start at once.
"""

import contextlib
import math
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from archsearch.errors import ArchsearchError, UserError
from archsearch.utils.time_limit import TimeLimit
from archsearch.utils.worker_process import MakeWork, context_for, start_process

#: Number of workers that may die with a job before the job is to blame.
ATTEMPTS = 2
#: Number of failed starts in a row after which to give up.
FALSE_STARTS = 3
#: Maximum seconds for the start of a process, which imports torch, finds its GPU and loads its data.
START_S = 600.0
#: Maximum seconds to wait for the end of a killed process; one that hangs in a driver is left behind.
END_S = 10.0
#: Maximum seconds to wait for events at a time, as systems limit that number.
MOST_S = 1e6


@dataclass(frozen=True)
class Said:
    """Progress of a job, whose worker waits for ``Workers.answer``.

    Attributes:
        worker: Index of the worker.
        what: Progress, of any type.
    """

    worker: int
    what: Any


@dataclass(frozen=True)
class Done:
    """The end of a job.

    Attributes:
        worker: Index of the worker.
        result: Result of the job.
    """

    worker: int
    result: Any


@dataclass(frozen=True)
class Died:
    """The death of a worker, and with it of its job; the next job gets a new process.

    Attributes:
        worker: Index of the worker.
        reason: Cause of death, in words.
        late: Whether it was killed because its job took too long.
        started: Whether it had been ready for jobs.
    """

    worker: int
    reason: str
    late: bool = False
    started: bool = True


Event = Said | Done | Died


@dataclass
class _Worker:
    process: Any
    pipe: "Connection[Any, Any]"
    limit: TimeLimit
    busy: bool = False
    ready: bool = False
    limit_s: float | None = None


class Workers:
    """A fixed number of workers, each started with its first job. A context manager that ends them."""

    def __init__(self, make: MakeWork, count: int, preload: Sequence[str] = ()) -> None:
        """Start nothing yet.

        Args:
            make: Makes the work of each worker, in the worker.
            count: Number of workers.
            preload: Modules that workers need and that take long to import.
        """
        self.make, self.count = make, count
        self._context = context_for(preload)
        self._workers: dict[int, _Worker] = {}
        self._false_starts = 0
        self._heard = time.monotonic()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    @property
    def idle(self) -> list[int]:
        """Indices of the workers that have no job."""
        return [i for i in range(self.count) if i not in self._workers or not self._workers[i].busy]

    def start(self, worker: int, job: Any, limit_s: float | None = None) -> None:
        """Give a job to an idle worker.

        Args:
            worker: Index of the worker.
            job: Job to do; picklable.
            limit_s: Seconds after which to kill the worker, not counting the start of its process; None for no limit.

        Raises:
            ArchsearchError: Processes cannot be started.
        """
        for _ in range(FALSE_STARTS):
            known = self._workers.get(worker) or self._begin(worker)
            try:
                known.pipe.send(job)
            except OSError:  # killed while it was idle
                self._bury(worker)
                continue
            known.busy, known.limit_s = True, limit_s
            if known.ready:
                known.limit = TimeLimit(limit_s or math.inf)
            return
        raise ArchsearchError("new worker processes end at once; see what ends this program's processes")

    def answer(self, worker: int, answer: Any, waits: bool = False) -> None:
        """Answer the progress that a worker reported, which lets it go on.

        Args:
            worker: Index of the worker.
            answer: Answer, of any type that can be pickled.
            waits: Whether the worker reported that it waits for its device.
        """
        known = self._workers[worker]
        if waits:
            known.limit.wait()
        with contextlib.suppress(OSError):  # its death is an event of its own
            known.pipe.send(answer)

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Wait until something happens, and yield it.

        Args:
            timeout: Maximum seconds to wait; None for any.

        Raises:
            ArchsearchError: Workers cannot be started; a ``UserError`` where the user has to change something.
        """
        busy = {index: worker for index, worker in self._workers.items() if worker.busy}
        away = time.monotonic() - self._heard  # this process was not here to answer
        for worker in busy.values():
            worker.limit.extend(away)
        waitable = {worker.pipe: index for index, worker in busy.items()}
        spoken = wait(list(waitable), self._patience(timeout))
        late = [i for i, worker in busy.items() if worker.limit.over and worker.pipe not in spoken]
        self._heard = time.monotonic()
        for pipe in spoken:
            event = self._receive(waitable[pipe])  # type: ignore[index]
            if event is not None:
                yield event
        for index in late:
            yield self._kill_late(index, busy[index])

    def close(self) -> None:
        """Kill all workers."""
        for worker in self._workers.values():
            worker.process.kill()
        for index in list(self._workers):
            self._bury(index)

    def _begin(self, index: int) -> _Worker:
        process, pipe = start_process(self._context, self.make, index)
        self._workers[index] = _Worker(process, pipe, TimeLimit(START_S))
        return self._workers[index]

    def _kill_late(self, index: int, worker: _Worker) -> Died:
        reason = f"took longer than {worker.limit.seconds:g} s"
        self._bury(index)
        if not worker.ready:
            self._false_start(f"a worker process {reason} to start")
        return Died(index, reason, late=worker.ready, started=worker.ready)

    def _bury(self, index: int) -> None:
        """Kill a worker, and wait for its end as long as that is reasonable."""
        worker = self._workers.pop(index)
        worker.busy = False
        worker.process.kill()
        worker.process.join(END_S)
        worker.pipe.close()

    def _patience(self, timeout: float | None) -> float:
        rests = [worker.limit.deadline - time.monotonic() for worker in self._workers.values() if worker.busy]
        return max(0.0, min(*rests, MOST_S if timeout is None else timeout, MOST_S))

    def _receive(self, index: int) -> Event | None:
        """Return the event of a worker's message; None where it is ready for its first job."""
        worker = self._workers[index]
        worker.limit.go_on()
        try:
            kind, what = worker.pipe.recv()
        except (EOFError, OSError):  # dead, perhaps in the middle of a message
            worker.process.join(END_S)  # wait for its own end, before it is killed
            self._bury(index)
            how = _end_of(worker)
            if not worker.ready:
                self._false_start(f"a worker process {how} while it started")
            return Died(index, f"its process {how}", started=worker.ready)
        if kind == "ready":
            worker.ready, self._false_starts = True, 0
            worker.limit = TimeLimit(worker.limit_s or math.inf)
            return None
        if kind == "said":
            return Said(index, what)
        if kind == "done":
            worker.busy = False
            return Done(index, what)
        self._bury(index)
        if isinstance(what, UserError):
            raise what
        if not worker.ready:
            self._false_start(str(what))
        return Died(index, str(what), started=worker.ready)

    def _false_start(self, reason: str) -> None:
        self._false_starts += 1
        if self._false_starts >= FALSE_STARTS:
            raise ArchsearchError(f"{reason}, {FALSE_STARTS} times in a row; see to that, or give fewer --workers")


def _end_of(worker: _Worker) -> str:
    """Return how a process ended, in words."""
    code = worker.process.exitcode
    if code is None:
        return "does not answer"
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL, which memory that runs out looks like)"
    return f"ended ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"
