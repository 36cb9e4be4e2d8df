"""Progress as JSON lines on stderr, one object per event."""

import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from archsearch.search.engines.runner import ProgressListener
from archsearch.search.search import Candidate, Search
from archsearch.stats.hypervolume import FrontTracker
from archsearch.trial import Epoch, Evaluation, Trial


class Pace:
    """Estimate of the time that the rest of a study takes, from the trials of this run."""

    def __init__(self, search: Search, n_trials: int) -> None:
        self.search, self.n_trials = search, n_trials
        self.start, self.before = time.monotonic(), len(search.trials)

    def left_s(self) -> float | None:
        """Return the seconds left; None where nothing is left, or no trial has ended yet."""
        done = len(self.search.trials) - self.before
        left = max(0, self.n_trials - len(self.search.trials))
        return (time.monotonic() - self.start) / done * left if done and left else None


class JsonLines(ProgressListener):
    """Listener that writes one JSON object per event, for other programs."""

    def __init__(self, search: Search, n_trials: int) -> None:
        self.search, self.n_trials = search, n_trials
        self.pace = Pace(search, n_trials)
        self.tracker = FrontTracker(search.study.objectives, search.trials)

    def say(self, text: str) -> None:
        """A remark in words."""
        json_event("note", text=text)

    def started(self, candidate: Candidate, worker: str) -> None:
        """A candidate, its parameters and its worker."""
        rerun = {} if candidate.rerun_of is None else {"rerun_of": candidate.rerun_of}
        json_event("started", trial=candidate.number, worker=worker, params=dict(candidate.params), **rerun)

    def epoch(self, candidate: Candidate, epoch: Epoch) -> None:
        """An epoch of its curve."""
        json_event("epoch", trial=candidate.number, **asdict(epoch))

    def another_seed(self, candidate: Candidate, known: Evaluation) -> None:
        """Its accuracies so far."""
        seeds, values = list(known.accuracies), list(known.accuracies.values())
        json_event("another_seed", trial=candidate.number, seeds=seeds, values=values)

    def waiting(self, candidate: Candidate, holder: str) -> None:
        """Who has the device."""
        json_event("waiting", trial=candidate.number, holder=holder)

    def put_off(self, candidate: Candidate, reason: str) -> None:
        """Why it is timed again later."""
        json_event("put_off", trial=candidate.number, reason=reason)

    def ended(self, trial: Trial) -> None:
        """What came of it, and how the study stands."""
        on_front = self.tracker.add(trial)
        left = self.pace.left_s()
        json_event(
            "ended",
            trial=trial.number,
            state=trial.state,
            scores=trial.evaluation.scores,
            error=trial.evaluation.error,
            excess=trial.evaluation.excess,
            reused=trial.evaluation.reused,
            on_front=on_front,
            done=len(self.search.trials),
            of=self.n_trials,
            failed=self.tracker.failed,
            pruned=self.tracker.pruned,
            infeasible=self.tracker.infeasible,
            front=[member.number for member in self.tracker.front],
            hypervolume=self.tracker.hypervolume(),
            left_s=None if left is None else round(left, 1),
        )

    def lost(self, candidate: Candidate, reason: str) -> None:
        """Why it runs again."""
        json_event("lost", trial=candidate.number, reason=reason)


def json_event(event: str, **details: Any) -> None:
    """Write an event with its details as a line on stderr."""
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(json.dumps({"time": stamp, "event": event, **details}, default=str), file=sys.stderr, flush=True)
