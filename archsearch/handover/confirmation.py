"""What a confirmation has found: who stays on the front, and what choosing by the search's ranking lost."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from archsearch.handover.candidates import Candidate
from archsearch.objectives import Objective
from archsearch.stats.agreement import Agreement, agreement
from archsearch.stats.fronts import costs, nondominated, signs
from archsearch.stats.noise import AccuracyNoise, accuracy_noise, front_chances, with_level_seeds
from archsearch.trial import Evaluation, Trial

#: Fewest candidates with both accuracies that rankings are compared for; of fewer, resamples are all alike.
FEWEST_RANKED = 5


@dataclass(frozen=True)
class Trained:
    """Trainings of a candidate.

    Attributes:
        accuracies: Top-1 on the test split by seed, fractions.
        errors: Error message by seed of those that failed.
        weights: File with the weights by seed.
        validation: Top-1 on the validation split by seed, fractions.
    """

    accuracies: Mapping[int, float] = field(default_factory=dict)
    errors: Mapping[int, str] = field(default_factory=dict)
    weights: Mapping[int, str] = field(default_factory=dict)
    validation: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Confirmed:
    """A candidate beside what its longer trainings gave.

    Attributes:
        candidate: The candidate, with the scores of the search.
        trained: Its trainings.
        accuracy: Mean top-1 on the test split, a fraction, less what its seeds do to all networks where candidates have
            other seeds; None where no training has succeeded.
        low: Lower end of its 95 % confidence interval; None without an accuracy.
        high: Upper end.
        on_front: Whether it is on the front of the confirmed accuracies and the search's other scores; None where one
            of these is unknown.
        chance: Probability of being on that front, by the noise of all scores; None where it is unknown.
        chance_before: The same by the accuracies of the search.
        rank: Rank by confirmed accuracy, 1 for the best, among the candidates with an accuracy in the search; None for
            others.
        rank_before: Rank of the same by the accuracy of the search.
    """

    candidate: Candidate
    trained: Trained
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    on_front: bool | None = None
    chance: float | None = None
    chance_before: float | None = None
    rank: int | None = None
    rank_before: int | None = None


@dataclass(frozen=True)
class Confirmation:
    """A confirmation of a study's front, as far as it has come.

    Attributes:
        study: Name of the study.
        name: Name of the confirmation's own record, beside it in the storage.
        objectives: Objectives of the study.
        candidates: Candidates, members of the front first.
        trained: Trainings of each, by ``Candidate.name``.
        recipe: Recipe of the trainings and what they were made with, JSON-ready.
        images: Number of images of the test split.
        searched: Noise of the search's accuracies; None where it is unknown.
    """

    study: str
    name: str
    objectives: tuple[Objective, ...]
    candidates: tuple[Candidate, ...]
    trained: Mapping[str, Trained]
    recipe: Mapping[str, Any]
    images: int
    searched: AccuracyNoise | None = None

    @cached_property
    def noise(self) -> AccuracyNoise | None:
        """Noise of the confirmed accuracies; None while there are none."""
        trials = [trial for trial in self._trials if "accuracy" in trial.evaluation.scores]
        noise = accuracy_noise(trials, self.images) if trials else None
        return noise and replace(noise, split="test")

    @cached_property
    def members(self) -> tuple[Confirmed, ...]:
        """Candidates with what is known of them, in the order of ``candidates``."""
        level = with_level_seeds(self._trials)
        marks, chances = nondominated(costs(level, self.objectives)), self._chances(level, self.noise)
        chances_before = self._chances(self._trials_before, self.searched)
        accuracies = [trial.evaluation.scores.get("accuracy") for trial in level]
        searched = [one.scores.get("accuracy") for one in self.candidates]
        ranks = _ranks([None if score is None else own for own, score in zip(accuracies, searched, strict=True)])
        before = _ranks([None if own is None else score for own, score in zip(accuracies, searched, strict=True)])

        def confirmed(place: int, candidate: Candidate) -> Confirmed:
            accuracy, whole = accuracies[place], level[place].state == "complete"
            low, high = self._interval(accuracy, len(level[place].evaluation.accuracies))
            return Confirmed(
                candidate,
                self.trained[candidate.name],
                accuracy,
                low,
                high,
                on_front=bool(marks[place]) if whole else None,
                chance=chances[place],
                chance_before=chances_before[place],
                rank=ranks[place],
                rank_before=before[place],
            )

        return tuple(confirmed(place, candidate) for place, candidate in enumerate(self.candidates))

    @cached_property
    def agreement(self) -> Agreement | None:
        """How well the search ranked the candidates; None with fewer than ``FEWEST_RANKED`` to compare.

        The cost that budgets are made of, for the regret, is the first objective that is not accuracy.
        """
        rows = [one for one in self.members if one.accuracy is not None and "accuracy" in one.candidate.scores]
        if len(rows) < FEWEST_RANKED:
            return None
        scores = np.array([one.candidate.scores["accuracy"] for one in rows])
        truth = np.array([one.accuracy for one in rows], dtype=float)
        return agreement(scores, truth, self._costs(rows), bins=1)

    @property
    def budget(self) -> Objective | None:
        """Objective that the budgets of the regret are made of; None where accuracy is the only one."""
        return next((objective for objective in self.objectives if objective.name != "accuracy"), None)

    def up_to(self, seeds: Collection[int]) -> "Confirmation":
        """Return what was known when no other seeds had been trained with."""
        trained = {
            name: replace(one, accuracies={seed: value for seed, value in one.accuracies.items() if seed in seeds})
            for name, one in self.trained.items()
        }
        return replace(self, trained=trained)

    def _costs(self, rows: Sequence[Confirmed]) -> np.ndarray:
        if self.budget is None:
            return np.zeros(len(rows))
        (sign,) = signs([self.budget])
        known = [one.candidate.scores.get(self.budget.name) for one in rows]
        return np.array([math.inf if score is None else sign * score for score in known])

    def _chances(self, trials: Sequence[Trial], noise: AccuracyNoise | None) -> list[float | None]:
        """Return the probability that each candidate is on the front of all; None where it is unknown."""
        found = front_chances(trials, self.objectives, noise)
        known = [float("nan")] * len(trials) if found is None else found.tolist()
        return [None if math.isnan(chance) else chance for chance in known]

    def _interval(self, accuracy: float | None, seeds: int) -> tuple[float, float] | tuple[None, None]:
        return (None, None) if accuracy is None or self.noise is None else self.noise.interval(accuracy, seeds)

    @cached_property
    def _trials(self) -> list[Trial]:
        """The candidates as trials with confirmed accuracies; complete where every objective's score is known."""
        return [self._trial(one, self.trained[one.name].accuracies) for one in self.candidates]

    @property
    def _trials_before(self) -> list[Trial]:
        """The same with the accuracies of the search."""
        searched = [one.scores.get("accuracy") for one in self.candidates]
        return [
            self._trial(one, one.accuracies or ({} if score is None else {0: score}))
            for one, score in zip(self.candidates, searched, strict=True)
        ]

    def _trial(self, candidate: Candidate, accuracies: Mapping[int, float]) -> Trial:
        own = dict(accuracies)
        scores = {name: value for name, value in candidate.scores.items() if name != "accuracy"}
        if own:
            scores["accuracy"] = sum(own.values()) / len(own)
        whole = all(objective.name in scores for objective in self.objectives)
        evaluation = Evaluation(scores, dict(candidate.details), accuracies=own)
        number = -1 if candidate.number is None else candidate.number
        return Trial(number, "complete" if whole else "failed", candidate.arch, {}, min(own, default=0), evaluation, {})


def _ranks(values: Sequence[float | None]) -> list[int | None]:
    """Return the rank of each value, the largest first; equal ones share the best of their ranks.

    >>> _ranks([0.5, None, 0.7, 0.5])
    [2, None, 1, 2]
    """
    known = [value for value in values if value is not None]
    return [None if value is None else 1 + sum(other > value for other in known) for value in values]
