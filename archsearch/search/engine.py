"""Engines: who evaluates the candidates that a ``Search`` asks for. Here: this process, one at a time."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from archsearch.arch import Arch
from archsearch.errors import StorageError
from archsearch.search.search import Candidate, Search
from archsearch.trial import Epoch, Evaluation, Trial

#: An architecture, its seed and a listener for its epochs, to its evaluation.
Evaluate = Callable[[Arch, int, Callable[[Epoch], None]], Evaluation]


class Watch:
    """Who is told of a study's progress; this one tells nobody."""

    def started(self, candidate: Candidate) -> None:
        """A candidate is about to be evaluated."""

    def epoch(self, epoch: Epoch) -> None:
        """It has been trained for one more epoch."""

    def waiting(self, holder: str) -> None:
        """The device is in somebody else's hands."""

    def ended(self, trial: Trial) -> None:
        """It has been recorded."""


@contextmanager
def sole_owner(study_name: str, lock: Path) -> Iterator[None]:
    """Holds a study for this process; the lock ends with the process, however it ends.

    Args:
        study_name: for the message.
        lock: of ``archsearch.search.storage.lock_path``, in a folder that exists.

    Raises:
        StorageError: another process runs the study.
    """
    try:
        with FileLock(lock, blocking=False):
            yield
    except Timeout:
        raise StorageError(
            f"study {study_name!r} is being run by another process; wait for it, or choose another --study-name"
        ) from None


def run(
    search: Search,
    n_trials: int,
    evaluate: Evaluate,
    environment: Callable[[], Mapping[str, Any]],
    watch: Watch,
    timeout: float | None = None,
) -> None:
    """Evaluates candidates until the study has ``n_trials``, the space is exhausted or time is up.

    Ctrl-C gives the running candidate back, so that the study's next run starts with it.

    Args:
        search: of the study; this process must own it.
        n_trials: the study's total, earlier runs included.
        evaluate: what is done to a candidate.
        environment: recorded with every trial.
        watch: told of the progress.
        timeout: seconds after which no further candidate is asked for.
    """
    start = time.monotonic()
    try:
        while len(search.trials) < n_trials and (timeout is None or time.monotonic() - start < timeout):
            candidate = search.ask()
            if candidate is None:
                return
            watch.started(candidate)
            evaluation = evaluate(candidate.arch, candidate.seed, watch.epoch)
            watch.ended(search.tell(candidate, evaluation, environment()))
    except BaseException:
        search.give_back("interrupted")
        raise
