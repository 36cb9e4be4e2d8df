"""What several workers cost a search: ``cost_aware`` with candidates under way in the front, and without them.

    python benchmarks/parallel.py [--workers 8] [--trials 50] [--runs 30]

Searches are replayed on the 348 architectures of ``benchmarks/tabular``: real MACs and seconds of training; the
accuracies are those of the table, or of random lands (main effects of all axes, interactions of all pairs of them, and
noise of a training), a land a run. Workers ask whenever they are idle, in simulated time. Printed is the hypervolume of
what was found, by true accuracies, as a share of the whole space's: median, quartiles, and the mean over runs of the
difference between both ways with its standard error. One worker, who has no candidate beside, shows what is possible.
"""

import argparse
import heapq
import itertools
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import numpy as np
import optuna
from tabular import OBJECTIVES, SPACE, Table

from archsearch.recipes import BENCHES, ProxyRecipe
from archsearch.search.definition import Study, create_or_resume
from archsearch.search.samplers import acquisition
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.space.space import Space
from archsearch.space.yaml import load_space
from archsearch.stats.fronts import signs
from archsearch.stats.hypervolume import FrontTracker
from archsearch.trial import Evaluation, Trial
from archsearch.utils.package_data import shipped

#: Standard deviations of a land's accuracies: main effects, interactions, and noise of one training.
MAIN, INTERACTION, NOISE = 0.01, 0.004, 0.003
#: Gain in accuracy of a land by a factor of e in MACs.
SLOPE = 0.03


def accuracies(table: Table, land: int | None) -> dict[str, float]:
    """True accuracies by key of the architecture: the table's own, or those of a random land."""
    if land is None:
        return {key: row["curve"][-1][1] for key, row in table.rows.items()}
    rng, effects = np.random.default_rng(land), dict[Any, float]()

    def of(row: Mapping[str, Any]) -> float:
        chosen = sorted((name, str(value)) for name, value in row["params"].items())
        main = sum(effects.setdefault(one, rng.normal(0, MAIN)) for one in chosen)
        both = sum(effects.setdefault(two, rng.normal(0, INTERACTION)) for two in itertools.combinations(chosen, 2))
        return 0.5 + SLOPE * float(np.log(row["scores"]["macs"] / 1e9)) + float(main + both)

    return {key: of(row) for key, row in table.rows.items()}


def replay(table: Table, space: Space, truth: Mapping[str, float], noise: float, seed: int, args: Any) -> list[Trial]:
    """The trials of one search, with as many workers as ``args.workers``."""
    study = Study("replay", space, OBJECTIVES, ProxyRecipe(epochs=1), BENCHES["cpu"], {}, "table", "cost_aware", seed)
    mirror = StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage()))
    search = Search(study, mirror, lambda arch: {k: table.rows[arch.key]["scores"][k] for k in ("macs", "params")})
    rng, clock, under_way = np.random.default_rng(seed), 0.0, list[Any]()
    for _ in range(args.trials):
        if len(under_way) == args.workers:
            clock = finish(search, under_way)
        candidate = search.ask()
        row = table.rows[candidate.arch.key]
        seen = truth[candidate.arch.key] + rng.normal(0, noise)
        seconds = sum(entry[2] for entry in row["curve"])
        told = Evaluation(row["scores"] | {"accuracy": seen}, seconds={"train": seconds})
        heapq.heappush(under_way, (clock + seconds, candidate.number, candidate, told))
    while under_way:
        finish(search, under_way)
    return search.trials


def finish(search: Search, under_way: list[Any]) -> float:
    """End the next candidate, and return when that is."""
    end, _, candidate, told = heapq.heappop(under_way)
    search.tell(candidate, told, {})
    return float(end)


def share(table: Table, trials: list[Trial], truth: Mapping[str, float]) -> float:
    """True hypervolume of what was found, as a share of the whole table's."""
    every = np.array([[truth[key], row["scores"]["macs"]] for key, row in table.rows.items()]) * signs(OBJECTIVES)
    box, keys = (every.min(axis=0), every.max(axis=0)), [trial.arch.key for trial in trials]
    return volume(table, keys, truth, box) / volume(table, list(table.rows), truth, box)


def volume(table: Table, keys: list[str], truth: Mapping[str, float], box: Any) -> float:
    """Hypervolume of some architectures in a box."""
    tracker = FrontTracker(OBJECTIVES)
    for number, key in enumerate(keys):
        scores = {"accuracy": truth[key], "macs": table.rows[key]["scores"]["macs"]}
        tracker.add(Trial(number, "complete", None, {}, 0, Evaluation(scores), {}))  # type: ignore[arg-type]
    return tracker.hypervolume(box)


def only_ended(original: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The improvement over a front of ended trials alone, as it was before."""

    def improvement(self: acquisition.Acquisition) -> np.ndarray:
        count = len(self.history.front)

        def cut(mean: Any, sd: Any, costs: Any, scores: Any, front_costs: Any) -> np.ndarray:
            return inner(mean, sd, costs, scores[:count], front_costs[:count])

        inner = acquisition.expected_hypervolume_improvement
        with mock.patch.object(acquisition, "expected_hypervolume_improvement", cut):
            return original(self)

    return improvement


def shares(table: Table, space: Space, lands: bool, args: Any) -> np.ndarray:
    """Share of each run, (runs,)."""
    found = []
    for seed in range(args.first, args.first + args.runs):
        truth = accuracies(table, seed if lands else None)
        found.append(share(table, replay(table, space, truth, NOISE * lands, seed, args), truth))
    return np.array(found)


def line(label: str, ground: str, workers: int, found: np.ndarray) -> str:
    """A row of the table."""
    low, median, high = np.quantile(found, (0.25, 0.5, 0.75))
    return f"| {ground} | {workers} | {label} | {median:.3f} | {low:.3f} to {high:.3f} | {found.mean():.3f} |"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--only", choices=("table", "random lands"))
    parser.add_argument("--alone", action="store_true", help="one worker, too")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table, space = Table.read(), load_space(str(SPACE), shipped("search_spaces"))
    print(
        "| accuracies | workers | front of EHVI | median | quartiles | mean |\n| --- | ---: | --- | ---: | --- | ---: |"
    )
    before = only_ended(acquisition.Acquisition._ehvi)
    for lands in (False, True):
        ground = "random lands" if lands else "table"
        if args.only not in (None, ground):
            continue
        with mock.patch.object(acquisition.Acquisition, "_ehvi", before):
            ended = shares(table, space, lands, args)
        print(line("ended trials", ground, args.workers, ended), flush=True)
        both = shares(table, space, lands, args)
        print(line("and candidates under way", ground, args.workers, both), flush=True)
        if args.alone:
            alone = shares(table, space, lands, argparse.Namespace(**{**vars(args), "workers": 1}))
            print(line("ended trials", ground, 1, alone), flush=True)
        gain = both - ended
        print(f"\ngain {gain.mean():+.4f}, standard error {gain.std(ddof=1) / len(gain) ** 0.5:.4f}\n", flush=True)


if __name__ == "__main__":
    main()
