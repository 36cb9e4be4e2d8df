"""Importance of a space's axes: the share of the scores' variance that each of them explains."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.trial import TrialState

from archsearch.errors import StorageError
from archsearch.search.storage.records import rescoring_of

#: Minimum number of trials for importances.
FEWEST = 8
#: Maximum number of trials that forests are fitted to; more change little and take long.
MOST = 400
#: Number of forests, whose spread says how far to trust their mean, and of trees in each.
FORESTS, TREES = 5, 16


@dataclass(frozen=True)
class Importance:
    """Importance of an axis.

    Attributes:
        axis: Name of the axis.
        share: Share of the variance that axes explain one by one, by functional ANOVA; the shares add up to 1.
        low: Lowest share of any forest.
        high: Highest share of any forest.
    """

    axis: str
    share: float
    low: float
    high: float


def importance(record: optuna.Study, objective: int = 0) -> list[Importance]:
    """Return the importances of a study's axes by functional ANOVA (Hutter et al. 2014), the largest first.

    A study's trials are chosen by its sampler, not at random, and an axis that is closed for a trial still has a value
    there: shares say what mattered in what was tried, and an ablation says what a choice does.

    Args:
        record: The study, as Optuna has it.
        objective: Index of the objective whose scores are explained.

    Raises:
        StorageError: It has too few finished trials, or they all score the same.
    """
    stored = record.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    trials = [*map(rescoring_of(record), stored)]
    # An infeasible trial has the worst values there are in place of those that it was spared.
    kept = [t for t in trials if t.params and all(share <= 0 for share in t.constraints.values())]
    done = [t for t in kept if math.isfinite(t.values[objective])]
    scores = [t.values[objective] for t in done]
    untold = f"study {record.study_name!r}: no importance can be told: its finished trials"
    if len(done) < FEWEST or np.ptp(scores) == 0:
        why = "all score the same" if len(done) >= FEWEST else f"are {len(done)}, and it takes {FEWEST}"
        raise StorageError(f"{untold} {why}")
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # here, as it is slow to import

    as_stored = all(one is other for one, other in zip(stored, trials, strict=True))
    fewer = record if as_stored and len(done) == len(trials) <= MOST else _fewer(record, done)
    try:
        forests = [
            get_param_importances(
                fewer,
                evaluator=FanovaImportanceEvaluator(n_trees=TREES, seed=seed),
                target=lambda t: t.values[objective],
            )
            for seed in range(FORESTS)
        ]
    except RuntimeError:  # no tree found anything to tell apart
        raise StorageError(f"{untold} hardly differ in their scores") from None
    found = []
    for axis in forests[0]:
        shares = [forest.get(axis, 0.0) for forest in forests]
        found.append(Importance(axis, float(np.mean(shares)), min(shares), max(shares)))
    return sorted(found, key=lambda i: -i.share)


def _fewer(record: optuna.Study, done: list[optuna.trial.FrozenTrial]) -> optuna.Study:
    """A study of these trials alone, or of ``MOST`` of them, evenly spaced."""
    fewer = optuna.create_study(directions=record.directions)
    kept = min(MOST, len(done))
    fewer.add_trials([done[place * len(done) // kept] for place in range(kept)])
    return fewer


def importances(record: optuna.Study, objectives: Sequence[str]) -> dict[str, list[Importance]]:
    """Return the importances for every objective that has enough trials, by name."""
    found = {}
    for place, name in enumerate(objectives):
        with suppress(StorageError):
            found[name] = importance(record, place)
    return found
