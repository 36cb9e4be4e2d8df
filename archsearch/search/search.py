"""The one place that asks for candidates and tells their scores."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from archsearch.arch import Arch
from archsearch.mixer import Value
from archsearch.search.records import end_attrs, is_candidate, start_attrs, to_trial
from archsearch.search.samplers import distributions, genome, join_generation, make_sampler
from archsearch.search.study import Study, recipe_of
from archsearch.space import EXHAUSTIVE
from archsearch.trial import Evaluation, Trial

#: Draws in a row that may repeat known architectures before an unknown one is picked at random.
REDRAWS = 20


@dataclass(frozen=True)
class Candidate:
    """An architecture that was asked for and waits to be evaluated."""

    number: int
    arch: Arch
    params: Mapping[str, Value]
    seed: int
    rerun_of: int | None = None


class Search:
    """Asks for candidates that are new, and tells what became of them. One process per study.

    Attributes:
        study: what is searched for.
        record: the same, in the storage.
        reruns: numbers of trials that were lost with their process, and wait to be run again.
        duplicates: how many draws repeated a known architecture in this process.
    """

    def __init__(self, study: Study, record: optuna.Study) -> None:
        self.study, self.record = study, record
        self.population = recipe_of(record)["population"]
        self.duplicates = 0
        # This process is the only one: whatever still runs on record died with its process.
        self.reruns = self.give_back("its process ended before the trial did")
        kept = [t for t in record.get_trials(deepcopy=False) if t.state.is_finished() and "lost" not in t.user_attrs]
        self.draws = len(kept)
        self.trials: list[Trial] = [to_trial(t) for t in kept if is_candidate(t)]
        self._seen = {trial.arch.key: trial.number for trial in self.trials}
        self._distinct = study.space.distinct()

    def ask(self) -> Candidate | None:
        """A candidate that the study has not seen; None when no more are found."""
        for redraw in range(2 * REDRAWS):
            if self.exhausted:
                return None
            if redraw >= REDRAWS and not self._enqueue_unseen():
                return None
            trial = self._draw()
            params = self.study.space.active(trial.params)
            arch = self.study.space.arch(params)
            twin = self._seen.get(arch.key)
            if twin is None:
                for name, value in start_attrs(arch, params, self.study.seed).items():
                    trial.set_user_attr(name, value)
                self._seen[arch.key] = trial.number
                return Candidate(trial.number, arch, params, self.study.seed, trial.user_attrs.get("rerun_of"))
            self._tell_duplicate(trial, twin)
        return None

    def tell(self, candidate: Candidate, evaluation: Evaluation, environment: Mapping[str, Any]) -> Trial:
        """Records an evaluation, finished or failed."""
        self._set_attrs(candidate.number, end_attrs(evaluation, dict(environment)))
        if evaluation.error is None:
            values = [evaluation.scores[objective.name] for objective in self.study.objectives]
            frozen = self.record.tell(candidate.number, values)
        else:
            frozen = self.record.tell(candidate.number, state=TrialState.FAIL)
        self.trials.append(to_trial(frozen))
        return self.trials[-1]

    def give_back(self, reason: str) -> list[int]:
        """Ends trials that are under way; the study's next run evaluates them first.

        Returns:
            Numbers of all trials that are going to be run again.
        """
        undrawn = []
        for frozen in self.record.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if set(frozen.params) == {axis.name for axis in self.study.space.axes}:
                # First the new place in the queue, then the end of the old one: killed between, nothing is lost.
                self.record.enqueue_trial(dict(frozen.params), user_attrs={"rerun_of": frozen.number})
            else:
                undrawn.append(frozen.number)  # ended while it was drawn; the next draw is the same
            self._set_attrs(frozen.number, {"lost": reason})
            self.record.tell(frozen.number, state=TrialState.FAIL)
        waiting = self.record.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return undrawn + [t.user_attrs["rerun_of"] for t in waiting if "rerun_of" in t.user_attrs]

    @property
    def exhausted(self) -> bool:
        """Whether every architecture of the space is on record (never, where they are too many to visit)."""
        return len(self._seen) == self._distinct

    def _draw(self) -> optuna.Trial:
        sampler = make_sampler(self.study.sampler, self.study.seed, self.draws, self.population)
        self.record.sampler = sampler
        self.draws += 1
        trial = self.record.ask(fixed_distributions=distributions(self.study.space))
        join_generation(sampler, self.record, trial)
        return trial

    def _tell_duplicate(self, trial: optuna.Trial, twin: int) -> None:
        """The sampler learns the known values; the record says whose they are."""
        self.duplicates += 1
        trial.set_user_attr("duplicate_of", twin)
        known = self.record.get_trials(deepcopy=False)[twin]
        if known.state == TrialState.COMPLETE:
            self.record.tell(trial, known.values)
        else:
            self.record.tell(trial, state=TrialState.FAIL)

    def _enqueue_unseen(self) -> bool:
        space, rng = self.study.space, random.Random(f"{self.study.seed}/{self.draws}")
        if space.points() <= EXHAUSTIVE:
            points = [params for params in space.grid() if space.arch(params).key not in self._seen]
        else:
            drawn = (space.sample(rng) for _ in range(1000))
            points = [params for params in drawn if space.arch(params).key not in self._seen][:1]
        if points:
            self.record.enqueue_trial(genome(space, rng.choice(points)))
        return bool(points)

    def _set_attrs(self, number: int, attrs: Mapping[str, Any]) -> None:
        storage, frozen = self.record._storage, self.record.get_trials(deepcopy=False)[number]
        for name, value in attrs.items():
            storage.set_trial_user_attr(frozen._trial_id, name, value)
