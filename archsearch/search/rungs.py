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

    def add(self, curve: Sequence[Epoch]) -> None:
        """Add a curve; one that was not trained to its end is ignored."""
        if len(curve) != self.epochs:
            return
        if self._count == len(self._accuracies):
            self._accuracies = np.concatenate([self._accuracies, np.empty_like(self._accuracies)])
        self._accuracies[self._count] = [epoch.accuracy for epoch in curve]
        self._count += 1

    def predict(self, curve: Sequence[Epoch]) -> CurvePrediction | None:
        """Return the prediction for a curve; None as long as too few are known."""
        if self._count < ENOUGH:
            return None
        known = self._accuracies[: self._count]
        return line_through(known[:, len(curve) - 1], known[:, -1], curve[-1].accuracy)


def line_through(early: np.ndarray, late: np.ndarray, at: float) -> CurvePrediction:
    """Return the prediction of ordinary least squares, with its standard error.

    Args:
        early: Accuracies of complete curves at the rung, (N,).
        late: Their accuracies at the end, (N,).
        at: Accuracy of another curve at the rung.

    >>> found = line_through(np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.4, 0.6]), 0.25)
    >>> round(found.mean, 6), round(found.sd, 6), found.degrees
    (0.5, 0.0, 1)
    """
    degrees = len(early) - 2
    spread = float(np.sum(np.square(early - early.mean()))) if np.ptp(early) else 0.0  # and not what rounding leaves
    slope = float(np.sum((early - early.mean()) * (late - late.mean()))) / spread if spread else 0.0
    residuals = late - late.mean() - slope * (early - early.mean())
    variance = float(np.sum(np.square(residuals))) / max(1, degrees)
    leverage = (at - float(early.mean())) ** 2 / spread if spread else 0.0
    return CurvePrediction(
        float(late.mean()) + slope * (at - float(early.mean())),
        float(np.sqrt(variance * (1 + 1 / len(early) + leverage))),
        max(1, degrees),
    )
