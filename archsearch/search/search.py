"""The ask-and-tell loop of a study: the only place that draws candidates and records their scores."""

import bisect
import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from archsearch.arch import Arch
from archsearch.arch.params import Value
from archsearch.search.definition import Study, recipe_of, validation_images
from archsearch.search.samplers.by_name import Samplers, Setting
from archsearch.search.samplers.features import CountCosts, count_nothing
from archsearch.search.samplers.optuna_samplers import join_generation, suggest
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.storage.records import STATES, end_attrs, is_candidate, start_attrs, to_trial, values_of
from archsearch.search.warm_start import Start
from archsearch.space.space import EXHAUSTIVE
from archsearch.trial import Evaluation, Trial, refuse_non_finite
from archsearch.utils.worker_events import ATTEMPTS

#: Number of draws in a row that may repeat known architectures before an unknown one is picked at random.
REDRAWS = 20
#: Number of random points to look for an unknown one among, before all are looked through.
PICKS = 1000


@dataclass(frozen=True)
class Candidate:
    """An architecture that was drawn and waits to be evaluated.

    Attributes:
        number: Number of its trial.
        arch: The architecture.
        params: Values of the open axes.
        seed: Seed of its training.
        rerun_of: Number of the lost trial that it repeats; None for a new one.
        deaths: Number of workers that died with it before.
        known: Results that need not be computed again; None without any.
    """

    number: int
    arch: Arch
    params: Mapping[str, Value]
    seed: int
    rerun_of: int | None = None
    deaths: int = 0
    known: Evaluation | None = None


class Search:
    """Draws new candidates, and records their evaluations. One process per study.

    Several candidates may be under way at once. What is drawn depends on the study's seed, on the number of draws
    before, and (for samplers that learn) on the trials that have ended by then.

    Attributes:
        study: Definition of the study.
        mirror: Its trials, mirrored in memory.
        trials: Finished candidates by number.
        told: The same in the order in which they ended.
        duplicates: Number of draws of this process that repeated a known architecture.
    """

    def __init__(
        self, study: Study, mirror: StorageMirror, count: CountCosts = count_nothing, starts: Sequence[Start] = ()
    ) -> None:
        """Take a study up where it is.

        Args:
            study: Definition of the study.
            mirror: Its trials, mirrored in memory.
            count: Function that counts an architecture's costs, for samplers that use them.
            starts: Points to evaluate before the sampler's own; known ones are skipped.
        """
        self.study, self.mirror = study, mirror
        self._starts = deque(starts)
        population = recipe_of(mirror.record)["population"]
        images = validation_images(mirror.record)
        setting = Setting(study.space, study.objectives, study.seed, population, study.constraints, count, images)
        self.samplers = Samplers(study.sampler, setting)
        self.duplicates = 0
        self.axes = self.samplers.axes
        # This process is the only one: whatever still runs on record died with its process.
        self.give_back("its process ended before the trial did")
        known = mirror.trials
        lost = {t.number: t for t in known if "lost" in t.user_attrs}
        rerun = {t.user_attrs.get("rerun_of") for t in known if "arch" in t.user_attrs}
        kept = [t for t in known if t.number not in lost]
        drawn = [t for t in kept if "start_from" not in t.user_attrs]
        self.draws = max((t.user_attrs.get("draw", -1) for t in known), default=-1) + 1 or len(drawn)
        self.trials: list[Trial] = [to_trial(t) for t in kept if is_candidate(t)]
        self.told = list(self.trials)
        self._seen = {trial.arch.key: trial.number for trial in self.trials}
        waiting = {t.user_attrs["arch_key"]: t for n, t in lost.items() if n not in rerun and "arch" in t.user_attrs}
        self._queue = deque(t for key, t in waiting.items() if key not in self._seen)
        self._distinct = study.space.distinct()

    @property
    def record(self) -> optuna.Study:
        """The study in its storage."""
        return self.mirror.record

    @property
    def reruns(self) -> list[int]:
        """Numbers of lost trials that wait to be run again."""
        return [lost.number for lost in self._queue]

    @property
    def exhausted(self) -> bool:
        """Whether every architecture of the space is on record (never, where they are too many to visit)."""
        return len(self._seen) == self._distinct

    def ask(self) -> Candidate | None:
        """Return a candidate that the study has not seen; None where no more are found."""
        if self._queue:
            return self._again(self._queue.popleft())
        if self.exhausted or self.samplers.spent:
            return None
        if (candidate := self._start()) is not None:
            return candidate
        drawn = self._draw() or (None if self.samplers.dry else self._unseen())
        return self._begin(*drawn, {"draw": self.draws - 1}) if drawn else None

    def tell(self, candidate: Candidate, evaluation: Evaluation, environment: Mapping[str, Any]) -> Trial:
        """Record an evaluation as complete, infeasible, pruned or failed; failed where a score is not finite."""
        state, values = TrialState.COMPLETE, None
        evaluation = refuse_non_finite(evaluation)
        if evaluation.error is not None:
            state = TrialState.FAIL
        elif evaluation.pruned:
            state = TrialState.PRUNED
        else:
            # Some of Optuna's samplers want the same constraints of all trials: 0 for those that nobody looked at.
            names = map(str, self.study.constraints)
            evaluation = replace(evaluation, excess=dict.fromkeys(names, 0.0) | evaluation.excess)
            values = values_of(evaluation, self.study.objectives)
        attrs = end_attrs(evaluation, dict(environment))
        self.mirror.end(candidate.number, attrs, state, values, evaluation.excess)
        infeasible = state == TrialState.COMPLETE and evaluation.infeasible
        trial = Trial(
            candidate.number,
            "infeasible" if infeasible else STATES[state],
            candidate.arch,
            dict(candidate.params),
            candidate.seed,
            evaluation,
            dict(environment),
        )
        bisect.insort(self.trials, trial, key=lambda known: known.number)
        self.told.append(trial)
        return trial

    def lose(self, candidate: Candidate, reason: str, blame: bool = True) -> bool:
        """Give up a candidate whose worker is gone; it runs again unless that has happened before.

        Args:
            candidate: Candidate that was under way.
            reason: Reason in words.
            blame: Whether the candidate may have caused it.

        Returns:
            Whether it runs again; nothing is recorded where it does not.
        """
        deaths = candidate.deaths + blame
        if deaths >= ATTEMPTS:
            return False
        self._queue.append(self.mirror.end(candidate.number, {"lost": reason, "deaths": deaths}, TrialState.FAIL))
        del self._seen[candidate.arch.key]
        return True

    def give_back(self, reason: str) -> None:
        """End the trials that are under way; the study's next run evaluates them first."""
        for frozen in self.mirror.trials:
            if frozen.state.is_finished() or not self.mirror.written(frozen.number):
                continue
            # Written twice by mistake: the other one is run again.
            lost = {} if "duplicate_of" in frozen.user_attrs else {"lost": reason}
            with suppress(UpdateFinishedTrialError):  # interrupted between the storage's turn and the mirror's
                self.mirror.end(frozen.number, lost, TrialState.FAIL)

    def _start(self) -> Candidate | None:
        """The next of the starting points that is new; None without one."""
        while self._starts:
            start = self._starts.popleft()
            params = dict(start.params)
            arch = self.study.space.arch(params)
            if arch.key not in self._seen:
                self._enter(params, self.draws)
                return self._begin(params, arch, {"start_from": start.origin})
        return None

    def _draw(self) -> tuple[dict[str, Value], Arch] | None:
        """Ask the sampler until it suggests a new architecture; None after ``REDRAWS`` suggestions."""
        for _ in range(REDRAWS):
            genes = suggest(self.samplers.for_draw(self.draws), self.mirror.in_memory, self.mirror.blank(), self.axes)
            if self.samplers.dry:
                break
            self.draws += 1
            params = self.study.space.active(genes)
            arch = self.study.space.possible(params)
            if arch is None:
                continue
            if arch.key not in self._seen:
                self.mirror.fill(genes, self.axes)
                return params, arch
            self.duplicates += 1
        return None

    def _unseen(self) -> tuple[dict[str, Value], Arch] | None:
        """A random architecture among the unknown ones; None where none was found."""
        space, rng = self.study.space, random.Random(f"{self.study.seed}/{self.draws}")
        self.draws += 1
        found = next(self._unknown(space.sample(rng) for _ in range(PICKS)), None)
        if found is None and space.points() <= EXHAUSTIVE:
            rest = [*self._unknown(space.grid())]
            found = rng.choice(rest) if rest else None
        if found:
            self._enter(found[0], self.draws - 1)
        return found

    def _unknown(self, many: Iterable[dict[str, Value]]) -> Iterator[tuple[dict[str, Value], Arch]]:
        """Of many points those whose architectures can exist and are unknown."""
        points = ((params, self.study.space.possible(params)) for params in many)
        return ((params, arch) for params, arch in points if arch is not None and arch.key not in self._seen)

    def _enter(self, params: Mapping[str, Value], draw: int) -> None:
        self.mirror.fill(self.study.space.genome(params), self.axes)
        join_generation(self.samplers.for_draw(draw), self.mirror.in_memory, self.mirror.blank())

    def _again(self, lost: FrozenTrial) -> Candidate:
        """The same candidate in a trial of its own."""
        params = lost.user_attrs["params"]
        inherited: dict[str, Any] = {
            name: lost.user_attrs[name] for name in ("draw", "deaths", "start_from") if name in lost.user_attrs
        }
        self._enter(params, inherited.get("draw", self.draws))
        return self._begin(params, self.study.space.arch(params), {**inherited, "rerun_of": lost.number})

    def _begin(self, params: dict[str, Value], arch: Arch, attrs: dict[str, Any]) -> Candidate:
        number = self.mirror.begin({**start_attrs(arch, params, self.study.seed), **attrs})
        self._seen[arch.key] = number
        return Candidate(number, arch, params, self.study.seed, attrs.get("rerun_of"), attrs.get("deaths", 0))
