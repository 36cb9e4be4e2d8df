"""Noise of scores: confidence intervals of accuracy and speed, and the probability that a trial is on the front.

An accuracy varies with the seed of its training and with the sample of validation images. All trials of a study share
its seeds, so what a seed does to all of them alike is no noise (``archsearch.stats.seeds``). Where trials were trained
with several seeds, the variance that neither network nor seed explains is pooled over them and taken for that of all.
Where none was, the binomial error of the sample stands for it. That error knows nothing of seeds, and all trials of a
study share a part of it, since they are validated on the same images: it has the right size, and no more.

``front_chances`` draws scores around those observed. What the true scores probably are is another question, which
``archsearch.stats.smoothing`` answers.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from archsearch.objectives import OBJECTIVES, Objective
from archsearch.stats.bootstrap import front_probability
from archsearch.stats.fronts import costs, signs
from archsearch.stats.intervals import LEVEL, NORMAL, retimed, student, wilson
from archsearch.stats.seeds import SeedModel
from archsearch.trial import Evaluation, Trial

#: Degrees of freedom given to the binomial error beside the seed variance, as two seeds may agree by chance.
PRIOR_DEGREES = 2


@dataclass(frozen=True)
class AccuracyNoise:
    """Noise of the accuracies of a study.

    Attributes:
        images: Number of validation images; 0 if unknown.
        seed_sd: Standard deviation between trainings of one network with different seeds, less what these do to all
            networks alike, as a fraction; 0 where no trial has several.
        degrees: Degrees of freedom of ``seed_sd``; 0 where no trial has several.
        split: Split of the data set that accuracies are counted on.
    """

    images: int
    seed_sd: float = 0.0
    degrees: int = 0
    split: str = "validation"

    @property
    def critical_value(self) -> float:
        """Standard errors from an accuracy to the ends of its 95 % interval: Student's where there are seeds."""
        return student((1 + LEVEL) / 2, self.degrees) if self.degrees else NORMAL

    def interval(self, accuracy: float, seeds: int = 1) -> tuple[float, float]:
        """Return the 95 % confidence interval of an accuracy, within 0 and 1.

        Args:
            accuracy: Fraction; the mean over its seeds.
            seeds: Number of these seeds.

        >>> low, high = AccuracyNoise(0, 0.02, 1000).interval(0.5, 4)
        >>> round(low, 3), round(high, 3)
        (0.48, 0.52)
        """
        if not self.degrees:
            return wilson(accuracy, self.images)
        half = self.critical_value * self.seed_sd / math.sqrt(seeds)
        return max(accuracy - half, 0.0), min(accuracy + half, 1.0)

    def error(self, accuracy: float, seeds: int = 1) -> float:
        """Return the standard error of a normal distribution whose interval is as wide as ``interval``."""
        return self.standard_error(accuracy, seeds) * (self.critical_value / NORMAL)

    def standard_error(self, accuracy: float, seeds: int = 1) -> float:
        """Return the standard error, taken as known although ``seed_sd`` is itself an estimate."""
        return self.seed_sd / math.sqrt(seeds) if self.degrees else binomial_error(accuracy, self.images)

    @property
    def words(self) -> str:
        """What the intervals cover, as a text for people."""
        if not self.degrees:
            return (
                f"from the sample of {self.images} {self.split} images alone; trainings with other seeds vary too, "
                "and no trial has several"
            )
        return (
            f"from seeds: trainings of one network differ by {100 * self.seed_sd:.2f} points (standard deviation, "
            f"{self.degrees} degrees of freedom"
            + (f", {PRIOR_DEGREES} of them the binomial error of {self.images} images)" if self.images else ")")
        )


def binomial_error(share: float, samples: int) -> float:
    """Return the standard error of a share, from the width of Wilson's interval."""
    low, high = wilson(share, samples)
    return (high - low) / (2 * NORMAL)


def seed_values(evaluation: Evaluation) -> list[float]:
    """Return the accuracies of a candidate's seeds; empty where only one seed was asked for."""
    return list(evaluation.accuracies.values())


def accuracies_by_seed(trial: Trial) -> dict[int, float]:
    """Return the accuracies of a trial that has any, by seed."""
    return trial.evaluation.accuracies or {trial.seed: trial.evaluation.scores["accuracy"]}


def pooled_deviation(groups: Iterable[Sequence[float]]) -> tuple[float, int] | None:
    """Return the standard deviation within groups and its degrees of freedom; None where no group has two values.

    >>> pooled_deviation([[1.0, 3.0], [5.0]])
    (1.4142135623730951, 1)
    """
    several = [np.array(group) for group in groups if len(group) > 1]
    degrees = sum(len(group) - 1 for group in several)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in several)
    return (math.sqrt(squares / degrees), degrees) if degrees else None


def accuracy_noise(trials: Sequence[Trial], images: int) -> AccuracyNoise | None:
    """Estimate the noise of a study's accuracies; None where nothing is known.

    Args:
        trials: Trials of the study; the seed variance is pooled over those with several seeds (``SeedModel``).
        images: Number of validation images; 0 if unknown.
    """
    accuracies = [t.evaluation.scores["accuracy"] for t in trials if "accuracy" in t.evaluation.scores]
    return noise_of(seed_model(trials), images, accuracies)


def noise_of(seeds: SeedModel, images: int, accuracies: Sequence[float]) -> AccuracyNoise | None:
    """Return the noise of accuracies; None where nothing is known.

    Args:
        seeds: Network-plus-seed model of those with several seeds.
        images: Number of validation images; 0 if unknown.
        accuracies: Accuracies whose binomial error stands beside what the seeds tell.
    """
    if seeds.noise is None:
        return AccuracyNoise(images) if images else None
    deviation, degrees = seeds.noise
    if images:
        prior = PRIOR_DEGREES * sum(binomial_error(each, images) ** 2 for each in accuracies) / len(accuracies)
        deviation = math.sqrt((prior + degrees * deviation**2) / (PRIOR_DEGREES + degrees))
        degrees += PRIOR_DEGREES
    return AccuracyNoise(images, deviation, degrees) if deviation else None


def seed_model(trials: Iterable[Trial]) -> SeedModel:
    """Return the network-plus-seed model of a study's accuracies."""
    model = SeedModel()
    for trial in trials:
        model.add(trial.evaluation.accuracies)
    return model


def with_level_seeds(trials: Sequence[Trial]) -> Sequence[Trial]:
    """Return trials whose accuracies can be compared: less what their seeds do to all networks.

    A study records the plain mean over a candidate's seeds. Where candidates have other seeds, the effects of these
    come out of it (``SeedModel.level``); where all have the same, nothing changes.
    """
    model = seed_model(trials)
    if not model.residual:
        return trials
    return [_less(t, model.level(accuracies_by_seed(t))) if "accuracy" in t.evaluation.scores else t for t in trials]


def _less(trial: Trial, level: float) -> Trial:
    scores = trial.evaluation.scores | {"accuracy": trial.evaluation.scores["accuracy"] - level}
    return replace(trial, evaluation=replace(trial.evaluation, scores=scores))


def score_interval(name: str, detail: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of a measured score, in its unit; None where it has none.

    It is that of the relative throughput, widened by what timing a network again in another minute shows.

    Args:
        name: Name of the objective.
        detail: Recorded details of its measurement (``Timing.details``).
    """
    if "interval_s" not in detail or name not in OBJECTIVES:  # recorded before there were intervals
        return None
    return OBJECTIVES[name].interval(_seconds(detail), detail["batch_size"])


def _seconds(detail: Mapping[str, Any]) -> tuple[float, float]:
    """Interval of the seconds per step that a score is made of."""
    fixed, ends = detail.get("fixed_reference_s"), detail.get("ratio_interval")
    if fixed is None or not ends:
        return detail["interval_s"][0], detail["interval_s"][1]
    low, high = retimed(detail["ratio"], (ends[0], ends[1]))
    return fixed / high, fixed / low


def front_chances(
    trials: Sequence[Trial], objectives: Sequence[Objective], noise: AccuracyNoise | None
) -> np.ndarray | None:
    """Return the probability that each trial is on the front of the study (``front_probability``).

    Args:
        trials: Trials of the study; those that are not complete get NaN.
        objectives: Objectives of the study. MACs, parameters and other counted scores are exact.
        noise: Noise of the accuracies.

    Returns:
        Probabilities, (N,); None where no score is noisy, or the noise of accuracies is unknown.
    """
    if noise is None and any(objective.name == "accuracy" for objective in objectives):
        return None
    chances = np.full(len(trials), np.nan)
    complete = [place for place, trial in enumerate(trials) if trial.state == "complete"]
    values, errors = readings([trials[place] for place in complete], objectives, noise)
    if not (errors > 0).any():
        return None
    chances[complete] = front_probability(values, errors)
    return chances


def readings(
    trials: Sequence[Trial], objectives: Sequence[Objective], noise: AccuracyNoise | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores of complete trials and their standard errors, (N, objectives) each; smaller is better.

    Speeds become logarithms: a step's time is log-normal, and a front is the same in logarithms.
    """
    values = costs(trials, objectives)
    errors = np.zeros_like(values)
    measured = [log_errors(trial.evaluation.details) for trial in trials]
    for place, (objective, sign) in enumerate(zip(objectives, signs(objectives), strict=True)):
        if objective.name == "accuracy" and noise:
            errors[:, place] = [
                noise.error(t.evaluation.scores["accuracy"], len(seed_values(t.evaluation)) or 1) for t in trials
            ]
        scatter = np.array([one.get(objective.name, 0.0) for one in measured])
        if (scatter > 0).any():
            errors[:, place] = scatter
            values[:, place] = sign * np.log(sign * values[:, place])
    return values, errors


def log_errors(details: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the standard errors of the logarithms of measured scores, by objective.

    Args:
        details: Recorded details of a trial's measurements, by objective.
    """
    ends = {name: score_interval(name, detail) for name, detail in details.items()}
    return {name: math.log(both[1] / both[0]) / (2 * NORMAL) for name, both in ends.items() if both}
