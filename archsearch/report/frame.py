"""Trials as a data frame with one row per trial."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from archsearch.objectives import Objective
from archsearch.report.smoothed import SmoothedScores
from archsearch.stats.fronts import costs, nondominated
from archsearch.stats.noise import AccuracyNoise, score_interval, seed_values, with_level_seeds
from archsearch.trial import Trial


def trials_frame(
    trials: Sequence[Trial],
    objectives: tuple[Objective, ...],
    noise: AccuracyNoise | None = None,
    chances: np.ndarray | None = None,
    smoothed: SmoothedScores | None = None,
) -> pd.DataFrame:
    """Return a frame with each trial's number, state, scores, parameters and whether it is on the front.

    Scores are in the objectives' units; a measured one has its 95 % interval and its ratio to the
    reference beside it (``infer_throughput.low``, ``.high``, ``.ratio``). Parameters carry the prefix
    ``params.``; those that an architecture does not have are missing. Where trials were trained with unequal seeds,
    ``accuracy.level`` is what they are compared by.

    Args:
        trials: Trials of a study.
        objectives: Objectives of the study.
        noise: Noise of the study's accuracies; with it, accuracies have their interval, too.
        chances: Share of draws around the observed scores with each trial on the front, (N,), for the column
            ``front_probability``, or beside ``smoothed`` for ``front_probability_observed``.
        smoothed: Smoothed accuracies, for ``accuracy.smoothed`` with its interval, ``front_smoothed`` and
            ``front_probability``.
    """
    columns = ["number", "state", "key", *(o.name for o in objectives), "seconds", "error"]
    frame = pd.DataFrame([_row(trial) for trial in trials])
    frame = frame.reindex(columns=[*columns, *(c for c in frame.columns if c not in columns)])
    level = with_level_seeds(trials)
    frame["front"] = nondominated(costs(level, objectives))
    if level is not trials:
        frame["accuracy.level"] = [trial.evaluation.scores.get("accuracy", math.nan) for trial in level]
    if noise:
        frame[["accuracy.low", "accuracy.high"]] = _accuracy_intervals(trials, noise)
    if smoothed is not None:
        frame["accuracy.smoothed"] = smoothed.accuracy
        frame["accuracy.smoothed.low"], frame["accuracy.smoothed.high"] = smoothed.low, smoothed.high
        frame["front_smoothed"] = smoothed.front
        frame["front_probability"], frame["front_probability_observed"] = smoothed.chances, chances
    elif chances is not None:
        frame["front_probability"] = chances
    return frame


def _row(trial: Trial) -> dict[str, Any]:
    """Return what a frame says of a trial alone."""
    return {
        "number": trial.number,
        "state": trial.state,
        "key": trial.arch.key,
        **trial.evaluation.scores,
        **_intervals(trial),
        "seconds": sum(trial.evaluation.seconds.values()),
        "error": trial.evaluation.error,
        **{f"params.{name}": value for name, value in trial.params.items()},
    }


def _accuracy_intervals(trials: Sequence[Trial], noise: AccuracyNoise) -> np.ndarray:
    """Return the ends of the accuracies' intervals, (N, 2); NaN where a trial has no accuracy."""
    seeds = [len(seed_values(trial.evaluation)) or 1 for trial in trials]
    accuracies = [trial.evaluation.scores.get("accuracy", math.nan) for trial in trials]
    ends = [noise.interval(score, count) for score, count in zip(accuracies, seeds, strict=True)]
    return np.array(ends, dtype=float).reshape(-1, 2)


def _intervals(trial: Trial) -> dict[str, float | str]:
    columns: dict[str, float | str] = {}
    for name, detail in trial.evaluation.details.items():
        if ends := score_interval(name, detail):
            low, high = ends
            columns |= {f"{name}.low": low, f"{name}.high": high, f"{name}.ratio": detail["ratio"]}
        if "form" in detail:  # it is not the train form
            columns[f"{name}.form"] = detail["form"]
    return columns


def front_rows(frame: pd.DataFrame, objectives: tuple[Objective, ...]) -> pd.DataFrame:
    """Return the rows of the front, best first in the first objective: of that of smoothed scores, too."""
    first = objectives[0]
    members = frame[frame["front"] | frame["front_smoothed"]] if "front_smoothed" in frame else frame[frame["front"]]
    return members.sort_values(first.name, ascending=first.direction == "minimize")
