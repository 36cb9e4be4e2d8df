"""Worker processes that are started once and do one job after another; the death of one costs its job at most.

Every worker has a pipe of its own and shares no lock with others, so that one killed at any moment blocks none of the
rest. Where the system has it, workers are forked from a server that has imported what they need, and start at once.

Several workers may share a process, in a thread each. Its death costs the jobs of all of them; as it cannot be told
which was to blame, none is, and from then on these workers have a process each.
"""

import contextlib
import math
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from archsearch.errors import ArchsearchError, UserError
from archsearch.utils.time_limit import TimeLimit
from archsearch.utils.worker_events import Died, Done, Event, Said
from archsearch.utils.worker_process import MakeWorks, context_for, start_process

#: Number of failed starts in a row after which to give up.
FALSE_STARTS = 3
#: Maximum seconds for the start of a process, which imports torch, finds its GPU and loads its data.
START_S = 600.0
#: Maximum seconds to wait for the end of a killed process; one that hangs in a driver is left behind.
END_S = 10.0
#: Maximum seconds to wait for events at a time, as systems limit that number.
MOST_S = 1e6


@dataclass
class _Process:
    """A process and its workers by index; ``retiring``: whether it is replaced when their jobs are done."""

    process: Any
    workers: "dict[int, _Worker]" = field(default_factory=dict)
    retiring: bool = False

    @property
    def busy(self) -> "dict[int, _Worker]":
        return {index: worker for index, worker in self.workers.items() if worker.busy}


@dataclass
class _Worker:
    home: _Process
    pipe: "Connection[Any, Any]"
    limit: TimeLimit
    busy: bool = False
    ready: bool = False
    limit_s: float | None = None


class Workers:
    """A fixed number of workers, each started with its first job. A context manager that ends them."""

    def __init__(
        self, make: MakeWorks, count: int, preload: Sequence[str] = (), together: Iterable[Sequence[int]] = ()
    ) -> None:
        """Start nothing yet.

        Args:
            make: Makes the work of each worker, in the worker.
            count: Number of workers, at least 1.
            preload: Modules that workers need and that take long to import.
            together: Indices of the workers that share a process, for each such process.

        Raises:
            ValueError: The number of workers is below 1.
        """
        if count < 1:
            raise ValueError(f"count is {count}; a job needs at least 1 worker")
        self.make, self.count = make, count
        self._context = context_for(preload)
        self._together = {index: tuple(group) for group in together for index in group}
        self._workers: dict[int, _Worker] = {}
        self._news: list[Event] = []
        self._false_starts = 0
        self._heard = time.monotonic()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    @property
    def idle(self) -> list[int]:
        """Indices of the workers that have no job."""
        known = self._workers
        return [i for i in range(self.count) if i not in known or not (known[i].busy or known[i].home.retiring)]

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
                self._news += self._dead(known.home)
                continue
            known.busy, known.limit_s = True, limit_s
            known.limit = TimeLimit((limit_s or math.inf) if known.ready else START_S)
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
        news, self._news = self._news, []
        yield from news
        busy = {index: worker for index, worker in self._workers.items() if worker.busy}
        away = time.monotonic() - self._heard  # this process was not here to answer
        for worker in busy.values():
            worker.limit.extend(away)
        waitable = {worker.pipe: index for index, worker in busy.items()}
        spoken = wait(list(waitable), 0.0 if news else self._patience(timeout))
        late = [i for i, worker in busy.items() if worker.limit.over and worker.pipe not in spoken]
        self._heard = time.monotonic()
        for pipe in spoken:
            index = waitable[pipe]  # type: ignore[index]
            if self._workers.get(index) is busy[index]:  # not one whose process has ended meanwhile
                yield from self._receive(index)
        for index in late:
            if self._workers.get(index) is busy[index]:
                yield from self._kill_late(index)

    def close(self) -> None:
        """Kill all workers."""
        homes = [worker.home for worker in self._workers.values()]
        for home in homes:
            home.process.kill()
        for home in homes:
            self._end(home)

    def _begin(self, index: int) -> _Worker:
        group = self._together.get(index, (index,))
        process, pipes = start_process(self._context, self.make, group)
        home = _Process(process)
        for member, pipe in zip(group, pipes, strict=True):
            home.workers[member] = self._workers[member] = _Worker(home, pipe, TimeLimit(START_S))
        return self._workers[index]

    def _kill_late(self, index: int) -> list[Event]:
        worker = self._workers[index]
        reason = f"took longer than {worker.limit.seconds:g} s"
        others = worker.home.busy.keys() - {index}
        self._end(worker.home)
        if not worker.ready:
            self._false_start(f"a worker process {reason} to start")
        ended = "its process ended with another one's job, which took too long"
        return [
            Died(index, reason, late=worker.ready, started=worker.ready),
            *(Died(other, ended, shared=True) for other in sorted(others)),
        ]

    def _end(self, home: _Process) -> None:
        """Kill a process, and wait for its end as long as that is reasonable."""
        home.process.kill()
        home.process.join(END_S)
        for index, worker in home.workers.items():
            worker.pipe.close()
            if self._workers.get(index) is worker:
                del self._workers[index]

    def _dead(self, home: _Process, reason: str = "") -> list[Event]:
        """Return the ends of the jobs of a process that has ended, or has to."""
        if not reason:
            home.process.join(END_S)  # wait for its own end, before it is killed
        events: list[Event] = []
        for index in list(home.busy):
            for kind, what in self._last_words(index):
                if kind in ("done", "last"):
                    home.workers[index].busy = False
                    events.append(Done(index, what))
                reason = str(what) if kind == "failed" else reason
        busy = home.busy
        self._end(home)
        how = _end_of(home.process)
        if len(busy) > 1:
            for index in home.workers:
                self._together.pop(index, None)
        if busy and not any(worker.ready for worker in busy.values()):
            self._false_start(reason or f"a worker process {how} while it started")
        reason = reason or f"its process {how}"
        return events + [Died(i, reason, started=w.ready, shared=len(busy) > 1) for i, w in busy.items()]

    def _last_words(self, index: int) -> Iterator[tuple[str, Any]]:
        """What a worker sent before its process ended."""
        worker = self._workers[index]
        with contextlib.suppress(EOFError, OSError):
            while worker.pipe.poll():
                kind, what = worker.pipe.recv()
                worker.ready |= kind == "ready"
                yield kind, what

    def _patience(self, timeout: float | None) -> float:
        rests = [worker.limit.deadline - time.monotonic() for worker in self._workers.values() if worker.busy]
        return max(0.0, min(*rests, MOST_S if timeout is None else timeout, MOST_S))

    def _receive(self, index: int) -> list[Event]:
        """Return the events of a worker's message; none where it is ready for its first job."""
        worker = self._workers[index]
        worker.limit.go_on()
        try:
            kind, what = worker.pipe.recv()
        except (EOFError, OSError):  # dead, perhaps in the middle of a message
            return self._dead(worker.home)
        if kind == "ready":
            worker.ready, self._false_starts = True, 0
            worker.limit = TimeLimit(worker.limit_s or math.inf)
            return []
        if kind == "said":
            return [Said(index, what)]
        if kind == "failed":
            if isinstance(what, UserError):
                self._end(worker.home)
                raise what
            return self._dead(worker.home, str(what))
        worker.busy = False
        worker.home.retiring |= kind == "last"
        if worker.home.retiring and not worker.home.busy:
            self._end(worker.home)
        return [Done(index, what)]

    def _false_start(self, reason: str) -> None:
        self._false_starts += 1
        if self._false_starts >= FALSE_STARTS:
            raise ArchsearchError(f"{reason}, {FALSE_STARTS} times in a row; see to that, or give fewer --workers")


def _end_of(process: Any) -> str:
    """Return how a process ended, in words."""
    code = process.exitcode
    if code is None:
        return "does not answer"
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL, which memory that runs out looks like)"
    return f"ended ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"
