"""Predictions of a learning curve's end from an early epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archsearch.stats.intervals import student
from archsearch.trial import Epoch

#: Number of equal parts of a training; rungs are the epochs between them.
PARTS = 8
#: Minimum number of complete curves for a prediction.
ENOUGH = 6


def rungs(epochs: int) -> tuple[int, ...]:
    """Return the rungs, the epochs at which early stopping looks: at most seven, evenly spaced, before the end.

    >>> rungs(8), rungs(3), rungs(300), rungs(1)
    ((1, 2, 3, 4, 5, 6, 7), (1, 2), (38, 75, 113, 150, 188, 225, 263), ())
    """
    return tuple(sorted({epoch for part in range(1, PARTS) if (epoch := -(-epochs * part // PARTS)) < epochs}))


@dataclass(frozen=True)
class CurvePrediction:
    """Prediction of a curve's last accuracy.

    Attributes:
        mean: Predicted accuracy, a fraction.
        sd: Standard error of the prediction, with that of the fitted line.
        degrees: Degrees of freedom of ``sd``.
    """

    mean: float
    sd: float
    degrees: int

    def upper(self, level: float) -> float:
        """Return the upper bound of a one-sided prediction interval.

        Args:
            level: Probability of the interval.
        """
        return self.mean + student(level, self.degrees) * self.sd


class Curves:
    """Complete curves, from which others are predicted by a line through accuracies at a rung and at the end."""

    def __init__(self, epochs: int) -> None:
        """Start without curves.

        Args:
            epochs: Number of epochs of a complete training.
        """
        self.epochs, self._count = epochs, 0
        self._accuracies = np.empty((64, epochs))

    def add(self, curve: Sequence[Epoch]) -> bool:
        """Add a curve; return False for one that was not trained to its end, which is ignored."""
        if len(curve) != self.epochs:
            return False
        if self._count == len(self._accuracies):
            self._accuracies = np.concatenate([self._accuracies, np.empty_like(self._accuracies)])
        self._accuracies[self._count] = [epoch.accuracy for epoch in curve]
        self._count += 1
        return True

    def predict(self, curve: Sequence[Epoch]) -> CurvePrediction | None:
        """Return the prediction for a curve; None as long as too few are known."""
        if self._count < ENOUGH:
            return None
        early = self.accuracies(len(curve))[:, None]
        return regression(early, self.accuracies(self.epochs), np.array([curve[-1].accuracy]))

    def accuracies(self, epoch: int) -> np.ndarray:
        """Return the accuracies of all curves at an epoch, (N,)."""
        return self._accuracies[: self._count, epoch - 1]


def regression(predictors: np.ndarray, target: np.ndarray, at: np.ndarray) -> CurvePrediction:
    """Return the prediction of least squares without negative slopes, with its standard error.

    None of the predictors speaks for a worse end where it is better. A negative slope is chance, or comes from a mean
    of all others, which is the lower the better the one left out: taken at its word, it would tell every end.

    Args:
        predictors: What is known of complete trainings, (N, K); columns without variation are left out.
        target: What is to be predicted, of the same trainings, (N,).
        at: What is known of another one, (K,).

    >>> found = regression(np.array([[0.1], [0.2], [0.3]]), np.array([0.2, 0.4, 0.6]), np.array([0.25]))
    >>> round(found.mean, 6), round(found.sd, 6), found.degrees
    (0.5, 0.0, 1)
    """
    count, columns = predictors.shape
    degrees, centre = max(1, count - 1 - columns), float(target.mean())
    kept = np.flatnonzero(np.ptp(predictors, axis=0) > 0)  # and not what rounding leaves
    while True:
        centred = predictors[:, kept] - predictors[:, kept].mean(axis=0)
        inverse = np.linalg.pinv(centred)
        slopes = inverse @ (target - centre)
        if (slopes >= 0).all():
            break
        kept = np.delete(kept, slopes.argmin())
    variance = float(np.sum(np.square(target - centre - centred @ slopes))) / degrees
    away = at[kept] - predictors[:, kept].mean(axis=0)
    leverage = float(np.sum(np.square(away @ inverse)))
    sd = float(np.sqrt(variance * (1 + 1 / count + leverage)))
    return CurvePrediction(centre + float(away @ slopes), sd, degrees)
