"""The processes of workers: how they start, and the program that they run."""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import archsearch
from archsearch.errors import ArchsearchError

#: Sends progress to the parent in the middle of a job, and returns the parent's answer.
Say = Callable[[Any], Any]
#: Does one job, given the job and ``Say``; returns its result.
Work = Callable[[Any, Say], Any]
#: Makes the ``Work`` of a new worker, given its index. Must be picklable.
MakeWork = Callable[[int], Work]


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


def start_process(context: Any, make: MakeWork, index: int) -> "tuple[Any, Connection[Any, Any]]":
    """Start a worker process.

    Args:
        context: Context of ``multiprocessing``.
        make: Makes the worker's work.
        index: Index of the worker.

    Returns:
        The process, and this side of its pipe.

    Raises:
        ArchsearchError: It cannot be started.
    """
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(make, index, theirs, dict(os.environ)), daemon=True)
    try:
        with _importable():
            process.start()
    except (OSError, EOFError) as error:
        ours.close()
        raise ArchsearchError(f"a worker process cannot be started: {error or type(error).__name__}") from error
    finally:
        theirs.close()
    return process, ours


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


def _main(make: MakeWork, index: int, pipe: "Connection[Any, Any]", environ: dict[str, str]) -> None:
    """Run a worker: make its work, then do one job after another, until the parent closes the pipe."""
    os.environ.update(environ)  # that of now, not of the fork server's start
    for sent_to_all in (signal.SIGINT, signal.SIGTERM):  # a terminal and Slurm send them; the parent ends its workers
        signal.signal(sent_to_all, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(OSError):  # if memory runs out, kill this process and not the one that keeps the records
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
