"""What a search says about its axes: how much of the scores' variance each of them explains."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from archsearch.errors import StorageError

#: Trials of which a forest says nothing.
FEWEST = 8
#: Trials that forests are grown on at most; more change little and take long.
MOST = 400
#: Forests that are grown, and trees of each; the forests' spread says how far to trust their mean.
FORESTS, TREES = 5, 16


@dataclass(frozen=True)
class Importance:
    """An axis.

    Attributes:
        axis: its name.
        share: of the variance that axes explain one by one, by functional ANOVA; all add up to 1.
        low: the least that any forest says.
        high: the most.
    """

    axis: str
    share: float
    low: float
    high: float


def importance(record: optuna.Study, objective: int = 0) -> list[Importance]:
    """The importance of a search's axes, the most important first (Hutter et al. 2014, in Optuna's words).

    A study's trials are chosen by its sampler, not at random, and an axis that is closed for a trial still has a value
    there: shares say what mattered in what was tried, and an ablation says what a choice does.

    Args:
        record: of the search.
        objective: whose scores are explained, counted from 0.

    Raises:
        StorageError: it has too few finished trials, or they all score the same.
    """
    trials = record.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    # An infeasible trial has the worst values there are in place of those that it was spared.
    done = [t for t in trials if t.params and all(share <= 0 for share in t.constraints.values())]
    scores = [t.values[objective] for t in done]
    untold = f"study {record.study_name!r}: no importance can be told: its finished trials"
    if len(done) < FEWEST or np.ptp(scores) == 0:
        why = "all score the same" if len(done) >= FEWEST else f"are {len(done)}, and it takes {FEWEST}"
        raise StorageError(f"{untold} {why}")
    fewer = record if len(done) == len(trials) <= MOST else _fewer(record, done)
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
    """A study of these trials alone, or of as many as forests are grown on, taken at even distances."""
    fewer = optuna.create_study(directions=record.directions)
    kept = min(MOST, len(done))
    fewer.add_trials([done[place * len(done) // kept] for place in range(kept)])
    return fewer


def importances(record: optuna.Study, objectives: Sequence[str]) -> dict[str, list[Importance]]:
    """The same for every objective of a search of which it can be told."""
    found = {}
    for place, name in enumerate(objectives):
        with suppress(StorageError):
            found[name] = importance(record, place)
    return found
