"""What several workers cost a search: ``cost_aware`` with candidates under way in the front of EHVI, and without them.

    python benchmarks/parallel.py [--space macro] [--workers 8] [--trials 50] [--runs 40]

Searches are replayed in simulated time: a worker asks for a candidate whenever it is idle, and a training takes as long
as its MACs say. Accuracies are those of random lands, one a run: a gain by the logarithm of the MACs, main effects of
all axes, interactions of all pairs of them, and the noise of a training. Printed is the hypervolume of what was found,
by true accuracies, over that of 5,000 random architectures: median, quartiles and mean, and the mean difference between
both ways on the same lands with its standard error. One worker, who has no candidate beside it, shows what is possible.

Over forty lands the median was 0.990 with ended trials alone, 0.995 with candidates under way, 1.018 with one worker;
the gain was 0.0065 with a standard error of 0.0046 (docs/results/parallel.md).
"""

import argparse
import heapq
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import mock

import moocore
import numpy as np
import optuna

from archsearch.arch import Arch
from archsearch.objectives import parse_objectives
from archsearch.recipes import BENCHES, ProxyRecipe
from archsearch.search.definition import Study, create_or_resume
from archsearch.search.samplers import acquisition
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.space.space import Space
from archsearch.space.yaml import load_space
from archsearch.trial import Evaluation
from archsearch.utils.package_data import shipped

OBJECTIVES = parse_objectives("accuracy,macs")
#: Gain in accuracy by a factor of e in MACs.
SLOPE = 0.03
#: Standard deviations of main effects, of interactions, and of one training.
MAIN, INTERACTION, NOISE = 0.01, 0.004, 0.003
#: Random architectures that a search is compared with.
REFERENCE = 5000


def costs(arch: Arch) -> dict[str, float]:
    """Parameters and MACs of the convolutions of width one, which are most of a network's."""
    stages = list(zip(arch.depths, arch.dims, arch.mlp_ratios, strict=True))
    sizes = [2 * depth * dim**2 * ratio for depth, dim, ratio in stages]
    return {"params": float(sum(sizes)), "macs": float(sum(56**2 * size / 4**i for i, size in enumerate(sizes)))}


class Land:
    """A random landscape of accuracies over a space."""

    def __init__(self, space: Space, seed: int) -> None:
        """Draw the reference, and its hypervolume."""
        self.space, self.rng, self._effects = space, np.random.default_rng(seed), dict[Any, float]()
        drawn, rng = [], random.Random(seed)
        while len(drawn) < REFERENCE:
            params = space.sample(rng)
            if (arch := space.possible(params)) is not None:
                drawn.append(self.scores(params, arch))
        points = self._points(drawn)
        self.best, self.worst = points.min(axis=0), points.max(axis=0)
        self.reference = self._hypervolume(points)

    def scores(self, params: Mapping[str, Any], arch: Arch) -> dict[str, float]:
        """True scores of an architecture."""
        chosen = sorted((name, str(value)) for name, value in params.items())
        main = sum(self._effect(one, MAIN) for one in chosen)
        both = sum(self._effect(two, INTERACTION) for two in itertools.combinations(chosen, 2))
        found = costs(arch)
        return found | {"accuracy": 0.5 + SLOPE * float(np.log(found["macs"] / 1e9)) + main + both}

    def share(self, found: Sequence[Mapping[str, float]]) -> float:
        """Hypervolume of some scores over that of the reference."""
        return self._hypervolume(self._points(found)) / self.reference

    def _effect(self, what: Any, spread: float) -> float:
        if what not in self._effects:
            self._effects[what] = float(self.rng.normal(0, spread))
        return self._effects[what]

    @staticmethod
    def _points(found: Sequence[Mapping[str, float]]) -> np.ndarray:
        return np.array([[-scores["accuracy"], np.log(scores["macs"])] for scores in found])

    def _hypervolume(self, points: np.ndarray) -> float:
        return float(moocore.hypervolume((points - self.best) / (self.worst - self.best), ref=np.ones(2)))


def replay(land: Land, seed: int, workers: int, trials: int) -> float:
    """Share of the reference that one search finds."""
    study = Study(
        "replay", land.space, OBJECTIVES, ProxyRecipe(epochs=1), BENCHES["cpu"], {}, "none", "cost_aware", seed
    )
    search = Search(study, StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage())), costs)
    rng, clock, under_way, found = np.random.default_rng(seed), 0.0, list[Any](), []
    for _ in range(trials):
        if len(under_way) == workers:
            clock = finish(search, under_way)
        candidate = search.ask()
        true = land.scores(candidate.params, candidate.arch)
        found.append(true)
        seconds = true["macs"] / 1e9
        told = Evaluation(true | {"accuracy": true["accuracy"] + rng.normal(0, NOISE)}, seconds={"train": seconds})
        heapq.heappush(under_way, (clock + seconds, candidate.number, candidate, told))
    return land.share(found)


def finish(search: Search, under_way: list[Any]) -> float:
    """End the next candidate, and return when that is."""
    end, _, candidate, told = heapq.heappop(under_way)
    search.tell(candidate, told, {})
    return float(end)


def only_ended(original: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The improvement over a front of ended trials alone, as it was before."""

    def improvement(self: acquisition.Acquisition) -> np.ndarray:
        count, inner = len(self.history.front), acquisition.expected_hypervolume_improvement

        def cut(mean: Any, sd: Any, candidates: Any, scores: Any, front_costs: Any) -> np.ndarray:
            return inner(mean, sd, candidates, scores[:count], front_costs[:count])

        with mock.patch.object(acquisition, "expected_hypervolume_improvement", cut):
            return original(self)

    return improvement


def line(label: str, workers: int, found: np.ndarray) -> str:
    """A row of the table."""
    low, median, high = np.quantile(found, (0.25, 0.5, 0.75))
    return f"| {workers} | {label} | {median:.3f} | {low:.3f} to {high:.3f} | {found.mean():.3f} |"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="macro")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--runs", type=int, default=40)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = load_space(args.space, shipped("search_spaces"))
    before, found = only_ended(acquisition.Acquisition._ehvi), np.empty((args.runs, 3))
    for seed in range(args.runs):
        land = Land(space, seed)
        with mock.patch.object(acquisition.Acquisition, "_ehvi", before):
            found[seed, 0] = replay(land, seed, args.workers, args.trials)
        found[seed, 1] = replay(land, seed, args.workers, args.trials)
        found[seed, 2] = replay(land, seed, 1, args.trials)
    print("| workers | front of EHVI | median | quartiles | mean |\n| ---: | --- | ---: | --- | ---: |")
    print(line("ended trials (before)", args.workers, found[:, 0]))
    print(line("and candidates under way", args.workers, found[:, 1]))
    print(line("ended trials", 1, found[:, 2]))
    gain = found[:, 1] - found[:, 0]
    print(f"\ngain {gain.mean():+.4f}, standard error {gain.std(ddof=1) / len(gain) ** 0.5:.4f}")


if __name__ == "__main__":
    main()
