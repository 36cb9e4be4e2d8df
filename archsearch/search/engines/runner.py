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
from archsearch.trial import Epoch, Evaluation, Trial, Waiting

#: Whether a candidate's training shall end, by what is known after an epoch.
Stop = Callable[[Candidate, Evaluation], bool]


def stop_none(candidate: Candidate, known: Evaluation) -> bool:
    """Trains every candidate to its end."""
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
    reported: Evaluation | None = None


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

    def reported(self, number: int, what: Evaluation | Waiting) -> bool:
        """A worker reports on its candidate; whether it shall go on."""
        underway = self._underway[number]
        if isinstance(what, Waiting):
            self.listener.waiting(underway.candidate, what.holder)
            return True
        underway.reported, trained = what, "accuracy" in what.details
        if not trained:
            self.listener.epoch(underway.candidate, what.curve[-1])
        goes_on = not self.stop(underway.candidate, what)
        if trained and goes_on:
            self.listener.another_seed(underway.candidate, what)
        return goes_on

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
        known = underway.reported
        if known and "accuracy" in known.details:  # it was at a further seed; what the first ones gave is whole
            detail = known.details["accuracy"] | {"note": reason}
            self.ended(number, replace(known, details=known.details | {"accuracy": detail}), {})
        else:
            known = known or underway.candidate.known or Evaluation()
            self.ended(number, replace(known, pruned=False, error=reason), {})


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
