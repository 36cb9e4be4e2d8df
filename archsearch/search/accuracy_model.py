"""What the accuracies of all trials together say of each architecture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from archsearch.arch.params import Value
from archsearch.search.samplers.features import Points, count_nothing
from archsearch.search.samplers.gp import LEARN, Model, Observed, Posterior, spread_out
from archsearch.space.space import Space


@dataclass(frozen=True)
class TrueAccuracies:
    """True accuracies of M trials: what is left without the luck of a training and of a validation sample.

    Attributes:
        places: Places of the trials in the order in which they were added, ascending, (M,).
        expected: What the other trials let expect of each, (M,).
        mean: The same, its own accuracy taken into account, (M,).
        sd: Standard deviation of ``mean``, (M,); 0 where the error of accuracies is unknown.
    """

    places: np.ndarray
    expected: np.ndarray
    mean: np.ndarray
    sd: np.ndarray


class AccuracyModel:
    """A Gaussian process over the axes of a space, learnt from the accuracies of trials; for every sampler.

    One training's accuracy is partly luck, and more so the better it is: of many, the luckiest are at the front. The
    process tells both apart by what architectures have in common, and by how large the luck is. It counts no costs, as
    counting those of a whole space takes longer than it helps.

    Attributes:
        accuracies: Accuracies of the trials, in the order in which they were added.
    """

    def __init__(self, space: Space, seed: int) -> None:
        """Start without trials.

        Args:
            space: Search space.
            seed: Seed of the random points that features are scaled by.
        """
        self.accuracies: list[float] = []
        self._params: list[Mapping[str, Value]] = []
        self._errors: list[float] = []
        self._points, self._model = Points(space, count_nothing, seed), Model()
        self._posterior: Posterior | None = None

    def add(self, params: Mapping[str, Value], accuracy: float, error: float) -> None:
        """Add a trial.

        Args:
            params: Values of its open axes.
            accuracy: Its accuracy.
            error: Standard error of the accuracy; 0 if unknown.
        """
        self._params.append(params)
        self._errors.append(error)
        self.accuracies.append(accuracy)
        self._posterior = None

    def expect(self, params: Mapping[str, Value]) -> float:
        """Return the true accuracy that is expected of an architecture.

        Args:
            params: Values of its open axes.
        """
        return float(self._given_all().expect(self._at(params)[None])[0])

    def true_accuracies(self, of: Sequence[int]) -> TrueAccuracies:
        """Return true accuracies of the trials that the process is given.

        Args:
            of: Places of further trials to return those of, where there are too many to be given all.
        """
        posterior, used = self._given_all(), spread_out(len(self.accuracies), LEARN)
        places = np.union1d(used, np.asarray(of, dtype=int))
        others = np.setdiff1d(places, used)
        expected, variance = np.empty((2, len(places)))
        within = np.searchsorted(places, used)
        expected[within], variance[within] = posterior.leave_one_out()
        if len(others):
            within = np.searchsorted(places, others)
            expected[within], variance[within] = posterior.of_others(np.array([self._observe(at)[0] for at in others]))
        observed, noise = np.array([self._observe(at)[1:] for at in places]).T
        own = np.where(noise > 0, variance / np.maximum(variance + np.square(noise), 1e-300), 1.0)
        mean = expected + own * (observed - expected)
        return TrueAccuracies(places, expected, mean, np.sqrt(own) * noise)

    def _given_all(self) -> Posterior:
        if self._posterior is None:
            self._posterior = self._model.posterior(range(len(self.accuracies)), self._observe)
        return self._posterior

    def _observe(self, index: int) -> Observed:
        return self._at(self._params[index]), self.accuracies[index], self._errors[index]

    def _at(self, params: Mapping[str, Value]) -> np.ndarray:
        return self._points.scaled(self._points.at(params))
