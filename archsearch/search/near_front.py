"""Which speeds of a candidate decide whether it is on the front, and are not known well enough for that."""

from collections.abc import Collection
from dataclasses import replace

from archsearch.objectives import FromTime
from archsearch.search.search import Search
from archsearch.search.storage.rescoring import is_known, score_of
from archsearch.stats.hypervolume import FrontTracker
from archsearch.stats.intervals import retimed
from archsearch.trial import Evaluation


def without(evaluation: Evaluation, names: Collection[str]) -> Evaluation:
    """Return an evaluation that lacks some scores, so that they are found out; what is known of them is kept."""
    scores = {name: value for name, value in evaluation.scores.items() if name not in names}
    reused = {name: origin for name, origin in evaluation.reused.items() if name not in names}
    return replace(evaluation, scores=scores, reused=reused)


class NearFront:
    """Looks at candidates whose evaluation is complete, beside the front of the trials that have ended by then."""

    def __init__(self, search: Search) -> None:
        """Read nothing yet.

        Args:
            search: Search whose trials are compared.
        """
        self.search, self.within = search, search.study.bench.near_front
        self.tracker = FrontTracker(search.study.objectives)
        self._heard = 0

    def doubtful(self, evaluation: Evaluation) -> list[str]:
        """Return the objectives to time once more; none where the candidate is off the front at the best of them.

        Args:
            evaluation: Complete evaluation of a candidate.
        """
        failed = evaluation.error or evaluation.seed_error or evaluation.pruned or evaluation.infeasible
        if failed or not self.within:
            return []
        names = [o.name for o in self.search.study.objectives if isinstance(o.measured, FromTime)]
        details = evaluation.details
        wide = [n for n in names if details.get(n, {}).get("ratio_interval") and not is_known(details[n], self.within)]
        hoped = dict(evaluation.scores)
        for name in wide:
            low, high = details[name]["ratio_interval"]
            best = retimed(details[name]["ratio"], (low, high))[1]
            hoped[name] = score_of(name, {**details[name], "ratio": best}, evaluation.scores[name])
        return wide if wide and not self._front().dominates(hoped) else []

    def _front(self) -> FrontTracker:
        for trial in self.search.told[self._heard :]:
            self.tracker.add(trial)
        self._heard = len(self.search.told)
        return self.tracker
