"""Early stopping: which trainings to prune, and which candidates to train with another seed.

A candidate's costs are known before it is trained, so that one question is left: can it still reach the front? At
each rung the candidates are compared as in MO-ASHA (Schmucker et al. 2021), by domination; but where that promotes
the better share of a rung, and so gives up a share of good ones whatever the curves look like, here only those are
pruned whose place is taken even if they end as well as their curve can hope for.
"""

import math

import numpy as np

from archsearch.search.accuracy_model import AccuracyModel, TrueAccuracies
from archsearch.search.definition import validation_images
from archsearch.search.rungs import ENOUGH, CurvePrediction, Curves, regression, rungs
from archsearch.search.search import Candidate, Search
from archsearch.stats.hypervolume import FrontTracker
from archsearch.stats.intervals import student
from archsearch.stats.noise import accuracies_by_seed, noise_of
from archsearch.stats.seeds import SeedModel
from archsearch.trial import EpochDone, Evaluation, SeedDone, Trial

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
        self.model = AccuracyModel(search.study.space, search.study.seed)
        self._places: dict[int, int] = {}  # of trials in the model, by number
        self._images = validation_images(search.record)
        self._true: TrueAccuracies | None = None
        self._seeds = SeedModel()
        self._heard = 0

    def __call__(self, candidate: Candidate, event: EpochDone | SeedDone) -> bool:
        """Return whether to stop its training, or to train no further seed."""
        if isinstance(event, SeedDone):
            return not self.needs_another_seed(event.known)
        return len(event.known.curve) in self.rungs and self.is_hopeless(candidate, event.known)

    def is_hopeless(self, candidate: Candidate, known: Evaluation) -> bool:
        """Return whether its true accuracy is below that of a cheaper rival on the front, as sure as the level asks.

        True is what the model makes of accuracies. The candidate's is predicted by regression, from its accuracy at
        the rung and from what the other trials say of such an architecture; a rival's is known up to the model's
        standard deviation. So neither a rival's luck prunes a candidate, nor its own luck spares it.
        """
        self._listen()
        if len(self.model.accuracies) < ENOUGH:
            return False
        true = self._true_accuracies()
        own = self.predict(candidate, known)
        luck, doubt = np.zeros((2, len(self.tracker.front)))
        for at, rival in enumerate(self.tracker.front):
            if rival.number in self._places:  # the others were never trained here, or not as long
                place = np.searchsorted(true.places, self._places[rival.number])
                luck[at] = rival.evaluation.scores["accuracy"] - true.mean[place]
                doubt[at] = true.sd[place]
        sd = np.sqrt(own.sd**2 + np.mean(np.square(true.sd)) + np.square(doubt))
        hoped = own.mean + student(self.search.study.stopping_level, own.degrees) * sd
        return self.tracker.dominates({**known.scores, "accuracy": hoped + luck})

    def predict(self, candidate: Candidate, known: Evaluation) -> CurvePrediction:
        """Return the prediction of what the model will make of the candidate's accuracy, once it is trained."""
        true = self._true_accuracies()
        early = self.curves.accuracies(len(known.curve))[true.places]
        at = np.array([known.curve[-1].accuracy, self.model.expect(candidate.params)])
        return regression(np.column_stack([early, true.expected]), true.mean, at)

    def _true_accuracies(self) -> TrueAccuracies:
        """True accuracies of the finished trials, those of the front among them."""
        if self._true is None:
            front = (rival.number for rival in self.tracker.front)
            self._true = self.model.true_accuracies([self._places[n] for n in front if n in self._places])
        return self._true

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
            self._seeds.add(trial.evaluation.accuracies)
            if trial.state == "complete" and self.curves.add(trial.evaluation.curve):
                self._learn(trial, trial.evaluation.curve[-1].accuracy)
        self._heard = len(self.search.told)

    def _learn(self, trial: Trial, accuracy: float) -> None:
        """Add a whole training to the model; of several seeds the first, which all candidates are trained with."""
        noise = noise_of(self._seeds, self._images, [accuracy])
        self._places[trial.number] = len(self._places)
        self.model.add(trial.params, accuracy, noise.standard_error(accuracy) if noise else 0.0)
        self._true = None
