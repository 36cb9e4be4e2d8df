"""How long fronts, probabilities and the hypervolume's trace take, beside moocore alone on the same points.

    python benchmarks/fronts.py [--repeats 15] [--spread cloud|shell]

Scores of three objectives are made up: a cloud, a few of which are on the front, or a shell, all of which are. The
front is that of a frame as a study's is, with a dozen other columns; moocore gets the same points as one array that is
ready. Both take turns, and the least of all repeats is printed. The trace and the probabilities are those of studies of
10,000 trials, from their records (of a shell: 1,000, as its trace grows with the square of the front).
"""

import argparse
import time
from collections.abc import Callable

import moocore
import numpy as np
import pandas as pd

from archsearch.arch.networks import network
from archsearch.objectives import parse_objectives
from archsearch.stats.fronts import on_front
from archsearch.stats.hypervolume import box_of, hypervolume_trace
from archsearch.stats.noise import AccuracyNoise, front_chances
from archsearch.trial import Evaluation, Trial

OBJECTIVES = parse_objectives("pareto")
MAXIMISE = [objective.direction == "maximize" for objective in OBJECTIVES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--spread", choices=("cloud", "shell"), default="cloud")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    for count in (10_000, 100_000):
        scores = made_up(count, args.spread, rng)
        frame = with_other_columns(scores, rng)
        ready = np.ascontiguousarray(scores)
        ours, theirs = in_turns(
            args.repeats,
            lambda frame=frame: on_front(frame, OBJECTIVES),
            lambda ready=ready: moocore.is_nondominated(ready, maximise=MAXIMISE, keep_weakly=True),
        )
        members = int(on_front(frame, OBJECTIVES).sum())
        print(
            f"front of {count} trials ({members} on it): {1e3 * ours:.2f} ms from the frame, {1e3 * theirs:.2f} ms by "
            f"moocore alone, {ours / theirs:.2f} times"
        )
    studied(made_up(10_000 if args.spread == "cloud" else 1000, args.spread, rng), max(3, args.repeats // 3))


def studied(scores: np.ndarray, repeats: int) -> None:
    """Times what is computed from the records of a study."""
    trials = [trial(number, *map(float, row)) for number, row in enumerate(scores)]
    box, noise = box_of(OBJECTIVES, trials), AccuracyNoise(0, 0.01, 20)
    trace, chances = in_turns(
        repeats,
        lambda: hypervolume_trace(OBJECTIVES, trials, box),
        lambda: front_chances(trials, OBJECTIVES, noise),
    )
    grew = len(hypervolume_trace(OBJECTIVES, trials, box)[0])
    possible = int((front_chances(trials, OBJECTIVES, noise) > 0).sum())
    print(f"hypervolume's trace of {len(trials)} trials ({grew} widened the front): {1e3 * trace:.0f} ms")
    print(f"probabilities of {len(trials)} trials ({possible} may be on the front): {1e3 * chances:.0f} ms")


def made_up(count: int, spread: str, rng: np.random.Generator) -> np.ndarray:
    """Scores, (N, objectives): accuracy around 70 %, 4 GMACs, 1000 images/s."""
    points = rng.normal(size=(count, 3))
    if spread == "shell":
        points = 2 * np.abs(points) / np.linalg.norm(points, axis=1, keepdims=True)
    return np.column_stack([0.7 + 0.05 * points[:, 0], 4e9 * 1.2 ** -points[:, 1], 1e3 * 1.2 ** points[:, 2]])


def with_other_columns(scores: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """A frame such as ``archsearch.report.frame`` makes."""
    frame = pd.DataFrame(scores, columns=[objective.name for objective in OBJECTIVES])
    frame.insert(0, "state", "complete")
    frame.insert(1, "key", [f"{number:012x}" for number in range(len(frame))])
    for place in range(8):
        frame[f"params.axis{place}"] = rng.choice([3.0, 5.0, 7.0, np.nan], size=len(frame))
    frame["params.token_mixer"] = rng.choice(["inception", "depthwise"], size=len(frame))
    return frame


def trial(number: int, accuracy: float, macs: float, speed: float) -> Trial:
    """A record, timed within a percent."""
    scores = {"accuracy": accuracy, "macs": macs, "infer_throughput": speed}
    details = {"infer_throughput": {"batch_size": 128, "interval_s": [126.7 / speed, 129.3 / speed]}}
    evaluation = Evaluation(scores, details, seconds={"train": 20.0})
    return Trial(number, "complete", network("inceptionnext_atto"), {}, 0, evaluation, {})


def in_turns(repeats: int, *ways: Callable[[], object]) -> list[float]:
    """The least seconds that each took."""
    least = [float("inf")] * len(ways)
    for _ in range(repeats):
        for place, way in enumerate(ways):
            start = time.perf_counter()
            way()
            least[place] = min(least[place], time.perf_counter() - start)
    return least


if __name__ == "__main__":
    main()
