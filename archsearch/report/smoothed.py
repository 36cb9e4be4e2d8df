"""Smoothed accuracies of a study's trials, their front, and how probably each trial is on it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from archsearch.objectives import Objective
from archsearch.search.samplers.features import axis_features
from archsearch.space.space import Axis
from archsearch.stats.bootstrap import front_probability_of
from archsearch.stats.fronts import nondominated
from archsearch.stats.noise import AccuracyNoise, readings, seed_values
from archsearch.stats.smoothing import CHOOSE, Factors, smooth, value_distances
from archsearch.trial import Trial

#: Maximum number of trials in the model, whose time grows with their cube: half of them spread over the study, half
#: nearest to the front. The others have no smoothed accuracy, and are not on the front.
MOST = 300
#: Growth of a longer study after which a page that follows it has the model computed again.
GROWTH = 1.05
#: Counted scores whose logarithms tell the size of a network.
SIZES = ("macs", "params")


@dataclass(frozen=True)
class SmoothedScores:
    """What a model of the space makes of the accuracies. N is the number of trials.

    Attributes:
        accuracy: Expected true accuracy, (N,); NaN for trials that the model leaves out.
        low: Lower end of its 95 % credible interval, (N,).
        high: Upper end, (N,).
        front: Whether a trial is on the front of smoothed accuracies, (N,).
        chances: Probability of being on the front of true scores, (N,); NaN for trials that are not complete.
    """

    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    front: np.ndarray
    chances: np.ndarray

    @property
    def words(self) -> str:
        """What the probabilities of being on the front are, as a text for people."""
        left_out = int(np.isnan(self.accuracy).sum() - np.isnan(self.chances).sum())
        return (
            "the probability, by a model of the space's axes, that a trial is on the front of true scores: the model "
            "smooths the observed accuracies, so that one that was merely lucky counts for less"
            + (f"; {left_out} trials far from the front are left out of it" if left_out else "")
        )


#: Function from trials, objectives, noise and axes to smoothed accuracies.
Smoothing = Callable[
    [Sequence[Trial], Sequence[Objective], AccuracyNoise | None, Mapping[str, Mapping[str, Any]]], SmoothedScores | None
]
#: What the probabilities are where no model can be made, as a text for people.
OBSERVED = (
    "the share of draws, around the observed scores, in which a trial is on the front: what the noise leaves open. "
    "It is no probability of being truly the best, as a trial that looks good among many was probably lucky; a model "
    "that corrects that takes eight finished trials of a searched space"
)


def smoothed_scores(
    trials: Sequence[Trial],
    objectives: Sequence[Objective],
    noise: AccuracyNoise | None,
    axes: Mapping[str, Mapping[str, Any]],
) -> SmoothedScores | None:
    """Return smoothed accuracies; None where no model can be made: too few trials, no accuracy, no axes, no noise.

    Args:
        trials: Trials of the study, on the level of one seed.
        objectives: Objectives of the study.
        noise: Noise of the accuracies.
        axes: Axes of the space, as ``Space.to_dict`` writes them.
    """
    names = [objective.name for objective in objectives]
    if noise is None or not axes or "accuracy" not in names:
        return None
    complete = np.array([place for place, trial in enumerate(trials) if trial.state == "complete"], dtype=int)
    values, errors = readings([trials[place] for place in complete], objectives, noise)
    finite = np.isfinite(values).all(axis=1)
    complete, values, errors = complete[finite], values[finite], errors[finite]
    rows, column = _in_model(values), names.index("accuracy")
    places = complete[rows]
    members = [trials[place] for place in places]
    accuracies = np.array([trial.evaluation.scores["accuracy"] for trial in members])
    posterior = smooth(_factors(members, axes), accuracies, _errors(members, noise), noise.degrees)
    if posterior is None:
        return None
    expected = values[rows].copy()
    expected[:, column] = -posterior.mean
    accuracy, low, high, chances = np.full((4, len(trials)), np.nan)
    found = SmoothedScores(accuracy, low, high, np.zeros(len(trials), dtype=bool), chances)
    found.accuracy[places] = posterior.mean
    found.low[places], found.high[places] = posterior.interval
    found.front[places] = nondominated(expected)
    found.chances[complete] = 0.0
    found.chances[places] = front_probability_of(expected, errors[rows], column, -posterior.draws)
    return found


class Smoother:
    """``smoothed_scores`` of a study that grows: of a long one anew only when it has grown by ``GROWTH``."""

    def __init__(self) -> None:
        """Start without trials."""
        self._known: SmoothedScores | None = None

    def __call__(
        self,
        trials: Sequence[Trial],
        objectives: Sequence[Objective],
        noise: AccuracyNoise | None,
        axes: Mapping[str, Mapping[str, Any]],
    ) -> SmoothedScores | None:
        """Return smoothed accuracies; of trials that ended since they were computed, NaN and no place on the front."""
        known = self._known
        if known is None or len(trials) <= CHOOSE or len(trials) > GROWTH * len(known.accuracy):
            known = self._known = smoothed_scores(trials, objectives, noise, axes)
        if known is None or len(trials) == len(known.accuracy):
            return known
        more = (0, len(trials) - len(known.accuracy))
        accuracy, low, high, chances = (
            np.pad(each, more, constant_values=np.nan)
            for each in (known.accuracy, known.low, known.high, known.chances)
        )
        return SmoothedScores(accuracy, low, high, np.pad(known.front, more), chances)


def _in_model(values: np.ndarray) -> np.ndarray:
    """Return the rows that are in the model: all, or of many those of the first fronts and others in between."""
    if len(values) <= MOST:
        return np.arange(len(values))
    left, near = np.arange(len(values)), np.zeros(0, dtype=int)
    while len(near) < MOST // 2:
        marks = nondominated(values[left])
        near, left = np.concatenate([near, left[marks]]), left[~marks]
    near = near[: MOST // 2]
    spread = np.linspace(0, len(values) - 1, MOST - len(near)).astype(int)
    return np.union1d(near, spread)


def _errors(trials: Sequence[Trial], noise: AccuracyNoise) -> np.ndarray:
    seeds = [len(seed_values(trial.evaluation)) or 1 for trial in trials]
    accuracies = [trial.evaluation.scores["accuracy"] for trial in trials]
    return np.array([noise.standard_error(*each) for each in zip(accuracies, seeds, strict=True)])


def _factors(trials: Sequence[Trial], axes: Mapping[str, Mapping[str, Any]]) -> Factors:
    """Return the values of axes that the trials have, and their sizes."""
    own = [Axis(name, tuple(spec["values"])) for name, spec in axes.items()]
    distances = [value_distances(np.array([axis_features(axis, value) for value in axis.values])) for axis in own]
    places = [{value: place for place, value in enumerate(axis.values)} for axis in own]
    codes = [
        [known.get(t.params.get(axis.name, math.nan), len(known)) for axis, known in zip(own, places, strict=True)]
        for t in trials
    ]
    sizes = [name for name in SIZES if all(trial.evaluation.scores.get(name, 0) > 0 for trial in trials)]
    logs = [[np.log(trial.evaluation.scores[name]) for name in sizes] for trial in trials]
    return Factors(
        np.array(codes).reshape(len(trials), len(own)), distances, np.array(logs).reshape(len(trials), len(sizes))
    )
