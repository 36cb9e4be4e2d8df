"""The runner of a study, which all engines share: it hands out candidates and records their results.

An engine asks the ``Runner`` for a candidate whenever a worker is idle, and passes on what workers report. It never
touches the study itself, so that every engine makes the same records.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from archsearch.search.engines.job import Evaluate
from archsearch.search.near_front import NearFront, without
from archsearch.search.search import Candidate, Search
from archsearch.search.storage.mirror import LAST_PATIENCE_S
from archsearch.search.storage.reuse import ResultReuse
from archsearch.trial import Epoch, EpochDone, Evaluation, GoingOn, SeedDone, Trial, Waiting, WorkerEvent

#: Times that a candidate is timed until its speed is known, and seconds between them: another minute may be quieter.
TIMINGS, PAUSE_S = 4, 60.0
#: Seconds between two looks, in such a pause, at whether the run is ending.
SLEEP_S = 0.2
#: What to do about candidates that could not be timed.
TOO_BUSY = "the machine is too busy: end what else runs there, and evaluate it again in a study of another name"

#: Returns whether to stop a candidate's training after an epoch, or to train no further seed of it.
Stop = Callable[[Candidate, EpochDone | SeedDone], bool]


def stop_none(candidate: Candidate, event: EpochDone | SeedDone) -> bool:
    """Train every candidate to its end, with all seeds."""
    return False


class ProgressListener:
    """Listener to the progress of a study; this base class ignores it all. Workers are named for people."""

    def say(self, text: str) -> None:
        """Handle a remark in words."""

    def started(self, candidate: Candidate, worker: str) -> None:
        """Handle that a worker begins with a candidate."""

    def epoch(self, candidate: Candidate, epoch: Epoch) -> None:
        """Handle one more epoch of a candidate's training."""

    def another_seed(self, candidate: Candidate, known: Evaluation) -> None:
        """Handle that a candidate near the front is trained with another seed."""

    def waiting(self, candidate: Candidate, holder: str) -> None:
        """Handle that a candidate waits for its device, which a process of another run has; once per candidate."""

    def put_off(self, candidate: Candidate, reason: str) -> None:
        """Handle that a candidate's timing is made again later, as the machine was too busy."""

    def ended(self, trial: Trial) -> None:
        """Handle a candidate's finished trial."""

    def lost(self, candidate: Candidate, reason: str) -> None:
        """Handle the death of a candidate's worker, after which the candidate runs again."""


@dataclass
class _Underway:
    candidate: Candidate
    reported: EpochDone | SeedDone | None = None
    waited: bool = False
    timings: int = 0
    complete: tuple[Evaluation, Mapping[str, Any]] | None = None  # the result before it was timed once more


class Runner:
    """Hands out a study's candidates, and records their results."""

    def __init__(
        self,
        search: Search,
        n_trials: int,
        listener: ProgressListener,
        timeout: float | None = None,
        stop: Stop = stop_none,
        reuse: ResultReuse | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            search: Search of the study, which this process must own.
            n_trials: Number of trials of the study, those of earlier runs included.
            listener: Listener to the progress.
            timeout: Seconds after which to hand out no further candidate; None for no limit.
            stop: Decides after epochs and seeds whether to stop a candidate.
            reuse: Results of other studies in the same storage; None to evaluate everything anew.
        """
        self.search, self.n_trials, self.listener, self.stop = search, n_trials, listener, stop
        self.reuse = reuse
        self._put_off: deque[tuple[float, int]] = deque()  # when to time a candidate again, and its trial
        self._until = None if timeout is None else time.monotonic() + timeout
        self._underway: dict[int, _Underway] = {}
        self._dry = False
        self._near_front = NearFront(search)

    @property
    def left(self) -> int:
        """Number of trials that are neither finished nor under way."""
        return self.n_trials - len(self.search.trials) - len(self._underway)

    def next(self, worker: str) -> Candidate | None:
        """Return a candidate for a worker; None where there is none until other candidates end.

        A candidate whose results are all known from other studies needs no worker: it is recorded at once.

        Args:
            worker: Name of the worker, for people.
        """
        if (again := self._timed_again(worker)) is not None:
            return again
        while not self._over():
            candidate = self.search.ask()
            self._dry = candidate is None
            if candidate is not None and (left := self._left_of(candidate)) is not None:
                self.listener.started(left, worker)
                return left
        return self._timed_again(worker, wait=True)

    def _timed_again(self, worker: str, wait: bool = False) -> Candidate | None:
        """A candidate whose timing was put off, when its time has come; None before.

        Args:
            worker: Name of the worker that takes it.
            wait: Whether to wait for the first one where no other candidate is under way.
        """
        if not self._put_off or self.search.mirror.ending():
            return None
        due, number = self._put_off[0]
        alone = wait and len(self._put_off) == len(self._underway)
        while alone and time.monotonic() < due and not self.search.mirror.ending():
            time.sleep(SLEEP_S)
        if time.monotonic() < due:
            return None
        self._put_off.popleft()
        candidate = self._underway[number].candidate
        self.listener.started(candidate, worker)
        return candidate

    def _over(self) -> bool:
        late = self._until is not None and time.monotonic() >= self._until
        return self._dry or self.left <= 0 or late or self.search.mirror.ending()

    def _left_of(self, candidate: Candidate) -> Candidate | None:
        """Return a candidate with its results from other studies; None where those are complete, and recorded."""
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
        if isinstance(event, Waiting | GoingOn):
            if isinstance(event, Waiting) and event.holder and not underway.waited:
                underway.waited = True
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
        """Record the result of a candidate.

        Args:
            number: Number of its trial.
            evaluation: Its result.
            environment: Environment of the evaluation.
        """
        if evaluation.error or evaluation.pruned:
            evaluation = replace(evaluation, put_off=None)
        underway = self._underway[number]
        if underway.complete and (evaluation.error or evaluation.put_off):
            evaluation, environment = underway.complete  # it is known well enough for a score
        elif not underway.complete and self._times_closer(number, evaluation, environment):
            return
        if evaluation.put_off:
            underway.timings += 1
            if underway.timings < TIMINGS:
                underway.candidate = replace(underway.candidate, known=replace(evaluation, put_off=None))
                self._put_off.append((time.monotonic() + PAUSE_S, number))
                self.listener.put_off(underway.candidate, evaluation.put_off)
                return
            evaluation = replace(evaluation, error=f"{evaluation.put_off}, timed {TIMINGS} times; {TOO_BUSY}")
        self.listener.ended(self.search.tell(self._underway[number].candidate, evaluation, environment))
        del self._underway[number]
        self._dry = False  # a sampler knows more now

    def _times_closer(self, number: int, evaluation: Evaluation, environment: Mapping[str, Any]) -> bool:
        """Have a candidate timed once more whose speed decides whether it is on the front; return whether it is."""
        names = [] if evaluation.put_off or self.search.mirror.ending() else self._near_front.doubtful(evaluation)
        if not names:
            return False
        underway = self._underway[number]
        underway.complete = evaluation, environment
        underway.candidate = replace(underway.candidate, known=without(evaluation, names))
        self._put_off.appendleft((time.monotonic(), number))
        return True

    def lost(self, number: int, reason: str, again: bool = True, blame: bool = True) -> None:
        """Run a candidate again whose worker died, or record it as failed.

        Args:
            number: Number of its trial.
            reason: Cause of death, in words.
            again: Whether the candidate may run again.
            blame: Whether the candidate may be to blame.
        """
        underway = self._underway[number]
        if underway.complete:
            self.ended(number, *underway.complete)
            return
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
    """Give candidates under way back to the study when a run ends early; its next run starts with them."""
    try:
        yield
    except BaseException as end:
        search.mirror.patience_s = min(search.mirror.patience_s, LAST_PATIENCE_S)
        with suppress(Exception):  # where this run cannot do it, the next one does
            search.give_back("interrupted" if isinstance(end, KeyboardInterrupt) else "the run ended before it")
        raise


def run_here(runner: Runner, evaluate: Evaluate) -> None:
    """Evaluate candidates in this process, one at a time; a crash of one ends the run.

    Args:
        runner: Runner of the study.
        evaluate: Evaluates a candidate.
    """
    with giving_back(runner.search):
        while (candidate := runner.next("this process")) is not None:
            report = partial(runner.reported, candidate.number)
            runner.ended(candidate.number, *evaluate(candidate.arch, candidate.seed, report, candidate.known))
