"""Early stopping: what rules save of the training, and what of the front they give up for it.

    python benchmarks/stopping.py [--lands table simulated narrow quiet] [--samplers random cost_aware] [--seeds 20]
                                  [--rules curve:0.99 median model:0.95 ...] [--costs 15 30 45]

Whole searches are replayed, as ``benchmarks/tabular.py`` does it, on lands of 348 architectures with their real
multiply-adds and seconds per epoch. The rules:

- ``curve:L``: pruned where the upper bound (probability L) of what the curve lets expect is dominated by the front as
  it was observed; the tool's rule before, at 0.99.
- ``median``: pruned where the accuracy at the rung is below the median of finished trials with no more multiply-adds.
- ``model:L``: the tool's own: true accuracies, by the curve and a model of the space's axes together.
- ``none``: everything is trained to its end.

The lands: ``table`` has the curves that were trained (one seed each, so that truth is what that seed gave).
``simulated`` has curves of known truth. A Gaussian process splits the table's curves into what the other architectures
explain and a rest; deviations and correlations of both over the eight epochs are taken from there (explained: 1.35
points at the end, rest 0.85, which is about what seeds differ by in ``studies/results/fidelity-*.csv``; the first epoch
correlates with the last by 0.48 in the explained part and by 0.04 in the rest). What architectures explain is drawn
anew per seed, from main effects of the axes, interactions of pairs and the logarithm of multiply-adds; the rest from a
normal distribution. ``narrow`` halves the explained part, ``quiet`` the rest.

Columns, with standard errors over seeds: *falsely stopped*, the share of the members of the land's true front that were
pruned, of those that were drawn; *saved*, the share of training that the same trials would have cost more; and
*confirmed hypervolume*, that of the true scores of the trials which stand on the observed front when so much is spent
(in trainings of mean length), as a share of the land's. *Mean gain* is its mean over the costs minus that of the first
rule, seed by seed.

Simulated, 16 seeds: falsely stopped, saved, mean gain on ``curve:0.99`` (more in ``docs/results/stopping.md``):

=========== ============================== ===============================
rule        random                         cost_aware
=========== ============================== ===============================
curve:0.99  9.4 %, 28 %                    17.7 %, 18 %
curve:0.95  25.0 %, 46 %, +0.016 ± 0.005
median      63.5 %, 71 %, -0.016 ± 0.016
model:0.95  0.0 %, 36 %, +0.013 ± 0.004    1.8 %, 24 %, -0.016 ± 0.010
model:0.9   0.0 %, 44 %, +0.017 ± 0.005    7.1 %, 27 %, -0.011 ± 0.011
model:0.8   6.9 %, 55 %, +0.016 ± 0.013    27.1 %, 50 %, -0.003 ± 0.011
none        0.0 %, 0 %, -0.006 ± 0.005     0.0 %, 0 %, -0.013 ± 0.009
=========== ============================== ===============================
"""

import argparse
import dataclasses
import functools
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import optuna
from tabular import OBJECTIVES, SPACE, Limited, Spent, Table

from archsearch.recipes import BENCHES, ProxyRecipe
from archsearch.search.accuracy_model import AccuracyModel
from archsearch.search.definition import Study, create_or_resume
from archsearch.search.early_stopping import EarlyStopping
from archsearch.search.engines.runner import run_here
from archsearch.search.rungs import ENOUGH
from archsearch.search.search import Candidate, Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.space.space import Space
from archsearch.space.yaml import load_space
from archsearch.stats.hypervolume import FrontTracker
from archsearch.stats.noise import binomial_error
from archsearch.trial import Evaluation, Trial
from archsearch.utils.package_data import shipped

#: Number of validation images of the table.
IMAGES = 2560
#: Share of the explained part and of the rest, by name of a simulated land.
SIMULATED = {"simulated": (1.0, 1.0), "narrow": (0.5, 1.0), "quiet": (1.0, 0.5)}
#: Deviation of the interaction of two axes and of the logarithm of multiply-adds, where a main effect has 1.
INTERACTION, SIZE = 0.35, 0.6
RULES = ("curve:0.99", "curve:0.95", "median", "model:0.95", "model:0.9", "model:0.8", "none")


@dataclass(frozen=True)
class Land:
    """Architectures with curves, and what they are worth.

    Attributes:
        space: The search space.
        table: Curves and costs, by key of the architecture.
        truth: True accuracy, by key.
    """

    space: Space
    table: Table
    truth: dict[str, float]

    def confirmed(self, trials: Sequence[Trial]) -> float:
        """Hypervolume of the true scores of an observed front, as a share of the land's."""
        return self._truly(FrontTracker(OBJECTIVES, trials).front).hypervolume(self._whole.box) / self._reach

    @cached_property
    def front(self) -> set[str]:
        """Keys of the true front."""
        return {trial.arch.key for trial in self._whole.front}

    @cached_property
    def _whole(self) -> FrontTracker:
        trials = [self.table.trial(n, self.space.arch(params)) for n, params in enumerate(self.space.grid())]
        return self._truly(trials)

    @cached_property
    def _reach(self) -> float:
        return self._whole.hypervolume()

    def _truly(self, trials: Sequence[Trial]) -> FrontTracker:
        return FrontTracker(OBJECTIVES, (self._true(trial) for trial in trials))

    def _true(self, trial: Trial) -> Trial:
        scores = trial.evaluation.scores | {"accuracy": self.truth[trial.arch.key]}
        return dataclasses.replace(trial, evaluation=Evaluation(scores))


@functools.cache
def explained() -> tuple[Space, Table, np.ndarray, np.ndarray, np.ndarray]:
    """The space, its table, its mean curve, and matrices from independent draws to the explained part and the rest."""
    space, table = load_space(str(SPACE), shipped("search_spaces")), Table.read()
    grid = [*space.grid()]
    curves = np.array([[a for _, a, _ in table.rows[space.arch(params).key]["curve"]] for params in grid])
    smoothed, without = [], []
    for accuracies in curves.T:
        model = AccuracyModel(space, 0)
        for params, accuracy in zip(grid, accuracies, strict=True):
            model.add(params, float(accuracy), binomial_error(float(accuracy), IMAGES))
        expected = model.true_accuracies(range(len(grid))).expected
        smoothed.append(expected)
        without.append(accuracies - expected)
    return space, table, curves.mean(axis=0), _root(np.cov(smoothed)), _root(np.cov(without))


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def land(name: str, seed: int) -> Land:
    """A land by name; simulated ones differ from seed to seed."""
    space, table, mean, parts, rest = explained()
    if name == "table":
        return Land(space, table, {key: row["curve"][-1][1] for key, row in table.rows.items()})
    wide, loud = SIMULATED[name]
    rng = np.random.default_rng(seed)
    grid = [*space.grid()]
    keys = [space.arch(params).key for params in grid]
    size = _standardised(np.log([table.rows[key]["scores"]["macs"] for key in keys]))
    fields = np.stack([_field(space, grid, rng) for _ in mean])
    true = parts @ fields + SIZE * np.outer(parts @ parts[-1] / np.linalg.norm(parts[-1]), size)
    true *= np.linalg.norm(parts[-1]) / true[-1].std() * wide
    true = mean + true.T
    seen = np.clip(true + loud * rng.normal(size=true.shape) @ rest.T, 0.0, 1.0)
    rows = {
        key: table.rows[key] | {"curve": [[0.0, float(a), table.rows[key]["curve"][0][2]] for a in curve]}
        for key, curve in zip(keys, seen, strict=True)
    }
    return Land(space, Table(rows, {}), dict(zip(keys, true[:, -1].tolist(), strict=True)))


def _field(space: Space, grid: Sequence[dict], rng: np.random.Generator) -> np.ndarray:
    """Main effects and interactions of pairs, one value per architecture, of mean 0 and deviation 1."""
    columns = [[str(params.get(axis.name)) for params in grid] for axis in space.axes]
    pairs = [[*zip(a, b, strict=True)] for i, a in enumerate(columns) for b in columns[:i]]
    total = np.zeros(len(grid))
    for values, deviation in [*((c, 1.0) for c in columns), *((p, INTERACTION) for p in pairs)]:
        levels = {value: rng.normal(0, deviation) for value in sorted(set(values))}
        total += [levels[value] for value in values]
    return _standardised(total)


def _standardised(values: np.ndarray) -> np.ndarray:
    return np.asarray((values - values.mean()) / values.std())


class CurveAlone(EarlyStopping):
    """The curve's prediction against the observed front."""

    def is_hopeless(self, candidate: Candidate, known: Evaluation) -> bool:
        """Whether its upper bound is dominated."""
        self._listen()
        prediction = self.curves.predict(known.curve)
        if prediction is None:
            return False
        hoped = prediction.upper(self.search.study.stopping_level)
        return self.tracker.dominates({**known.scores, "accuracy": hoped})


class Median(EarlyStopping):
    """The median rule among finished trials of no more multiply-adds."""

    def is_hopeless(self, candidate: Candidate, known: Evaluation) -> bool:
        """Whether it is below the median at the rung."""
        rung, macs = len(known.curve), known.scores["macs"]
        finished = [t.evaluation for t in self.search.told if t.state == "complete"]
        theirs = [e.curve[rung - 1].accuracy for e in finished if e.scores["macs"] <= macs]
        return len(finished) >= ENOUGH and bool(theirs) and known.curve[-1].accuracy < statistics.median(theirs)


KINDS: dict[str, Callable[[Search, int], EarlyStopping]] = {
    "none": EarlyStopping, "curve": CurveAlone, "median": Median, "model": EarlyStopping,
}  # fmt: skip


def replay(where: Land, rule: str, sampler: str, seed: int, budget: float) -> list[Trial]:
    """A search on a land, until so many seconds of training are spent."""
    kind, _, level = rule.partition(":")
    recipe = ProxyRecipe(epochs=where.table.epochs, val_samples=IMAGES)
    study = Study("replay", where.space, OBJECTIVES, recipe, BENCHES["cpu"], {}, "land", sampler, seed,
                  early_stopping=kind != "none", stopping_level=float(level or 0.95))  # fmt: skip
    mirror = StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage()))
    rows = where.table.rows
    search = Search(study, mirror, lambda arch: {k: rows[arch.key]["scores"][k] for k in ("macs", "params")})
    stop = KINDS[kind](search, where.table.epochs)
    run_here(Limited(search, len(rows), Spent(budget), stop=stop), where.table.evaluate)
    return search.trials


@dataclass(frozen=True)
class Outcome:
    """What a search came to: front members drawn and pruned, the share of training saved, hypervolume by cost."""

    drawn: int
    lost: int
    saved: float
    confirmed: tuple[float, ...]


def outcome(where: Land, rule: str, sampler: str, seed: int, costs: Sequence[int]) -> Outcome:
    """Replays a search and judges it."""
    mean = where.table.training_s
    trials = replay(where, rule, sampler, seed, max(costs) * mean)
    members = [trial for trial in trials if trial.arch.key in where.front]
    spent = np.cumsum([trial.evaluation.seconds["train"] for trial in trials])
    whole = sum(where.table.epochs * trial.evaluation.curve[0].seconds for trial in trials)
    reached = (where.confirmed([t for t, end in zip(trials, spent, strict=True) if end <= cost * mean])
               for cost in costs)  # fmt: skip
    return Outcome(
        len(members), sum(trial.state == "pruned" for trial in members), 1 - spent[-1] / whole, tuple(reached)
    )


def row(rule: str, outcomes: Sequence[Outcome], first: Sequence[Outcome]) -> str:
    """A row of the table; ``first`` are the outcomes of its first rule."""
    drawn, lost = (np.array([getattr(o, name) for o in outcomes], dtype=float) for name in ("drawn", "lost"))
    share = lost.sum() / drawn.sum()
    error = np.sqrt(np.sum(np.square(lost - share * drawn))) / drawn.sum()  # of a ratio, over searches
    cells = [f"{share:.1%} ± {error:.1%}", f"{statistics.fmean(o.saved for o in outcomes):.0%}"]
    for values in zip(*(o.confirmed for o in outcomes), strict=True):
        cells.append(f"{statistics.fmean(values):.3f} ± {_error(values):.3f}")
    gains = [
        statistics.fmean(o.confirmed) - statistics.fmean(f.confirmed) for o, f in zip(outcomes, first, strict=True)
    ]
    cells.append("" if outcomes is first else f"{statistics.fmean(gains):+.3f} ± {_error(gains):.3f}")
    return f"| {rule} | " + " | ".join(cells) + " |"


def _error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def tables(args: argparse.Namespace) -> Iterator[str]:
    """Lines of all tables; each row as soon as it is known."""
    for name in args.lands:
        for sampler in args.samplers:
            yield f"\n{name}, {sampler}, {args.seeds} seeds\n"
            heads = (f"confirmed hypervolume at {cost}" for cost in args.costs)
            yield "| rule | falsely stopped | saved | " + " | ".join(heads) + f" | mean gain on {args.rules[0]} |"
            yield "| --- |" + " ---: |" * (3 + len(args.costs))
            first: list[Outcome] = []
            for rule in args.rules:
                found = [outcome(land(name, s), rule, sampler, s, args.costs) for s in range(args.seeds)]
                first = first or found
                yield row(rule, found, first)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lands", nargs="+", choices=("table", *SIMULATED), default=["table", "simulated"])
    parser.add_argument("--samplers", nargs="+", default=["random", "cost_aware"])
    parser.add_argument("--rules", nargs="+", default=RULES, help="%(default)s")
    parser.add_argument("--costs", nargs="+", type=int, default=[15, 30, 45], help="in trainings of mean length")
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for line in tables(args):
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
