"""Early stopping: which trainings to prune, and which candidates to train with another seed.

A candidate's costs are known before it is trained, so that one question is left: can it still reach the front? At
each rung the candidates are compared as in MO-ASHA (Schmucker et al. 2021), by domination; but where that promotes
the better share of a rung, and so gives up a share of good ones whatever the curves look like, here only those are
pruned whose place is taken even if they end as well as their curve can hope for.
"""

import math

import numpy as np

from archsearch.search.rungs import Curves, rungs
from archsearch.search.search import Candidate, Search
from archsearch.stats.hypervolume import FrontTracker
from archsearch.stats.intervals import student
from archsearch.stats.noise import accuracies_by_seed
from archsearch.stats.seeds import SeedModel
from archsearch.trial import EpochDone, Evaluation, SeedDone

#: Probability of the one-sided prediction interval whose upper bound stands for a curve's end.
OPTIMISM = 0.99
#: Confidence of not being on the front, from which on a candidate needs no other seed.
SURE = 0.95


class EarlyStopping:
    """Answers reports on trainings: whether to go on. What it says depends on the trials that have ended by then.

    A candidate that is pruned has no accuracy and is compared with none: whatever pruned it would prune
    everything that it could have pruned.
    """

    def __init__(self, search: Search, epochs: int) -> None:
        """Start before any trial has ended.

        Args:
            search: Search whose trials are compared.
            epochs: Number of epochs of a complete training.
        """
        self.search = search
        self.rungs = rungs(epochs) if search.study.early_stopping else ()
        self.curves, self.tracker = Curves(epochs), FrontTracker(search.study.objectives)
        self._seeds = SeedModel()
        self._heard = 0

    def __call__(self, candidate: Candidate, event: EpochDone | SeedDone) -> bool:
        """Return whether to stop its training, or to train no further seed."""
        if isinstance(event, SeedDone):
            return not self.needs_another_seed(event.known)
        return len(event.known.curve) in self.rungs and self.is_hopeless(event.known)

    def is_hopeless(self, known: Evaluation) -> bool:
        """Return whether even the upper bound of its curve's prediction is dominated."""
        self._listen()
        prediction = self.curves.predict(known.curve)
        if prediction is None:
            return False
        return self.tracker.dominates({**known.scores, "accuracy": prediction.upper(OPTIMISM)})

    def needs_another_seed(self, known: Evaluation) -> bool:
        """Return whether it may be on the front, given the seed variance.

        It is off the front where it is worse than a rival by more than their difference is likely to be by chance. What
        a seed does to all networks is no chance: means over other seeds are compared without it. As any of the front
        may be that rival, they share the confidence (Bonferroni); that they are on the front in part by chance goes
        beyond that, and is not reckoned with.
        """
        self._listen()
        own, front = known.accuracies, self.tracker.front
        model = self._seeds.with_network(own)
        if model.noise is None:  # nobody knows how much seeds differ
            return True
        deviation, degrees = model.noise
        sure = student(1 - (1 - SURE) / max(1, len(front)), degrees) * deviation
        theirs = [accuracies_by_seed(rival).keys() for rival in front]
        reach = np.array([sure * math.sqrt(model.variance(own, rival)) + model.level(rival) for rival in theirs])
        hoped = np.mean([*own.values()]) - model.level(own) + reach
        return not self.tracker.dominates({**known.scores, "accuracy": hoped})

    def _listen(self) -> None:
        """Read the trials that have ended since."""
        for trial in self.search.told[self._heard :]:
            self.tracker.add(trial)
            if trial.state == "complete":
                self.curves.add(trial.evaluation.curve)
            self._seeds.add(trial.evaluation.accuracies)
        self._heard = len(self.search.told)
