"""Which trainings are worth going on with, and which candidates another seed.

A candidate's costs are known before it is trained, so that one question is left: can it still reach the front? At
each rung the candidates are compared as in MO-ASHA (Schmucker et al. 2021), by domination; but where that promotes
the better share of a rung, and so gives up a share of good ones whatever the curves look like, here only those are
stopped whose place is taken even if they end as well as their curve can hope for.
"""

import math
from collections.abc import Sequence

from archsearch.analysis.intervals import student
from archsearch.analysis.noise import pooled_deviation, seed_values
from archsearch.analysis.standing import Standing
from archsearch.objectives import Objective
from archsearch.search.rungs import Curves, rungs
from archsearch.search.search import Candidate, Search
from archsearch.trial import Evaluation, Trial

#: Probability with which a candidate ends below its optimistic reading.
OPTIMISM = 0.99
#: Confidence that a candidate is off the front, from which on it needs no other seed.
SURE = 0.95


class Judge:
    """Answers reports on trainings: whether to go on. What it says depends on the trials that have ended by then.

    A candidate that is stopped has no accuracy and is compared with none: whatever stopped it would stop
    everything that it could have stopped.
    """

    def __init__(self, search: Search, epochs: int) -> None:
        """Args: search: whose trials have ended; epochs: of a training."""
        self.search, self.objectives = search, search.study.objectives
        self.rungs = rungs(epochs) if search.study.early_stopping else ()
        self.curves, self.standing = Curves(epochs), Standing(self.objectives)
        self._heard: set[int] = set()

    def __call__(self, candidate: Candidate, known: Evaluation) -> bool:
        """Whether its training shall end here, or its seeds are enough."""
        if "accuracy" in known.details:
            return not self.needs_another_seed(known)
        return len(known.curve) in self.rungs and self.is_hopeless(known)

    def is_hopeless(self, known: Evaluation) -> bool:
        """Whether even an optimistic reading of its curve is dominated."""
        self._listen()
        outlook = self.curves.outlook(known.curve)
        return outlook is not None and self._beaten(known, outlook.optimistic(OPTIMISM))

    def needs_another_seed(self, known: Evaluation) -> bool:
        """Whether, given how much seeds differ, it may be on the front."""
        self._listen()
        values = seed_values(known)
        found = pooled_deviation(map(seed_values, (*(trial.evaluation for trial in self.search.trials), known)))
        if found is None:  # nobody knows how much seeds differ
            return True
        deviation, degrees = found
        margin = student(SURE, degrees) * deviation / len(values) ** 0.5
        return not self._beaten(known, sum(values) / len(values) + margin)

    def _listen(self) -> None:
        """Takes in the trials that have ended since."""
        for trial in self.search.trials:
            if trial.number not in self._heard:
                self._heard.add(trial.number)
                self.standing.add(trial)
                if trial.state == "complete":
                    self.curves.add([trial])

    def _beaten(self, known: Evaluation, accuracy: float) -> bool:
        point = {**known.scores, "accuracy": accuracy}
        return any(dominates(rival, point, self.objectives) for rival in self.standing.front)


def dominates(trial: Trial, point: dict[str, float], objectives: Sequence[Objective]) -> bool:
    """Whether a trial is as good as a point in every objective, and better in one; never, where a score is missing."""
    better = False
    for objective in objectives:
        own, other = trial.evaluation.scores[objective.name], point.get(objective.name, math.nan)
        ahead = own - other if objective.direction == "maximize" else other - own
        if not ahead >= 0:
            return False
        better = better or ahead > 0
    return better
