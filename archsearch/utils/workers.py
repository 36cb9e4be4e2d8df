"""Processes that work for this one: started once, a job each at a time, and their death costs no more than that job.

Every process has a pipe of its own and shares no lock with others, so that one that is killed at any
moment leaves nothing behind that could stop the rest. Where the system has it, they are forked from a
server that has imported what they need, so that a new one is there at once.
"""

import contextlib
import math
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import archsearch
from archsearch.errors import ArchsearchError, UserError

#: Tells the parent something in the middle of a job; returns its answer.
Say = Callable[[Any], Any]
#: What a worker does with a job.
Work = Callable[[Any, Say], Any]
#: Made in a new worker, once; its index tells it from the others. Has to be picklable.
MakeWork = Callable[[int], Work]

#: Workers that may die with a job before it counts as the job's fault.
ATTEMPTS = 2
#: Starts in a row that may fail before it is clear that it is no accident.
FALSE_STARTS = 3
#: Seconds that a new process may take until it is ready: it imports torch, finds its GPU and loads its data.
START_S = 600.0
#: Seconds that a job may wait for its device at least before that counts against its limit.
WAIT_S = 600.0
#: Seconds for a process that was killed to be gone; one that hangs in a driver is left behind.
END_S = 10.0
#: Seconds to wait for events at most, as systems do not take any number.
MOST_S = 1e6


@dataclass(frozen=True)
class Said:
    """A worker tells something about its job and waits for ``Workers.answer``."""

    worker: int
    what: Any


@dataclass(frozen=True)
class Done:
    """A worker has finished its job."""

    worker: int
    result: Any


@dataclass(frozen=True)
class Died:
    """A worker is gone, and its job with it; the next job gets a new process.

    Attributes:
        worker: its index.
        reason: in words.
        late: whether it was ended because its job took too long.
        started: whether it had come as far as to begin with jobs.
    """

    worker: int
    reason: str
    late: bool = False
    started: bool = True


Event = Said | Done | Died


class Limit:
    """How long a job may take, by a clock that neither jumps nor counts what is not the job's fault."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.deadline = seconds, time.monotonic() + seconds
        self._waits_since: float | None = None

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self.deadline

    def forgive(self, seconds: float) -> None:
        """Time that others took."""
        self.deadline += seconds

    def wait(self) -> None:
        """The job waits for somebody else from now, until ``go_on``; for that it has a time of its own."""
        if self._waits_since is None and math.isfinite(self.deadline):
            self._waits_since = time.monotonic()
            self.deadline += max(self.seconds, WAIT_S)

    def go_on(self) -> None:
        """It has been heard of again."""
        if self._waits_since is not None:
            self.deadline += time.monotonic() - self._waits_since - max(self.seconds, WAIT_S)
            self._waits_since = None


@dataclass
class _Worker:
    process: Any
    pipe: "Connection[Any, Any]"
    limit: Limit
    busy: bool = False
    ready: bool = False
    limit_s: float | None = None


def prepare(preload: Sequence[str]) -> None:
    """Starts the server that workers are forked from, so that it imports while this process does other things."""
    if _context(preload).get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        with _importable():
            ensure_running()


def _context(preload: Sequence[str]) -> Any:
    """How processes are started here: forked from a server that has imported some modules, or afresh."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


class Workers:
    """A fixed number of workers, each started with its first job."""

    def __init__(self, make: MakeWork, count: int, preload: Sequence[str] = ()) -> None:
        """Prepares.

        Args:
            make: what a worker does, made in it.
            count: of workers.
            preload: modules that they need and that take long to import.
        """
        self.make, self.count = make, count
        self._context = _context(preload)
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
        """Gives an idle worker a job.

        Args:
            worker: its index.
            job: picklable.
            limit_s: seconds after which it is ended; the time that a new process takes to start is not counted.
        """
        for _ in range(FALSE_STARTS):
            known = self._workers.get(worker) or self._begin(worker)
            try:
                known.pipe.send(job)
            except OSError:  # it was killed while it was idle
                self._bury(worker)
                continue
            known.busy, known.limit_s = True, limit_s
            if known.ready:
                known.limit = Limit(limit_s or math.inf)
            return
        raise ArchsearchError("new worker processes end at once; see what ends this program's processes")

    def answer(self, worker: int, answer: Any, waits: bool = False) -> None:
        """Lets a worker that said something go on; ``waits`` where what it said is that it has to wait."""
        known = self._workers[worker]
        if waits:
            known.limit.wait()
        with contextlib.suppress(OSError):  # its death is an event of its own
            known.pipe.send(answer)

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Waits until something happens, and tells what.

        Args:
            timeout: seconds to wait at most; None for as long as it takes.

        Raises:
            ArchsearchError: workers cannot be started; a ``UserError`` where the user has to change something.
        """
        busy = {index: worker for index, worker in self._workers.items() if worker.busy}
        away = time.monotonic() - self._heard  # nobody was there to answer
        for worker in busy.values():
            worker.limit.forgive(away)
        waitable = {worker.pipe: index for index, worker in busy.items()}
        spoken = wait(list(waitable), self._patience(timeout))
        late = [i for i, worker in busy.items() if worker.limit.over and worker.pipe not in spoken]
        self._heard = time.monotonic()
        for pipe in spoken:
            event = self._receive(waitable[pipe])  # type: ignore[index]
            if event is not None:
                yield event
        for index in late:
            worker = busy[index]
            reason = f"took longer than {worker.limit.seconds:g} s"
            self._bury(index)
            if not worker.ready:
                self._false_start(f"a worker process {reason} to start")
            yield Died(index, reason, late=worker.ready, started=worker.ready)

    def close(self) -> None:
        """Ends all workers, whatever they are doing."""
        for worker in self._workers.values():
            worker.process.kill()
        for index in list(self._workers):
            self._bury(index)

    def _begin(self, index: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_main, args=(self.make, index, theirs, dict(os.environ)), daemon=True)
        try:
            with _importable():
                process.start()
        except (OSError, EOFError) as error:
            ours.close()
            raise ArchsearchError(f"a worker process cannot be started: {error or type(error).__name__}") from error
        finally:
            theirs.close()
        self._workers[index] = _Worker(process, ours, Limit(START_S))
        return self._workers[index]

    def _bury(self, index: int) -> None:
        """Makes sure that a worker has ended, as far as the system lets it."""
        worker = self._workers.pop(index)
        worker.busy = False
        worker.process.kill()
        worker.process.join(END_S)
        worker.pipe.close()

    def _patience(self, timeout: float | None) -> float:
        rests = [worker.limit.deadline - time.monotonic() for worker in self._workers.values() if worker.busy]
        return max(0.0, min(*rests, MOST_S if timeout is None else timeout, MOST_S))

    def _receive(self, index: int) -> Event | None:
        worker = self._workers[index]
        worker.limit.go_on()
        try:
            kind, what = worker.pipe.recv()
        except (EOFError, OSError):  # gone, perhaps in the middle of a message
            worker.process.join(END_S)  # its own end, before it is given one
            self._bury(index)
            how = self._how(worker)
            if not worker.ready:
                self._false_start(f"a worker process {how} while it started")
            return Died(index, f"its process {how}", started=worker.ready)
        if kind == "ready":
            worker.ready, self._false_starts = True, 0
            worker.limit = Limit(worker.limit_s or math.inf)
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

    @staticmethod
    def _how(worker: _Worker) -> str:
        code = worker.process.exitcode
        if code is None:
            return "does not answer"
        if code == -signal.SIGKILL:
            return "was killed (SIGKILL, which memory that runs out looks like)"
        return f"ended ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"


@contextlib.contextmanager
def environ(settings: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _importable() -> contextlib.AbstractContextManager[None]:
    """Lets the server of forks import what this process can, from wherever that was started."""
    paths = (str(Path(archsearch.__file__).parents[1]), os.environ.get("PYTHONPATH"))
    return environ({"PYTHONPATH": os.pathsep.join(filter(None, paths))})


def _main(make: MakeWork, index: int, pipe: "Connection[Any, Any]", environ: dict[str, str]) -> None:
    """The program of a worker."""
    os.environ.update(environ)  # as it is now, and not as it was when the server began
    for sent_to_all in (signal.SIGINT, signal.SIGTERM):  # by a terminal, or Slurm: the parent's word is enough
        signal.signal(sent_to_all, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(OSError):  # where memory runs out, not the process that keeps the records
        Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        work = make(index)
        pipe.send(("ready", None))

        def say(what: Any) -> Any:
            pipe.send(("said", what))
            return pipe.recv()

        while True:
            pipe.send(("done", work(pipe.recv(), say)))
    except ArchsearchError as error:
        pipe.send(("failed", error))
    except (EOFError, BrokenPipeError):
        os._exit(1)
    except Exception as error:
        failure = ArchsearchError(f"a worker failed: {type(error).__name__}: {error}")
        failure.add_note(traceback.format_exc())
        pipe.send(("failed", failure))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
