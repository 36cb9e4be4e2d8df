"""The state of a run on Ray: which candidate each of Tune's trials evaluates, and how long it may take."""

import signal
import time
from typing import Any

from archsearch.errors import Terminated, UserError
from archsearch.search.engines.ray_cluster import Share, nodes
from archsearch.search.engines.ray_messages import Begun, Message
from archsearch.search.engines.runner import Runner
from archsearch.trial import Evaluation, Waiting
from archsearch.utils.time_limit import TimeLimit
from archsearch.utils.workers import FALSE_STARTS, START_S

#: Seconds between two looks at how many machines the cluster has.
LOOK_S = 5.0


class Desk:
    """Passes on between Tune's hooks and the runner.

    Attributes:
        failure: Error that ends the run, kept until it can be raised outside of Tune; None without one.
        signal: Number of a signal that this process received; None without one.
    """

    def __init__(self, runner: Runner, share: Share, workers: int | None, trial_timeout: float | None) -> None:
        """Start without candidates.

        Args:
            runner: Runner of the study.
            share: Resources of the cluster per candidate.
            workers: Maximum number of candidates at a time; None for as many as the cluster has room for.
            trial_timeout: Maximum seconds per candidate; None for no limit.
        """
        self.runner, self.share, self.workers, self.trial_timeout = runner, share, workers, trial_timeout
        self.failure: BaseException | None = None
        self.signal: int | None = None
        self._numbers: dict[str, int] = {}
        self._seats: dict[str, int] = {}
        self._limits: dict[str, TimeLimit] = {}
        self._late: dict[str, str] = {}
        self._false_starts = 0
        self._slots, self._looked = 0, float("-inf")

    def slots(self) -> int:
        """Return the maximum number of candidates at a time, which changes as machines come and go."""
        if time.monotonic() - self._looked > LOOK_S:
            self._slots = self.share.slots(nodes())
            self._looked = time.monotonic()
        return self._slots if self.workers is None else min(self.workers, max(1, self._slots))

    def suggest(self, trial_id: str, finished: Any) -> Any:
        """Return the configuration of a candidate for one of Tune's trials.

        Args:
            trial_id: Tune's name for the trial.
            finished: Value to return when there will be no more candidates.

        Returns:
            The configuration, ``finished``, or None where there is no candidate for now.
        """
        if self.ending():
            return finished
        if len(self._numbers) >= max(1, self.slots()):
            return None
        seat = next(i for i in range(len(self._seats) + 1) if i not in self._seats.values())
        candidate = self.runner.next(f"worker {seat}")
        if candidate is None:  # those under way may be lost, and run again
            return None if self._numbers else finished
        self._numbers[trial_id], self._seats[trial_id] = candidate.number, seat
        return {"arch": candidate.arch.to_dict(), "seed": candidate.seed, "known": candidate.known}

    def heard(self, trial_id: str, message: Message) -> bool:
        """Handle a message of an actor; return False to end or stop its candidate."""
        number, what = self._numbers[trial_id], message.what
        if isinstance(what, Begun):
            return self._begun(trial_id, number, what)
        limit = self._limits.get(trial_id)
        if limit is not None:
            limit.go_on()
            if isinstance(what, Waiting):
                limit.wait()
        if not isinstance(what, Evaluation):
            return self.runner.reported(number, what)
        self._forget(trial_id)
        self.runner.ended(number, what, message.environment or {})
        return False

    def _begun(self, trial_id: str, number: int, what: Begun) -> bool:
        if what.error is None:
            self._false_starts = 0
            if self.trial_timeout is not None:
                self._limits[trial_id] = TimeLimit(self.trial_timeout)
            return True
        self._false_starts += 1
        if isinstance(what.error, UserError) or self._false_starts == FALSE_STARTS:
            self.failure = what.error
        self._forget(trial_id)
        self.runner.lost(number, str(what.error), blame=False)
        return False

    def died(self, trial_id: str, reason: str) -> None:
        """Handle the death of an actor.

        Args:
            trial_id: Tune's name for its trial.
            reason: Cause of death, in words.
        """
        number, late = self._numbers[trial_id], self._late.pop(trial_id, None)
        self._forget(trial_id)
        self.runner.lost(number, late or reason, again=late is None)

    def started(self, trial_id: str) -> None:
        """Start the time limit of an actor's first steps, in which it may have to import much."""
        if self.trial_timeout is not None:
            self._limits[trial_id] = TimeLimit(max(START_S, self.trial_timeout))

    def late(self) -> set[str]:
        """Return the trials whose time is up, each once."""
        over = {trial_id for trial_id, limit in self._limits.items() if limit.over and trial_id not in self._late}
        self._late |= {trial_id: f"took longer than {self._limits[trial_id].seconds:g} s" for trial_id in over}
        return over

    def extend(self, seconds: float) -> None:
        """Extend all time limits by time in which the driver was busy, or its storage away."""
        for limit in self._limits.values():
            limit.extend(seconds)

    @property
    def underway(self) -> set[str]:
        """Tune's names for the trials that have not ended."""
        return set(self._numbers)

    def ending(self) -> bool:
        """Return whether ``failure`` ends the run; a signal becomes one here."""
        if self.failure is None and self.signal is not None:
            self.failure = Terminated() if self.signal == signal.SIGTERM else KeyboardInterrupt()
        return self.failure is not None

    def _forget(self, trial_id: str) -> None:
        del self._numbers[trial_id], self._seats[trial_id]
        self._limits.pop(trial_id, None)
