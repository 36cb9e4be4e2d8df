"""What a run of a study gives back."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import optuna

from archsearch.evaluate.constraint import missed
from archsearch.objectives import Objective
from archsearch.stats.hypervolume import FrontTracker
from archsearch.trial import Trial

#: What to do about constraints that nothing keeps.
RELAX = "relax --constraint, or widen the space"


@dataclass(frozen=True)
class StudyResult:
    """A study as far as it came.

    Attributes:
        name: Name of the study.
        objectives: Objectives in the order of the recorded values.
        trials: Finished trials by number, with those of earlier runs.
        storage: URL of the storage that holds the study, without passwords.
        recipe: Recipe that the study is stored with, as JSON-ready data.
        study: The same trials as an Optuna study in memory, for Optuna's own figures and analyses.
        command: Command line of the last run that had one.
        val_images: Number of validation images behind each accuracy; 0 where it is not known.
        ranking: What is known of how its recipe ranks, in a sentence; empty where it trains nothing.
        exhausted: Whether the sampler knows of no further architecture that keeps the constraints.
        small_maps: Which kernel sizes the proxy's maps are too small to judge, and what to do, in sentences.
    """

    name: str
    objectives: tuple[Objective, ...]
    trials: tuple[Trial, ...]
    storage: str
    recipe: dict[str, Any] = field(repr=False)
    study: optuna.Study = field(repr=False, compare=False)
    command: str = ""
    val_images: int = 0
    ranking: str = ""
    exhausted: bool = False
    small_maps: tuple[str, ...] = ()

    @cached_property
    def _tracker(self) -> FrontTracker:
        return FrontTracker(self.objectives, self.trials)

    @property
    def front(self) -> tuple[Trial, ...]:
        """Trials on the Pareto front, by number."""
        return tuple(sorted(self._tracker.front, key=lambda trial: trial.number))

    @property
    def hypervolume(self) -> float:
        """Share that the front dominates of the box between the best and the worst scores of the study."""
        return self._tracker.hypervolume()

    @property
    def failure(self) -> str | None:
        """Why no trial is complete, in words; None where one is, or where nothing was tried."""
        states = {trial.state for trial in self.trials}
        if "complete" in states or not (states or self.exhausted):
            return None
        if not states:
            return f"no architecture was found that keeps the constraints; {RELAX}"
        count, failed = len(self.trials), [trial for trial in self.trials if trial.evaluation.error]
        if failed:
            how_many = f"all {count}" if len(failed) == count else f"no trial is complete: {len(failed)}"
            return f"{how_many} trials failed; the last one: {failed[-1].evaluation.error}"
        excesses = [trial.evaluation.excess for trial in self.trials]
        nearest = min(excesses, key=lambda excess: max(excess.values(), default=0.0))
        return f"all {count} trials are infeasible: the nearest misses {missed(nearest)}; {RELAX}"
