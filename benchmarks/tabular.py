"""What a search costs: samplers compared on a space of which every architecture has been trained.

    python benchmarks/tabular.py table STUDY --storage FILE --data-root DIR     the table, from a finished grid study
    python benchmarks/tabular.py run [--seeds 20] [--budget 60] [--only NAME...]      (without gp, which takes hours)
    python benchmarks/tabular.py plot FILE.html

``run`` replays searches: they ask and tell as any study does, in memory, and every score, curve and second comes from
the table. What is compared is the hypervolume (a share of what the whole table reaches) against the seconds of
training that were spent, until as many were spent as ``--budget`` trainings of mean length take. Beside the tool's own
samplers, with and without early stopping, stand Optuna's NSGA-II and TPE as their documentation has them. What
``--only`` names is added to the results that are there.

The table is a study of the tool's own (``--sampler grid --no-early-stopping --space benchmarks/tabular/space.yaml``).
What a training costs is timed for the table once more, alone: one epoch in ``PART``, times ``PART``.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from archsearch.arch import Arch
from archsearch.data import load, reduce
from archsearch.evaluate.machine import Machine, Source
from archsearch.evaluate.train_jobs import TrainJob, train_all
from archsearch.objectives import parse_objectives
from archsearch.recipes import BENCHES, ProxyRecipe
from archsearch.report.view import read_view
from archsearch.search.definition import Study, create_or_resume
from archsearch.search.early_stopping import EarlyStopping
from archsearch.search.engines.runner import ProgressListener, Runner, run_here
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.space.space import Space
from archsearch.space.yaml import load_space
from archsearch.stats.hypervolume import FrontTracker
from archsearch.trial import Epoch, EpochDone, Evaluation, ProgressCallback, Trial
from archsearch.utils.package_data import shipped

FOLDER = Path(__file__).parent / "tabular"
TABLE, RESULTS, SPACE = FOLDER / "table.json", FOLDER / "results.json", FOLDER / "space.yaml"
OBJECTIVES = parse_objectives("accuracy,macs")
#: Samplers of the tool's own that are compared.
OWN = ("cost_aware", "nsga2", "nsga3", "tpe", "qmc", "grid", "random", "gp")
#: Points of the budget at which hypervolumes are noted.
STEPS = 200
#: Runs that are drawn: colour, dash, and whether with quartiles.
LINES = (
    ("cost_aware + early stopping", "rgb(213, 94, 0)", "solid", True),
    ("cost_aware", "rgb(213, 94, 0)", "dot", False),
    ("nsga2 + early stopping", "rgb(0, 114, 178)", "solid", False),
    ("tpe + early stopping", "rgb(0, 158, 115)", "solid", False),
    ("random", "rgb(150, 150, 150)", "solid", False),
    ("optuna nsga2", "rgb(0, 0, 0)", "dash", True),
    ("optuna tpe", "rgb(0, 158, 115)", "dash", False),
)
#: The share of an epoch that costs are timed by.
PART = 6


@dataclass(frozen=True)
class Table:
    """Every architecture of the space: what it costs, and how its training went.

    Attributes:
        rows: by key of the architecture: params, scores of costs, curve as [loss, accuracy, seconds] per epoch.
        provenance: where the figures come from.
    """

    rows: dict[str, dict[str, Any]]
    provenance: dict[str, Any]

    @classmethod
    def read(cls, path: Path = TABLE) -> "Table":
        """From its file."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    @cached_property
    def epochs(self) -> int:
        """Of every training."""
        return len(next(iter(self.rows.values()))["curve"])

    @cached_property
    def training_s(self) -> float:
        """Mean seconds of one."""
        return statistics.fmean(sum(s for _, _, s in row["curve"]) for row in self.rows.values())

    def trial(self, number: int, arch: Arch) -> Trial:
        """An architecture's finished trial."""
        return Trial(number, "complete", arch, {}, 0, self.evaluation(arch, self.epochs), {})

    def evaluation(self, arch: Arch, epochs: int) -> Evaluation:
        """What is known after so many epochs."""
        row = self.rows[arch.key]
        curve = tuple(Epoch(i, *entry) for i, entry in enumerate(row["curve"][:epochs], 1))
        whole = epochs == self.epochs
        scores = row["scores"] | ({"accuracy": curve[-1].accuracy} if whole else {})
        return Evaluation(scores, curve=curve, seconds={"train": sum(e.seconds for e in curve)}, pruned=not whole)

    def evaluate(
        self, arch: Arch, seed: int, report: ProgressCallback, known: Evaluation | None = None
    ) -> tuple[Evaluation, dict[str, Any]]:
        """Replays a training, epoch by epoch; as ``archsearch.evaluate.pipeline.evaluate`` does it."""
        for epoch in range(1, self.epochs + 1):
            so_far = self.evaluation(arch, epoch)
            if not report(EpochDone(so_far)) and epoch < self.epochs:
                break
        return so_far, {}


class Score:
    """Hypervolume of what was found, as a share of that of the whole table, at steps of a budget."""

    def __init__(self, table: Table, space: Space, budget: float) -> None:
        """Args: budget: seconds of training."""
        self.table, self.budget = table, budget
        trials = [table.trial(n, space.arch(params)) for n, params in enumerate(space.grid())]
        whole = FrontTracker(OBJECTIVES, trials)
        self.box, self.all = whole.box, whole.hypervolume(whole.box)

    def trace(self, trials: Sequence[Trial]) -> list[float]:
        """At each of ``STEPS`` equal parts of the budget."""
        tracker, spent, found, shares = FrontTracker(OBJECTIVES), 0.0, 0.0, []
        ends = [self.budget * (i + 1) / STEPS for i in range(STEPS)]
        for trial in trials:
            spent += trial.evaluation.seconds["train"]
            while len(shares) < STEPS and ends[len(shares)] < spent:
                shares.append(found)
            if tracker.add(trial):
                found = tracker.hypervolume(self.box) / self.all
        return shares + [found] * (STEPS - len(shares))


class Spent(ProgressListener):
    """Ends a run when its budget is spent."""

    def __init__(self, budget: float) -> None:
        self.left = budget

    def ended(self, trial: Trial) -> None:
        """Counts what a trial took."""
        self.left -= trial.evaluation.seconds["train"]


class Limited(Runner):
    """Hands out candidates as long as there is budget."""

    listener: Spent

    def next(self, worker: str) -> Any:
        """A candidate, or none."""
        return None if self.listener.left <= 0 else super().next(worker)


def own(table: Table, space: Space, sampler: str, stopping: bool, seed: int, budget: float) -> list[Trial]:
    """A search by the tool."""
    recipe = ProxyRecipe(epochs=table.epochs)
    study = Study("replay", space, OBJECTIVES, recipe, BENCHES["cpu"], {}, "table", sampler, seed, population=25,
                  early_stopping=stopping)  # fmt: skip
    mirror = StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage()))
    search = Search(study, mirror, lambda arch: {k: table.rows[arch.key]["scores"][k] for k in ("macs", "params")})
    run_here(Limited(search, len(table.rows), Spent(budget), stop=EarlyStopping(search, table.epochs)), table.evaluate)
    return search.trials


def plain(table: Table, space: Space, sampler: str, stopping: bool, seed: int, budget: float) -> list[Trial]:
    """A search by Optuna alone, as a user would write it."""
    samplers: dict[str, Callable[..., Any]] = {
        "optuna nsga2": optuna.samplers.NSGAIISampler,
        "optuna tpe": optuna.samplers.TPESampler,
    }
    study = optuna.create_study(directions=[o.direction for o in OBJECTIVES], sampler=samplers[sampler](seed=seed))
    trials: list[Trial] = []

    def objective(trial: optuna.Trial) -> list[float]:
        params: dict[str, Any] = {}
        for axis in space.axes:
            if axis.open(params):
                params[axis.name] = trial.suggest_categorical(axis.name, axis.values)
        trials.append(table.trial(trial.number, space.arch(params)))
        return [trials[-1].evaluation.scores[o.name] for o in OBJECTIVES]

    while sum(trial.evaluation.seconds["train"] for trial in trials) < budget:
        study.optimize(objective, n_trials=1)
    return trials


def runs(only: Sequence[str]) -> Iterator[tuple[str, Callable[..., list[Trial]], str, bool]]:
    """Name, what runs it, its sampler, and whether with early stopping."""
    for sampler in ("optuna nsga2", "optuna tpe"):
        yield sampler, plain, sampler, False
    for sampler in OWN:
        yield sampler, own, sampler, False
        yield f"{sampler} + early stopping", own, sampler, True


def run(args: argparse.Namespace) -> None:
    """Replays all, and writes what came of it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table, space = Table.read(args.table), load_space(str(SPACE), shipped("search_spaces"))
    budget = args.budget * table.training_s
    score = Score(table, space, budget)
    print(f"{len(table.rows)} architectures, budget {budget:.0f} s of training ({args.budget} trainings)", flush=True)
    before = json.loads(args.results.read_text(encoding="utf-8")) if args.only and args.results.exists() else {}
    results = before["runs"] if before.get("budget_s") == budget else {}
    for name, make, sampler, stopping in runs(args.only):
        if name not in args.only if args.only else name.startswith("gp"):
            continue
        start = time.perf_counter()
        found = [make(table, space, sampler, stopping, seed, budget) for seed in range(args.seeds)]
        results[name] = {
            "quartiles": np.quantile([score.trace(trials) for trials in found], (0.25, 0.5, 0.75), axis=0)
            .round(4)
            .tolist(),
            "seeds": len(found),
            "trials": statistics.fmean(map(len, found)),
            "pruned": statistics.fmean(sum(trial.state == "pruned" for trial in trials) for trials in found),
            "overhead_ms": round(1e3 * (time.perf_counter() - start) / sum(map(len, found)), 1),
        }
        whole = {"budget_s": budget, "trainings": args.budget, "runs": results}
        args.results.write_text(json.dumps(whole), encoding="utf-8")
        print(row(name, whole), flush=True)
    print("\n".join(markdown(whole)))


def markdown(whole: dict[str, Any]) -> list[str]:
    """A table of all runs, the soonest at plain NSGA-II's end first."""
    named = sorted(whole["runs"], key=lambda name: (reached(name, whole) or 2.0, -end(name, whole)))
    head = "| search | hypervolume at the end (quartiles) | budget until plain NSGA-II's end | tried | of them pruned |"
    return [head, "| --- | ---: | ---: | ---: | ---: |", *(row(name, whole) for name in named)]


def row(name: str, whole: dict[str, Any]) -> str:
    """Median hypervolume at the end, and when it was what plain NSGA-II ends with."""
    found, share = whole["runs"][name], reached(name, whole)
    low, median, high = (quartile[-1] for quartile in found["quartiles"])
    told = "not reached" if share is None else f"{share:.0%}"
    seeds = "" if found["seeds"] >= 20 else f" ({found['seeds']} seeds)"
    quartiles = f"{median:.3f} ({low:.3f} to {high:.3f})"
    return f"| {name}{seeds} | {quartiles} | {told} | {found['trials']:.0f} | {found['pruned']:.0f} |"


def end(name: str, whole: dict[str, Any]) -> float:
    """Median hypervolume when the budget is spent."""
    return float(whole["runs"][name]["quartiles"][1][-1])


def reached(name: str, whole: dict[str, Any]) -> float | None:
    """The share of the budget at which the median is what plain NSGA-II's is at its end; None where it never is."""
    median = np.array(whole["runs"][name]["quartiles"][1])
    there = median >= end("optuna nsga2", whole)
    return float(there.argmax() + 1) / STEPS if there.any() else None


def table(args: argparse.Namespace) -> None:
    """Writes the table from a study, and times what its trainings cost."""
    view = read_view(args.study, args.storage)
    trials = [trial for trial in view.trials if trial.state == "complete"]
    proxy = ProxyRecipe(**view.recipe["proxy"])
    data = reduce(load("folder", args.data_root, proxy.img_size), proxy)
    part = dataclasses.replace(
        proxy, epochs=3, train_samples=len(data.train) // PART, val_samples=len(data.val) // PART
    )
    jobs = [TrainJob(trial.arch, part, 1) for trial in trials]
    machine = Machine.here(("cpu",), 2)
    seconds = {}
    for index, done in train_all(jobs, Source("folder", args.data_root, retrain=True), machine):
        seconds[index] = round(PART * min(epoch.seconds for epoch in done.curve[1:]), 3)
    rows = {
        trial.arch.key: {
            "params": trial.params,
            "scores": {name: trial.evaluation.scores[name] for name in ("params", "macs")},
            "curve": [[round(e.train_loss, 4), round(e.accuracy, 6), seconds[i]] for e in trial.evaluation.curve],
        }
        for i, trial in enumerate(trials)
    }
    kept = ("device_name", "threads", "proxy_autocast", "torch", "timm", "python")
    environment = {name: trials[0].environment.get(name) for name in kept}
    recipe = {name: view.recipe[name] for name in ("space_name", "proxy", "bench", "data", "device", "seed", "trainer")}
    made = {"date": datetime.now(UTC).date().isoformat(), "command": view.command}
    provenance = {**made, "recipe": recipe, "environment": environment, "workers": machine.workers}
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(row)}" for key, row in rows.items())
    TABLE.write_text(f'{{"provenance": {json.dumps(provenance)},\n"rows": {{\n{lines}\n}}}}\n', encoding="utf-8")


def plot(args: argparse.Namespace) -> None:
    """Medians over seeds, and quartiles of those that matter, as a page."""
    import plotly.graph_objects as go

    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    x = [results["trainings"] * (i + 1) / STEPS for i in range(STEPS)]
    figure, seeds = go.Figure(), results["runs"]["optuna nsga2"]["seeds"]
    for name, colour, dash, band in (line for line in LINES if line[0] in results["runs"]):
        low, median, high = np.array(results["runs"][name]["quartiles"])
        if band:
            shade = colour.replace("rgb", "rgba").replace(")", ", 0.15)")
            figure.add_scatter(x=x + x[::-1], y=[*low, *high[::-1]], fill="toself", fillcolor=shade, line_width=0,
                               showlegend=False, hoverinfo="skip")  # fmt: skip
        figure.add_scatter(x=x, y=median, name=name, mode="lines", line={"color": colour, "dash": dash})
    figure.update_layout(
        title=f"Hypervolume by what a search spends on training (medians of {seeds} seeds, quartiles shaded)",
        xaxis_title="seconds of training, in trainings of mean length",
        yaxis_title="share of the whole table's hypervolume",
        yaxis_range=[0.6, 1.005],
        template="plotly_white",
        legend={"x": 0.99, "y": 0.02, "xanchor": "right"},
    )
    figure.write_html(args.file, include_plotlyjs=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("run")
    verb.add_argument("--seeds", type=int, default=20)
    verb.add_argument("--budget", type=int, default=60, help="trainings of mean length")
    verb.add_argument("--only", nargs="*", default=[])
    verb.add_argument("--table", type=Path, default=TABLE)
    verb.add_argument("--results", type=Path, default=RESULTS)
    verb.set_defaults(run=run)
    verb = verbs.add_parser("table")
    verb.add_argument("study")
    verb.add_argument("--storage", required=True)
    verb.add_argument("--data-root", type=Path, required=True)
    verb.set_defaults(run=table)
    verb = verbs.add_parser("plot")
    verb.add_argument("file", type=Path)
    verb.set_defaults(run=plot)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    sys.exit(main())
