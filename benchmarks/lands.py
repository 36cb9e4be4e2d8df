"""How good are the samplers on ground that was not made for any of them? Searches on random lands.

    python benchmarks/lands.py run [--spaces metanext macro] [--only NAME...] [--lands 8] [--seeds 3] [--trials 100]
    python benchmarks/lands.py show

A land is a shipped space with an accuracy that is drawn: an effect of every value of every axis, one of every pair of
values, a residual of every architecture, and a slope on the logarithm of its multiply-adds, which are the real ones. A
training shows it with noise: a seed's deviation, and that of counting hits among so many images. The sizes of all these
are drawn per land as well. Searched are accuracy (max) and multiply-adds (min). The tool's samplers ask and tell as any
study does, Optuna's are called as a user would. ``docs/results/samplers.md`` has the tables and what they say.

What is compared at equal trials is the *true* hypervolume of the *observed* front: which trials are on it is judged by
their noisy scores, and what it is worth by the true ones. It is a share of what the true front reaches, which
enumeration finds; the box is that front's own, a tenth wider at its worst corner. So one architecture is not enough.

Medians after 50 and 100 trials (24 searches each): on ``metanext`` cost_aware 0.82 and 0.90, tpe 0.68 and 0.74,
NSGAIISampler() 0.65 and 0.69, random 0.66 and 0.72; on ``macro`` cost_aware 0.94 and 0.97, tpe 0.79 and 0.89,
NSGAIISampler() 0.66 and 0.75, random 0.71 and 0.76; GPSampler() after 50: 0.84 (3 searches) and 0.90 (4).

``run`` adds to ``benchmarks/lands/results.json``, and skips what is there, so that pieces add up.
"""

import argparse
import functools
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from land import Goal, Ground, Land, Params
from scipy.stats import rankdata

from archsearch.objectives import parse_objectives
from archsearch.recipes import BENCHES, ProxyRecipe
from archsearch.search.definition import Study, create_or_resume
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.trial import Epoch, Evaluation

RESULTS = Path(__file__).parent / "lands" / "results.json"
OBJECTIVES = parse_objectives("accuracy,macs")
SPACES = ("metanext", "macro")
OWN = ("cost_aware", "tpe", "nsga2", "gp", "random")
#: Searches that all are compared with, case by case.
BESIDE = ("random", "tpe", "cost_aware")
#: Numbers of trials at which searches are compared.
AT = (50, 100)
#: Every so many trials a search is judged.
EVERY = 10
#: Resamples of a bootstrap.
RESAMPLES = 4000
#: What a search tried, in its order: observed costs and true costs, (N, 2) each, and seconds of training, (N,).
Tried = tuple[np.ndarray, np.ndarray, np.ndarray]


class Trainer:
    """Trains architectures of a land, and keeps what was observed and what is true."""

    def __init__(self, land: Land, seed: int) -> None:
        self.land, self.seed = land, seed
        self._rows: list[tuple[float, float, float, float]] = []

    def __call__(self, params: Params) -> Evaluation:
        """One training."""
        (observed, true, seconds), macs = self.land.train(params, self.seed), self.land.ground.macs(params)
        self._rows.append((observed, true, macs, seconds))
        scores = {"accuracy": observed, "macs": macs}
        return Evaluation(scores, curve=(Epoch(1, 1.0, observed, seconds),), seconds={"train": seconds})

    @property
    def tried(self) -> Tried:
        """All trainings so far."""
        observed, true, macs, seconds = np.array(self._rows).T
        return np.column_stack([-observed, macs]), np.column_stack([-true, macs]), seconds


def own(sampler: str, land: Land, seed: int, trials: int) -> Tried:
    """A search by the tool."""
    recipe = ProxyRecipe(epochs=1, val_samples=land.images)
    study = Study("land", land.ground.space, OBJECTIVES, recipe, BENCHES["cpu"], {}, "land", sampler, seed,
                  early_stopping=False)  # fmt: skip
    mirror = StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage()))
    search, train = Search(study, mirror, land.ground.count), Trainer(land, seed)
    for _ in range(trials):
        if (candidate := search.ask()) is None:
            break
        search.tell(candidate, train(candidate.params), {})
    return train.tried


def plain(make: Callable[[int], optuna.samplers.BaseSampler], land: Land, seed: int, trials: int) -> Tried:
    """A search by Optuna alone, as a user would write it."""
    study = optuna.create_study(directions=[o.direction for o in OBJECTIVES], sampler=make(seed))
    train = Trainer(land, seed)

    def objective(trial: optuna.Trial) -> list[float]:
        params: dict[str, Any] = {}
        for axis in land.ground.space.axes:
            if axis.open(params):
                params[axis.name] = trial.suggest_categorical(axis.name, axis.values)
        scores = train(params).scores
        return [scores[o.name] for o in OBJECTIVES]

    study.optimize(objective, n_trials=trials)
    return train.tried


def searches() -> dict[str, Callable[[Land, int, int], Tried]]:
    """What is compared, by name: land, seed and number of trials to what was tried."""
    samplers = optuna.samplers
    makes: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
        "NSGAIISampler()": lambda seed: samplers.NSGAIISampler(seed=seed),
        "NSGAIISampler(population_size=10)": lambda seed: samplers.NSGAIISampler(population_size=10, seed=seed),
        "TPESampler()": lambda seed: samplers.TPESampler(seed=seed),
        "TPESampler(multivariate=True)": lambda seed: samplers.TPESampler(multivariate=True, seed=seed),
        "GPSampler()": lambda seed: samplers.GPSampler(seed=seed),
        "RandomSampler()": lambda seed: samplers.RandomSampler(seed=seed),
    }
    return {name: functools.partial(own, name) for name in OWN} | {
        name: functools.partial(plain, make) for name, make in makes.items()
    }


def searched(land: Land, goal: Goal, name: str, seed: int, trials: int) -> dict[str, Any]:
    """A search's record: shares of the hypervolume and seconds of training by trials, and its own time."""
    start = time.perf_counter()
    observed, true, seconds = searches()[name](land, seed, trials)
    took = time.perf_counter() - start
    counts = range(EVERY, len(seconds) + 1, EVERY)
    return {
        "shares": [round(goal.share(observed[:n], true[:n]), 4) for n in counts],
        "seconds": [round(float(seconds[:n].sum()), 1) for n in counts],
        "ms_per_trial": round(1e3 * took / trials, 1),
    }


def run(args: argparse.Namespace) -> None:
    """Searches what is not among the results yet."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    results = json.loads(args.results.read_text(encoding="utf-8")) if args.results.exists() else {}
    for space in args.spaces:
        ground, held = Ground(space), results.setdefault(space, {"goals": {}, "runs": {}})
        for number in range(args.lands):
            land = Land(ground, number)
            goal = reference(land, held["goals"])
            for name in args.only or searches():
                found = held["runs"].setdefault(name, {})
                for key, seed in ((f"{number}/{seed}", seed) for seed in range(args.seeds)):
                    if len(found.get(key, {"shares": ()})["shares"]) < args.trials // EVERY:
                        found[key] = searched(land, goal, name, seed, args.trials)
            args.results.parent.mkdir(exist_ok=True)
            args.results.write_text(json.dumps(results), encoding="utf-8")
            print(f"{space}, land {number}", file=sys.stderr, flush=True)
    show(args)


def reference(land: Land, known: dict[str, Any]) -> Goal:
    """The true front's, found once by enumeration."""
    if str(land.number) not in known:
        known[str(land.number)] = Goal.of(land).to_dict()
    return Goal.from_dict(known[str(land.number)])


def show(args: argparse.Namespace) -> None:
    """Prints a table per space and number of trials."""
    results = json.loads(args.results.read_text(encoding="utf-8"))
    for space, held in results.items():
        alone = statistics.median(goal["alone"] for goal in held["goals"].values())
        print(f"\n{space}: {len(held['goals'])} lands; one architecture reaches {alone:.2f} of a front (median)")
        for trials in (trials for trials in AT if at(trials, held["runs"], "shares")):
            print("\n".join(["", f"{space}, {trials} trials", "", *markdown(held["runs"], trials)]))


def markdown(runs: dict[str, dict[str, Any]], trials: int) -> list[str]:
    """All searches, the best median first, each against those of ``BESIDE`` on the cases of both."""
    shares, seconds = at(trials, runs, "shares"), at(trials, runs, "seconds")
    ranks = mean_ranks(shares)
    others = [name for name in BESIDE if name in shares]
    beside = "".join(f" minus {name}, wins |" for name in others)
    lines = [f"| search | true hypervolume (quartiles) | rank |{beside} training | runs |"]
    lines.append("| --- |" + " ---: |" * (4 + len(others)))
    for name in sorted(shares, key=lambda name: -statistics.median(shares[name].values())):
        low, median, high = np.quantile([*shares[name].values()], (0.25, 0.5, 0.75))
        spent = [found / seconds["random"][case] for case, found in seconds[name].items() if "random" in seconds]
        compared = [against(shares[name], shares[other]) for other in others]
        cells = [f"{median:.3f} ({low:.3f} to {high:.3f})", ranks.get(name, ""), *compared,
                 f"{statistics.fmean(spent):.0%}" if spent else "", str(len(shares[name]))]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def at(trials: int, runs: dict[str, dict[str, Any]], what: str) -> dict[str, dict[str, float]]:
    """A figure of each search and case at a number of trials; only searches that came so far."""
    place = trials // EVERY - 1
    found = {
        name: {case: one[what][place] for case, one in of.items() if len(one[what]) > place}
        for name, of in runs.items()
    }
    return {name: of for name, of in found.items() if of}


def mean_ranks(shares: dict[str, dict[str, float]]) -> dict[str, str]:
    """The mean rank, from 1, of the searches that were run on all cases."""
    most = max(map(len, shares.values()), default=0)
    whole = {name: found for name, found in shares.items() if len(found) == most}
    cases = sorted(set.intersection(*(set(found) for found in whole.values())))
    ranks = rankdata([[-found[case] for case in cases] for found in whole.values()], axis=0)
    return {name: f"{rank:.1f}" for name, rank in zip(whole, ranks.mean(axis=1), strict=True)}


def against(one: dict[str, float], other: dict[str, float]) -> str:
    """The mean difference on shared cases with its 95 % interval, and how many of those that differ are won."""
    cases = [case for case in one if case in other]
    gains = np.array([one[case] - other[case] for case in cases])
    if not gains.any():
        return ""
    low, high = bootstrap(gains, [case.partition("/")[0] for case in cases])
    wins, losses = int((gains > 0).sum()), int((gains < 0).sum())
    return f"{gains.mean():+.3f} ({low:+.3f} to {high:+.3f}), {wins} of {wins + losses}"


def bootstrap(gains: np.ndarray, lands: Sequence[str]) -> tuple[float, float]:
    """A 95 % interval of the mean: lands are resampled, as the seeds on one are alike."""
    means = np.array([gains[np.array(lands) == land].mean() for land in dict.fromkeys(lands)])
    drawn = np.random.default_rng(0).integers(len(means), size=(RESAMPLES, len(means)))
    low, high = np.quantile(means[drawn].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("run")
    verb.add_argument("--spaces", nargs="*", default=SPACES)
    verb.add_argument("--only", nargs="*", default=[], help="searches by name; all without it")
    verb.add_argument("--lands", type=int, default=8)
    verb.add_argument("--seeds", type=int, default=3, help="per land")
    verb.add_argument("--trials", type=int, default=max(AT))
    verb.add_argument("--results", type=Path, default=RESULTS)
    verb.set_defaults(run=run)
    verb = verbs.add_parser("show")
    verb.add_argument("--results", type=Path, default=RESULTS)
    verb.set_defaults(run=show)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    sys.exit(main())
