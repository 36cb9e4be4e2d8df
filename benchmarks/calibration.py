"""Whether P(front) is calibrated: simulated studies, of which the true front is known.

    python benchmarks/calibration.py [--sampler cost_aware] [--land effects] [--repeats 4] [--trials 50] [--add FILE]

True accuracies of all architectures of ``inception_dw`` are made up, from a trend in the network's size, main effects
of the axes, interactions of their pairs and an effect of each architecture's own; or of rules on three axes each, which
the model does not know (``--land rules``). A study sees them through trainings with seeds (of which every one has an
effect that all networks share, too) and a sample of validation images. All combinations of the settings are searched:
accuracy against multiply-adds, by the tool's own ask and tell, in memory.

Printed are, for the observed form and the smoothed one: stated probabilities beside the share of trials that truly are
on the front of the study's trials, in ten bins; the Brier score; the sum of P(front) over the size of the true front;
and the true hypervolume of the reported front, as a share of the box of true scores, beside that of the true front
(``best``). Then the same by setting, with every bin of 50 trials or more that misses by more than 0.1.

192 random studies: Brier score 0.094 observed, 0.083 smoothed; sum over true 0.77, 0.93; hypervolume 0.685, 0.719 of
0.779. 96 studies led by ``cost_aware``: 0.105, 0.092; 0.75, 0.93; 0.731, 0.758 of 0.831. All bins of smoothed scores
are within 0.1 of the truth; the tables are in ``docs/results/calibration.md``.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import optuna

from archsearch.arch import Arch
from archsearch.complexity.parts import PartCounter
from archsearch.objectives import parse_objectives
from archsearch.recipes import BENCHES, ProxyRecipe
from archsearch.report.view import StudyView
from archsearch.search.definition import Study, create_or_resume
from archsearch.search.early_stopping import EarlyStopping
from archsearch.search.engines.runner import ProgressListener, Runner, run_here
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.space.space import Space
from archsearch.space.yaml import load_space
from archsearch.stats.fronts import nondominated
from archsearch.trial import Evaluation, ProgressCallback, SeedDone
from archsearch.utils.package_data import shipped

OBJECTIVES = parse_objectives("accuracy,macs")
#: Shares of the true accuracies' variance: as the model has it, and another land, of rules such as "this mixer, one of
#: these kernels and one of those widths", which are interactions of three axes.
LANDS = {
    "effects": {"size": 0.3, "main effects": 0.35, "interactions": 0.25, "own effects": 0.1},
    "rules": {"size": 0.3, "rules": 0.6, "own effects": 0.1},
}
#: Number of these rules.
RULES = 30
#: Mean of the true accuracies, and the standard deviation of what a seed does to all networks.
MEAN, COMMON = 0.6, 0.01
#: Bins of stated probabilities, the count from which a bin is judged, and the aim for it.
BINS, JUDGED, AIM = 10, 50, 0.1
FORMS = ("observed", "smoothed")


@dataclass(frozen=True)
class Setting:
    """What a study is like.

    Attributes:
        deviation: Standard deviation of true accuracies, in points.
        seed_sd: That of trainings of one network, in points.
        images: Number of validation images.
        seeds: Maximum number of seeds per candidate.
    """

    deviation: float
    seed_sd: float
    images: int
    seeds: int


SETTINGS = [Setting(*each) for each in product((0.6, 1.2), (0.25, 1.0), (1024, 5000, 50_000), (1, 3))]


class Ground:
    """Architectures of a space with their counted costs; true accuracies are drawn for them."""

    def __init__(self, space: Space) -> None:
        self.space, counter = space, PartCounter()
        found = [(dict(params), space.possible(params)) for params in space.grid()]
        self.points = [(params, arch) for params, arch in found if arch is not None]
        self.counts = {arch.key: counter(arch) for _, arch in self.points}

    def accuracies(self, deviation: float, rng: np.random.Generator, land: str) -> dict[str, float]:
        """Draw true accuracies, by key of the architecture."""
        names, count = [axis.name for axis in self.space.axes], len(self.points)
        parts: dict[str, Callable[[], np.ndarray]] = {
            "size": lambda: np.log([self.counts[arch.key]["macs"] for _, arch in self.points]),
            "main effects": lambda: sum((self._effect((name,), rng) for name in names), np.zeros(count)),
            "interactions": lambda: sum((self._effect(pair, rng) for pair in combinations(names, 2)), np.zeros(count)),
            "rules": lambda: sum((self._rule(rng) for _ in range(RULES)), np.zeros(count)),
            "own effects": lambda: rng.standard_normal(count),
        }
        whole = sum(np.sqrt(share) * _standard(parts[name]()) for name, share in LANDS[land].items())
        found = MEAN + deviation / 100 * _standard(whole)
        return dict(zip((arch.key for _, arch in self.points), found.tolist(), strict=True))

    def _effect(self, axes: Sequence[str], rng: np.random.Generator) -> np.ndarray:
        """Return a random effect of values of some axes, (N,); 0 where one is closed."""
        cells = [tuple(params.get(axis) for axis in axes) for params, _ in self.points]
        effects = {cell: 0.0 if None in cell else float(rng.standard_normal()) for cell in dict.fromkeys(cells)}
        return np.array([effects[cell] for cell in cells])

    def _rule(self, rng: np.random.Generator) -> np.ndarray:
        """Return an effect of having one of some values of each of three axes, half of them on average, (N,)."""
        kept = np.ones(len(self.points), dtype=bool)
        for axis in rng.choice(len(self.space.axes), size=3, replace=False):
            name = self.space.axes[axis].name
            chosen = {value for value in (*self.space.axes[axis].values, None) if rng.random() < 0.5}
            kept &= np.array([params.get(name) in chosen for params, _ in self.points])
        return kept * rng.standard_normal()


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


@dataclass(frozen=True)
class Simulation:
    """A study of which the truth is known."""

    view: StudyView
    truth: np.ndarray  # accuracies of its trials, (N,)


def simulate(
    ground: Ground, setting: Setting, sampler: str, count: int, seed: int, land: str = "effects"
) -> Simulation:
    """Search a land of true accuracies through noise."""
    rng = np.random.default_rng(seed)
    true, common = ground.accuracies(setting.deviation, rng, land), rng.normal(0, COMMON, setting.seeds)

    def accuracy(arch: Arch, seed: int) -> float:
        expected = true[arch.key] + common[seed] + rng.normal(0, setting.seed_sd / 100)
        return float(rng.binomial(setting.images, np.clip(expected, 0, 1)) / setting.images)

    def evaluate(arch: Arch, _: int, report: ProgressCallback, known: Evaluation | None = None) -> Any:
        values: dict[int, float] = {}
        while True:
            values[len(values)] = accuracy(arch, len(values))
            scores = {**ground.counts[arch.key], "accuracy": float(np.mean([*values.values()]))}
            done = Evaluation(scores, accuracies=dict(values) if setting.seeds > 1 else {})
            if len(values) == setting.seeds or not report(SeedDone(done)):
                return done, {}

    recipe = ProxyRecipe(epochs=8, val_samples=setting.images)
    study = Study("calibration", ground.space, OBJECTIVES, recipe, BENCHES["cpu"], {"name": "simulated"}, "none",
                  sampler, seed, seeds=setting.seeds)  # fmt: skip
    mirror = StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage()))
    search = Search(study, mirror, lambda arch: ground.counts[arch.key])
    run_here(Runner(search, count, ProgressListener(), stop=EarlyStopping(search, recipe.epochs)), evaluate)
    view = StudyView("calibration", study.recipe(), search.trials, images=setting.images)
    return Simulation(view, np.array([true[trial.arch.key] for trial in search.trials]))


@dataclass
class Tally:
    """Stated probabilities and the truth, of many trials, and hypervolumes of reported fronts."""

    stated: list[np.ndarray] = field(default_factory=list)
    true: list[np.ndarray] = field(default_factory=list)
    hypervolumes: list[float] = field(default_factory=list)

    def add(self, stated: np.ndarray, true: np.ndarray, hypervolume: float) -> None:
        self.stated.append(stated)
        self.true.append(true)
        self.hypervolumes.append(hypervolume)

    def bins(self) -> Iterator[tuple[int, float, float]]:
        """Yield the count, the mean stated probability and the true share of every bin that holds a trial."""
        stated, true = np.concatenate(self.stated), np.concatenate(self.true)
        places = np.minimum((stated * BINS).astype(int), BINS - 1)
        for place in np.unique(places):
            within = places == place
            yield int(within.sum()), float(stated[within].mean()), float(true[within].mean())

    @property
    def missed(self) -> list[str]:
        """Bins of enough trials that miss the aim."""
        return [f"{p:.2f} is {t:.2f} ({n})" for n, p, t in self.bins() if n >= JUDGED and abs(p - t) > AIM]

    @property
    def brier(self) -> float:
        return float(np.mean(np.square(np.concatenate(self.stated) - np.concatenate(self.true))))

    @property
    def sum(self) -> float:
        """Sum of the stated probabilities over the size of the true fronts."""
        return float(np.concatenate(self.stated).sum() / np.concatenate(self.true).sum())


def judge(simulation: Simulation) -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
    """Yield each form's name, stated probabilities, true membership, and the true hypervolume of its front."""
    view, truth = simulation.view, simulation.truth
    points = np.column_stack([-truth, view.scores["macs"]])
    points = (points - points.min(axis=0)) / np.ptp(points, axis=0)
    true = nondominated(points)

    def hypervolume(numbers: Sequence[int]) -> float:
        return float(moocore.hypervolume(points[list(numbers)], ref=np.ones(2)))

    assert [trial.number for trial in view.trials] == list(range(len(points)))
    yield "observed", view.observed_chances, true, hypervolume(view.front)
    yield "smoothed", view.chances, true, hypervolume(view.smoothed_front)
    yield "best", true.astype(float), true, hypervolume(np.flatnonzero(true).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sampler", default="cost_aware")
    parser.add_argument("--land", choices=LANDS, default="effects")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--add", type=Path, help="file of results (JSON lines) to go on with and to add to")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ground = Ground(load_space("inception_dw", shipped("search_spaces")))
    results = [json.loads(line) for line in args.add.read_text().splitlines()] if args.add and args.add.exists() else []
    for repeat, (place, setting) in product(range(args.repeats), enumerate(SETTINGS)):
        seed = args.first_seed + repeat * len(SETTINGS) + place
        if any(result["seed"] == seed for result in results):
            continue
        judged = judge(simulate(ground, setting, args.sampler, args.trials, seed, args.land))
        forms = {form: [np.round(stated, 3).tolist(), true.tolist(), found] for form, stated, true, found in judged}
        results.append({"setting": asdict(setting), "seed": seed, "forms": forms})
        if args.add:
            with args.add.open("a") as file:
                file.write(json.dumps(results[-1]) + "\n")
    show(results)


def tallied(results: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Tally]:
    """Return the tallies by group of studies and form."""
    tallies = defaultdict[tuple[str, str], Tally](Tally)
    for result in results:
        for form, (stated, true, hypervolume) in result["forms"].items():
            for group in ("all", *(f"{name} {value:g}" for name, value in result["setting"].items())):
                tallies[group, form].add(np.array(stated), np.array(true, dtype=bool), hypervolume)
    return tallies


def show(results: Sequence[Mapping[str, Any]]) -> None:
    """Print the tables."""
    tallies = tallied(results)
    print(f"{len(results)} studies, {sum(len(result['forms']['best'][0]) for result in results)} trials")
    for form in FORMS:
        print(f"{form}: stated, true (trials)")
        print("  " + "  ".join(f"{p:.2f} {t:.2f} ({n})" for n, p, t in tallies["all", form].bins()))
    print("| setting | form | Brier | sum over true | hypervolume | best | bins that miss |")
    print("| --- | --- | ---: | ---: | ---: | ---: | --- |")
    for group in dict.fromkeys(group for group, _ in tallies):
        best = np.mean(tallies[group, "best"].hypervolumes)
        for form in FORMS:
            tally = tallies[group, form]
            figures = f"{tally.brier:.3f} | {tally.sum:.2f} | {np.mean(tally.hypervolumes):.3f} | {best:.3f}"
            print(f"| {group} | {form} | {figures} | {'; '.join(tally.missed) or '-'} |")


if __name__ == "__main__":
    main()
