"""What a search says about its axes: how much of the scores' variance each of them explains."""

from dataclasses import dataclass

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from archsearch.errors import StorageError

#: Trials of which a forest says nothing.
FEWEST = 8
#: Forests that are grown; their spread says how far to trust the mean.
FORESTS = 5


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
    done = [t for t in record.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if t.params]
    scores = [t.values[objective] for t in done]
    if len(done) < FEWEST or np.ptp(scores) == 0:
        why = "all score the same" if len(done) >= FEWEST else f"are {len(done)}, and it takes {FEWEST}"
        raise StorageError(f"study {record.study_name!r}: no importance can be told: its finished trials {why}")
    forests = [
        get_param_importances(
            record, evaluator=FanovaImportanceEvaluator(seed=seed), target=lambda t: t.values[objective]
        )
        for seed in range(FORESTS)
    ]
    found = []
    for axis in forests[0]:
        shares = [forest.get(axis, 0.0) for forest in forests]
        found.append(Importance(axis, float(np.mean(shares)), min(shares), max(shares)))
    return sorted(found, key=lambda i: -i.share)
