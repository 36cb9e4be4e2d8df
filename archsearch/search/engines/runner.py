"""What all engines share: which candidate comes next, and what is done with what came of it.

An engine asks a ``Runner`` for candidates whenever it has a worker to spare, and tells it what the workers
report. It never touches the study itself, so that every engine makes the same records.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from archsearch.search.engines.job import Evaluate
from archsearch.search.search import Candidate, Search
from archsearch.search.storage.mirror import LAST_PATIENCE_S
from archsearch.search.storage.reuse import ResultReuse
from archsearch.trial import Epoch, EpochDone, Evaluation, SeedDone, Trial, Waiting, WorkerEvent

#: Returns whether to stop a candidate's training after an epoch, or to train no further seed of it.
Stop = Callable[[Candidate, EpochDone | SeedDone], bool]


def stop_none(candidate: Candidate, event: EpochDone | SeedDone) -> bool:
    """Train every candidate to its end, with all seeds."""
    return False


class ProgressListener:
    """Who is told of a study's progress; this one tells nobody. Workers have names that people can tell apart."""

    def say(self, text: str) -> None:
        """A remark in words."""

    def started(self, candidate: Candidate, worker: str) -> None:
        """A worker has been given a candidate."""

    def epoch(self, candidate: Candidate, epoch: Epoch) -> None:
        """It has been trained for one more epoch."""

    def another_seed(self, candidate: Candidate, known: Evaluation) -> None:
        """It is near the front, and is trained with another seed."""

    def waiting(self, candidate: Candidate, holder: str) -> None:
        """Its device is in somebody else's hands."""

    def ended(self, trial: Trial) -> None:
        """It has been recorded."""

    def lost(self, candidate: Candidate, reason: str) -> None:
        """Its worker is gone, and it is going to run again."""


@dataclass
class _Underway:
    candidate: Candidate
    reported: EpochDone | SeedDone | None = None


class Runner:
    """Hands out a study's candidates and records what becomes of them."""

    def __init__(
        self,
        search: Search,
        n_trials: int,
        listener: ProgressListener,
        timeout: float | None = None,
        stop: Stop = stop_none,
        reuse: ResultReuse | None = None,
    ) -> None:
        """Prepares a run.

        Args:
            search: of the study; this process must own it.
            n_trials: the study's total, earlier runs included.
            listener: told of the progress.
            timeout: seconds after which no further candidate is handed out.
            stop: ends trainings early.
            reuse: what other studies know; None to find out everything anew.
        """
        self.search, self.n_trials, self.listener, self.stop = search, n_trials, listener, stop
        self.reuse = reuse
        self._until = None if timeout is None else time.monotonic() + timeout
        self._underway: dict[int, _Underway] = {}
        self._dry = False

    @property
    def left(self) -> int:
        """Trials that are neither finished nor under way."""
        return self.n_trials - len(self.search.trials) - len(self._underway)

    def next(self, worker: str) -> Candidate | None:
        """A candidate for a worker; None where there is none now (there may be again when others have ended).

        One of which everything is known needs no worker: it is recorded, and the next one asked for.
        """
        while not self._over():
            candidate = self.search.ask()
            self._dry = candidate is None
            if candidate is not None and (left := self._left_of(candidate)) is not None:
                self.listener.started(left, worker)
                return left
        return None

    def _over(self) -> bool:
        late = self._until is not None and time.monotonic() >= self._until
        return self._dry or self.left <= 0 or late or self.search.mirror.ending()

    def _left_of(self, candidate: Candidate) -> Candidate | None:
        """A candidate with what others know of it; None where that was all, and is recorded."""
        underway = self._underway[candidate.number] = _Underway(candidate)
        found = self.reuse.known(candidate.arch, candidate.seed) if self.reuse else None
        if found is None:
            return candidate
        if found.whole:
            self.ended(candidate.number, found.evaluation, found.environment)
            return None
        underway.candidate = replace(candidate, known=found.evaluation)
        return underway.candidate

    def reported(self, number: int, event: WorkerEvent) -> bool:
        """Handle the progress of a candidate; return False to stop it.

        Args:
            number: Number of its trial.
            event: Event that its worker reports.
        """
        underway = self._underway[number]
        if isinstance(event, Waiting):
            self.listener.waiting(underway.candidate, event.holder)
            return True
        underway.reported = event
        if isinstance(event, EpochDone):
            self.listener.epoch(underway.candidate, event.epoch)
        stop = self.stop(underway.candidate, event)
        if isinstance(event, SeedDone) and not stop:
            self.listener.another_seed(underway.candidate, event.known)
        return not stop

    def ended(self, number: int, evaluation: Evaluation, environment: Mapping[str, Any]) -> None:
        """A worker has evaluated its candidate."""
        self.listener.ended(self.search.tell(self._underway[number].candidate, evaluation, environment))
        del self._underway[number]
        self._dry = False  # a sampler knows more now

    def lost(self, number: int, reason: str, again: bool = True, blame: bool = True) -> None:
        """A worker is gone, or was ended; its candidate runs once more, or is recorded as failed.

        Args:
            number: of the trial.
            reason: in words.
            again: whether it may run again.
            blame: whether the candidate may have had a part in it.
        """
        underway = self._underway[number]
        if again and self.search.lose(underway.candidate, reason, blame):
            self.listener.lost(underway.candidate, reason)
            del self._underway[number]
            self._dry = False
            return
        if isinstance(underway.reported, SeedDone):  # lost in a further seed; the results of earlier ones are complete
            self.ended(number, replace(underway.reported.known, seed_error=reason), {})
        else:
            known = underway.reported.known if underway.reported else underway.candidate.known
            self.ended(number, replace(known or Evaluation(), error=reason), {})


@contextmanager
def giving_back(search: Search) -> Iterator[None]:
    """Whatever ends a run early, what was under way goes back into the study, and its next run starts with it."""
    try:
        yield
    except BaseException as end:
        search.mirror.patience_s = min(search.mirror.patience_s, LAST_PATIENCE_S)
        with suppress(Exception):  # the study's next run does it, where this one cannot
            search.give_back("interrupted" if isinstance(end, KeyboardInterrupt) else "the run ended before it")
        raise


def run_here(runner: Runner, evaluate: Evaluate) -> None:
    """Evaluates candidates in this process, one at a time: nothing is started, and nothing is isolated."""
    with giving_back(runner.search):
        while (candidate := runner.next("this process")) is not None:
            report = partial(runner.reported, candidate.number)
            runner.ended(candidate.number, *evaluate(candidate.arch, candidate.seed, report, candidate.known))
