"""Learning curves read at an early epoch: what they end at, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archsearch.stats.intervals import student
from archsearch.trial import Epoch

#: Parts that a training falls into; candidates are judged between two of them.
PARTS = 8
#: Finished curves from which on others are judged by them.
ENOUGH = 6


def rungs(epochs: int) -> tuple[int, ...]:
    """Epochs after which candidates are judged: at most seven, evenly spaced, before the end.

    >>> rungs(8), rungs(3), rungs(300), rungs(1)
    ((1, 2, 3, 4, 5, 6, 7), (1, 2), (38, 75, 113, 150, 188, 225, 263), ())
    """
    return tuple(sorted({epoch for part in range(1, PARTS) if (epoch := -(-epochs * part // PARTS)) < epochs}))


@dataclass(frozen=True)
class Outlook:
    """What a curve is expected to end at.

    Attributes:
        mean: accuracy at the end, a fraction.
        sd: of the prediction: the scatter of finished curves around it, and how few they are.
        degrees: of freedom of ``sd``.
    """

    mean: float
    sd: float
    degrees: int

    def optimistic(self, level: float) -> float:
        """What it stays below with a probability, as far as finished curves tell."""
        return self.mean + student(level, self.degrees) * self.sd


class Curves:
    """Finished curves, by which unfinished ones are read: a line through accuracies at a rung and at the end."""

    def __init__(self, epochs: int) -> None:
        """Args: epochs: of a whole training."""
        self.epochs, self._count = epochs, 0
        self._accuracies = np.empty((64, epochs))

    def add(self, curve: Sequence[Epoch]) -> None:
        """Takes in one that was trained to its end; others are passed over."""
        if len(curve) != self.epochs:
            return
        if self._count == len(self._accuracies):
            self._accuracies = np.concatenate([self._accuracies, np.empty_like(self._accuracies)])
        self._accuracies[self._count] = [epoch.accuracy for epoch in curve]
        self._count += 1

    def outlook(self, curve: Sequence[Epoch]) -> Outlook | None:
        """What a curve is expected to end at; None as long as too few are known."""
        if self._count < ENOUGH:
            return None
        known = self._accuracies[: self._count]
        return line_through(known[:, len(curve) - 1], known[:, -1], curve[-1].accuracy)


def line_through(early: np.ndarray, late: np.ndarray, at: float) -> Outlook:
    """Ordinary least squares, and the error of a prediction by it.

    >>> outlook = line_through(np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.4, 0.6]), 0.25)
    >>> round(outlook.mean, 6), round(outlook.sd, 6), outlook.degrees
    (0.5, 0.0, 1)
    """
    degrees = len(early) - 2
    spread = float(np.sum(np.square(early - early.mean()))) if np.ptp(early) else 0.0  # and not what rounding leaves
    slope = float(np.sum((early - early.mean()) * (late - late.mean()))) / spread if spread else 0.0
    residuals = late - late.mean() - slope * (early - early.mean())
    variance = float(np.sum(np.square(residuals))) / max(1, degrees)
    leverage = (at - float(early.mean())) ** 2 / spread if spread else 0.0
    return Outlook(
        float(late.mean()) + slope * (at - float(early.mean())),
        float(np.sqrt(variance * (1 + 1 / len(early) + leverage))),
        max(1, degrees),
    )
