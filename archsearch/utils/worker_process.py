"""The processes of workers: how they start, and the program that they run."""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import archsearch
from archsearch.errors import ArchsearchError

#: Sends progress to the parent in the middle of a job, and returns the parent's answer.
Say = Callable[[Any], Any]
#: Does one job, given the job and ``Say``; returns its result, as ``Last`` where its process is to do no other.
Work = Callable[[Any, Say], Any]
#: Makes the ``Work`` of each new worker of a process, given their indices. Must be picklable.
MakeWorks = Callable[[Sequence[int]], Sequence[Work]]


@dataclass(frozen=True)
class Last:
    """Result of a job after which its process has to be replaced.

    Attributes:
        result: The result.
    """

    result: Any


def prepare(preload: Sequence[str]) -> None:
    """Start the fork server of later workers, which imports while this process does other things.

    Args:
        preload: Modules that workers need and that take long to import.
    """
    if context_for(preload).get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        with _importable():
            ensure_running()


def context_for(preload: Sequence[str]) -> Any:
    """Return the context of ``multiprocessing`` for workers: a fork server with modules preloaded, where there is one.

    Args:
        preload: Modules to import in the fork server; without effect once it runs.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


def start_process(context: Any, make: MakeWorks, indices: Sequence[int]) -> "tuple[Any, list[Connection[Any, Any]]]":
    """Start a process with one worker or several.

    Args:
        context: Context of ``multiprocessing``.
        make: Makes the work of its workers.
        indices: Indices of the workers; each has a thread of its own where there are several.

    Returns:
        The process, and this side of each worker's pipe.

    Raises:
        ArchsearchError: It cannot be started.
    """
    ours, theirs = zip(*(context.Pipe() for _ in indices), strict=True)
    process = context.Process(target=_main, args=(make, indices, theirs, dict(os.environ)), daemon=True)
    try:
        with _importable():
            process.start()
    except (OSError, EOFError) as error:
        for pipe in ours:
            pipe.close()
        raise ArchsearchError(f"a worker process cannot be started: {error or type(error).__name__}") from error
    finally:
        for pipe in theirs:
            pipe.close()
    return process, list(ours)


@contextlib.contextmanager
def environ(settings: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the time of a context."""
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
    """Let the fork server import this package, wherever this process found it."""
    paths = (str(Path(archsearch.__file__).parents[1]), os.environ.get("PYTHONPATH"))
    return environ({"PYTHONPATH": os.pathsep.join(filter(None, paths))})


def _main(
    make: MakeWorks, indices: Sequence[int], pipes: "Sequence[Connection[Any, Any]]", environ: dict[str, str]
) -> None:
    """Run the workers of a process: make their work, then do jobs, until the parent closes the pipes."""
    os.environ.update(environ)  # that of now, not of the fork server's start
    for sent_to_all in (signal.SIGINT, signal.SIGTERM):  # a terminal and Slurm send them; the parent ends its workers
        signal.signal(sent_to_all, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(OSError):  # if memory runs out, kill this process and not the one that keeps the records
        Path("/proc/self/oom_score_adj").write_text("1000")
    works: list[Work] = []
    if not _safely(pipes, lambda: works.extend(make(indices))):
        return
    beside = [threading.Thread(target=_serve, args=pair) for pair in zip(works[1:], pipes[1:], strict=True)]
    for thread in beside:
        thread.start()
    _serve(works[0], pipes[0])
    for thread in beside:
        thread.join()


def _serve(work: Work, pipe: "Connection[Any, Any]") -> None:
    """Do one job of a worker after another; its failure ends the process, with all workers of it."""

    def say(what: Any) -> Any:
        pipe.send(("said", what))
        return pipe.recv()

    def do_jobs() -> None:
        pipe.send(("ready", None))
        while True:
            result = work(pipe.recv(), say)
            pipe.send(("last", result.result) if isinstance(result, Last) else ("done", result))

    _safely([pipe], do_jobs)
    os._exit(1)


def _safely(pipes: "Sequence[Connection[Any, Any]]", action: Callable[[], None]) -> bool:
    """Run an action; if an error ends it, send that to the parent, and return False."""
    try:
        action()
        return True
    except ArchsearchError as error:
        failure = error
    except (EOFError, BrokenPipeError):
        os._exit(1)
    except Exception as error:
        failure = ArchsearchError(f"a worker failed: {type(error).__name__}: {error}")
        failure.add_note(traceback.format_exc())
    for pipe in pipes:
        pipe.send(("failed", failure))
    return False


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
