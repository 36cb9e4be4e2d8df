"""The one place that asks for candidates and tells their scores."""

import bisect
import random
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from archsearch.arch import Arch
from archsearch.mixer import Value
from archsearch.search.ledger import Ledger
from archsearch.search.records import STATES, end_attrs, is_candidate, start_attrs, to_trial
from archsearch.search.samplers import distributions, genome, join_generation, make_sampler
from archsearch.search.study import Study, recipe_of
from archsearch.space import EXHAUSTIVE
from archsearch.trial import Evaluation, Trial

#: Draws in a row that may repeat known architectures before an unknown one is picked at random.
REDRAWS = 20
#: Workers that may die with a candidate before it counts as the candidate's fault.
ATTEMPTS = 2


@dataclass(frozen=True)
class Candidate:
    """An architecture that was asked for and waits to be evaluated.

    Attributes:
        number: of its trial.
        arch: the architecture.
        params: values of the open axes.
        seed: of its training.
        rerun_of: number of the trial that it repeats, which was lost.
        deaths: of workers that had it before.
    """

    number: int
    arch: Arch
    params: Mapping[str, Value]
    seed: int
    rerun_of: int | None = None
    deaths: int = 0


class Search:
    """Asks for candidates that are new, and tells what became of them. One process per study.

    Several candidates may be under way at once. What is drawn depends on the study's seed, on how
    many draws there were before, and (for samplers that learn) on what was told by then.

    Attributes:
        study: what is searched for.
        ledger: its trials.
        trials: the finished candidates, by number.
        duplicates: how many draws repeated a known architecture in this process.
    """

    def __init__(self, study: Study, ledger: Ledger) -> None:
        self.study, self.ledger = study, ledger
        self.population = recipe_of(ledger.record)["population"]
        self.duplicates = 0
        self.axes = distributions(study.space)
        # This process is the only one: whatever still runs on record died with its process.
        self.give_back("its process ended before the trial did")
        known = ledger.trials
        lost = {t.number: t for t in known if "lost" in t.user_attrs}
        rerun = {t.user_attrs.get("rerun_of") for t in known if "arch" in t.user_attrs}
        kept = [t for t in known if t.number not in lost]
        self.draws = max((t.user_attrs.get("draw", -1) for t in known), default=-1) + 1 or len(kept)
        self.trials: list[Trial] = [to_trial(t) for t in kept if is_candidate(t)]
        self._seen = {trial.arch.key: trial.number for trial in self.trials}
        waiting = {t.user_attrs["arch_key"]: t for n, t in lost.items() if n not in rerun and "arch" in t.user_attrs}
        self._queue = deque(t for key, t in waiting.items() if key not in self._seen)
        self._twins: dict[int, list[int]] = {}  # that wait for what the first of them will be told
        self._distinct = study.space.distinct()

    @property
    def record(self) -> optuna.Study:
        """The study in its storage."""
        return self.ledger.record

    @property
    def reruns(self) -> list[int]:
        """Numbers of trials that were lost, and wait to be run again."""
        return [lost.number for lost in self._queue]

    @property
    def exhausted(self) -> bool:
        """Whether every architecture of the space is on record (never, where they are too many to visit)."""
        return len(self._seen) == self._distinct

    def ask(self) -> Candidate | None:
        """A candidate that the study has not seen; None when no more are found."""
        if self._queue:
            return self._again(self._queue.popleft())
        for redraw in range(2 * REDRAWS):
            if self.exhausted:
                return None
            drawn = self._draw() if redraw < REDRAWS else self._unseen()
            if drawn is None:
                return None
            params = self.study.space.active(drawn.params)
            arch = self.study.space.arch(params)
            twin = self._seen.get(arch.key)
            attrs = {"draw": self.draws - 1}
            if twin is None:
                return self._begin(drawn, arch, params, attrs)
            self._tell_duplicate(drawn, twin, attrs)
        return None

    def tell(self, candidate: Candidate, evaluation: Evaluation, environment: Mapping[str, Any]) -> Trial:
        """Records an evaluation: finished, stopped or failed."""
        state, values = TrialState.COMPLETE, None
        if evaluation.error is not None:
            state = TrialState.FAIL
        elif evaluation.stopped:
            state = TrialState.PRUNED
        else:
            values = [evaluation.scores[objective.name] for objective in self.study.objectives]
        self.ledger.end(candidate.number, end_attrs(evaluation, dict(environment)), state, values)
        for twin in self._twins.pop(candidate.number, ()):
            self.ledger.end(twin, {}, *self._as_duplicate(candidate.number))
        trial = Trial(
            candidate.number,
            STATES[state],
            candidate.arch,
            dict(candidate.params),
            candidate.seed,
            evaluation,
            dict(environment),
        )
        bisect.insort(self.trials, trial, key=lambda known: known.number)
        return trial

    def lose(self, candidate: Candidate, reason: str, blame: bool = True) -> bool:
        """Its worker is gone. Once that may be anybody's fault, and it runs again.

        Args:
            candidate: that was under way.
            reason: in words.
            blame: whether it counts as a death at all.

        Returns:
            Whether it runs again; nothing is recorded where it does not.
        """
        deaths = candidate.deaths + blame
        if deaths >= ATTEMPTS:
            return False
        for twin in self._twins.pop(candidate.number, ()):  # the rerun has another number
            self.ledger.end(twin, {}, TrialState.FAIL)
        self._queue.append(self.ledger.end(candidate.number, {"lost": reason, "deaths": deaths}, TrialState.FAIL))
        del self._seen[candidate.arch.key]
        return True

    def give_back(self, reason: str) -> None:
        """Ends trials that are under way; the study's next run evaluates them first."""
        for frozen in self.ledger.trials:
            if frozen.state.is_finished() or not self.ledger.written(frozen.number):
                continue
            # One that repeats another would have been told what that is told.
            lost = {} if "duplicate_of" in frozen.user_attrs else {"lost": reason}
            with suppress(UpdateFinishedTrialError):  # interrupted between the storage's turn and the mirror's
                self.ledger.end(frozen.number, lost, TrialState.FAIL)

    def _draw(self) -> FrozenTrial:
        sampler = make_sampler(self.study.sampler, self.study.seed, self.draws, self.population, self.axes)
        self.draws += 1
        drawn = self.ledger.draw(sampler, self.axes)
        join_generation(sampler, self.ledger.mirror, drawn)
        return drawn

    def _unseen(self) -> FrozenTrial | None:
        """An architecture picked at random among those that are not known; None where none was found."""
        space, rng = self.study.space, random.Random(f"{self.study.seed}/{self.draws}")
        if space.points() <= EXHAUSTIVE:
            points = [params for params in space.grid() if space.arch(params).key not in self._seen]
        else:
            drawn = (space.sample(rng) for _ in range(1000))
            points = [params for params in drawn if space.arch(params).key not in self._seen][:1]
        self.draws += 1
        return self._enter(genome(space, rng.choice(points)), self.draws - 1) if points else None

    def _enter(self, genes: Mapping[str, Value], draw: int) -> FrozenTrial:
        entered = self.ledger.enter(genes, self.axes)
        sampler = make_sampler(self.study.sampler, self.study.seed, draw, self.population, self.axes)
        join_generation(sampler, self.ledger.mirror, entered)
        return entered

    def _again(self, lost: FrozenTrial) -> Candidate:
        """The same candidate in a trial of its own."""
        params = lost.user_attrs["params"]
        inherited: dict[str, Any] = {
            name: lost.user_attrs[name] for name in ("draw", "deaths") if name in lost.user_attrs
        }
        entered = self._enter(genome(self.study.space, params), inherited.get("draw", self.draws))
        arch = self.study.space.arch(params)
        return self._begin(entered, arch, params, {**inherited, "rerun_of": lost.number})

    def _begin(self, drawn: FrozenTrial, arch: Arch, params: dict[str, Value], attrs: dict[str, Any]) -> Candidate:
        self.ledger.begin(drawn, {**start_attrs(arch, params, self.study.seed), **attrs})
        self._seen[arch.key] = drawn.number
        return Candidate(drawn.number, arch, params, self.study.seed, attrs.get("rerun_of"), attrs.get("deaths", 0))

    def _tell_duplicate(self, drawn: FrozenTrial, twin: int, attrs: dict[str, Any]) -> None:
        """The sampler learns the known values, as soon as they are; the record says whose they are."""
        self.duplicates += 1
        attrs = {**attrs, "duplicate_of": twin}
        if self.ledger.trials[twin].state.is_finished():
            self.ledger.begin(drawn, attrs, *self._as_duplicate(twin))
        else:
            self.ledger.begin(drawn, attrs)
            self._twins.setdefault(twin, []).append(drawn.number)

    def _as_duplicate(self, twin: int) -> tuple[TrialState, list[float] | None]:
        """State and values of a trial that repeats another."""
        first = self.ledger.trials[twin]
        return (TrialState.COMPLETE, first.values) if first.state == TrialState.COMPLETE else (TrialState.FAIL, None)
