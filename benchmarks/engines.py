"""What engines cost, and what several workers gain.

    python benchmarks/engines.py workers [--trials 12] [--rounds 3]
    python benchmarks/engines.py overhead [--trials 200] [--rounds 3] [--engines local ray]
    python benchmarks/engines.py scale [--trials 10000] [--workers 256] [--samplers NAME...] [--plot FILE.html]

``workers``: trials per hour of two workers over one, which has the threads of both, on proxies that are counted and
trained. ``overhead``: milliseconds per trial with evaluations that do nothing, beyond what the storage takes for the
same trials; for Ray beyond bare Ray Tune. ``scale``: milliseconds that a trial keeps the parent busy along a simulated
study with early stopping: to ask for it, look for it in other studies, judge an epoch and tell it. Both sides of each
comparison run in turns.
"""

import argparse
import dataclasses
import heapq
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from archsearch.arch import Arch
from archsearch.complexity.parts import PartCounter
from archsearch.objectives import parse_objectives
from archsearch.recipes import BENCHES, PROXIES
from archsearch.search.definition import Study, create_or_resume
from archsearch.search.early_stopping import EarlyStopping
from archsearch.search.engines.job import Evaluate
from archsearch.search.engines.local import run_local
from archsearch.search.engines.runner import ProgressListener, Runner, run_here
from archsearch.search.search import Candidate, Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.storage.opening import open_storage
from archsearch.search.storage.reuse import ResultReuse
from archsearch.space.yaml import load_space
from archsearch.trial import Epoch, EpochDone, Evaluation, ProgressCallback
from archsearch.utils.package_data import shipped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    for run, trials in ((workers, 12), (overhead, 200), (scale, 10_000)):
        verb = verbs.add_parser(run.__name__)
        verb.set_defaults(run=run)
        verb.add_argument("--trials", type=int, default=trials)
        verb.add_argument("--rounds", type=int, default=3)
        if run is overhead:
            verb.add_argument("--engines", nargs="+", default=["local", "ray"])
        if run is scale:
            verb.add_argument("--workers", type=int, default=256)
            verb.add_argument("--samplers", nargs="+", default=["random", "nsga2", "cost_aware"])
            verb.add_argument("--objectives", default="accuracy,macs")
            verb.add_argument("--plot", type=Path)
    args = parser.parse_args()
    args.run(args)


def study_of(objectives: str, sampler: str = "random", population: int = 50) -> Study:
    """Over the largest space that is shipped, so that hardly a draw repeats another."""
    return Study(
        name="benchmark",
        space=load_space("metanext", shipped("search_spaces")),
        objectives=parse_objectives(objectives),
        proxy=PROXIES["drawn"],
        bench=BENCHES["cpu"],
        data={"name": "drawn", "fingerprint": ""},
        device="cpu",
        sampler=sampler,
        population=population,
    )


@contextmanager
def search_of(study: Study) -> Iterator[Search]:
    with tempfile.TemporaryDirectory() as folder:
        record = create_or_resume(study, open_storage(f"{folder}/s.db", create=True))
        yield Search(study, StorageMirror(record), PartCounter())


# Two workers against one


def workers(args: argparse.Namespace) -> None:
    """Trials per hour."""
    from archsearch.nn.device import device_name, pick_device

    print(f"{device_name(pick_device('cpu'))}, {args.trials} trials of metanext, recipe cpu, images drawn")
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(args.rounds):
        for count, known in speeds.items():
            known.append(trials_per_hour(count, args.trials))
    ratios = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
    print("| workers | trials per hour | ratio |\n| ---: | ---: | ---: |")
    print(f"| 1 | {statistics.median(speeds[1]):.0f} | 1 |")
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"| 2 | {statistics.median(speeds[2]):.0f} | {statistics.median(ratios):.2f} ({spread}) |")


def trials_per_hour(count: int, trials: int) -> float:
    """From the first candidate's start to the last one's end, the workers being there already."""
    from archsearch.evaluate.evaluator import StudyWork
    from archsearch.evaluate.machine import Machine, Source

    study = study_of("accuracy,macs")
    machine = Machine.here(["cpu"], count)
    work = StudyWork(Source("drawn", None, retrain=True), machine, study.objectives, study.proxy, study.bench)
    clock = Clock(count)
    with search_of(study) as search:
        run_local(Runner(search, trials + count, clock), work, count)
    return 3600 * trials / clock.seconds


class Clock(ProgressListener):
    """Counts from when the workers have ended their first candidates."""

    def __init__(self, first: int) -> None:
        self.first, self.start, self.seconds = first, 0.0, 0.0

    def ended(self, trial: object) -> None:
        self.first -= 1
        if self.first == 0:
            self.start = time.perf_counter()
        self.seconds = time.perf_counter() - self.start


# Evaluations that do nothing


def score(arch: Arch) -> dict[str, float]:
    size = float(sum(arch.dims) * sum(arch.depths))
    accuracy = (size % 97) / 97 + int(arch.key, 16) % 9973 / 1e6  # no two are the same
    return {"macs": size, "accuracy": accuracy, "infer_throughput": 1e9 / (size + int(arch.key, 16) % 9999)}


def nothing(
    arch: Arch, seed: int, report: ProgressCallback, known: Evaluation | None = None
) -> tuple[Evaluation, dict[str, Any]]:
    """An evaluation that takes no time."""
    scores = score(arch)
    known = Evaluation(scores, curve=(Epoch(1, 1.0, scores["accuracy"], 0.0),))
    report(EpochDone(known))
    return known, {"device": "none"}


def make_nothing(index: int) -> Evaluate:
    return nothing


def overhead(args: argparse.Namespace) -> None:
    """Milliseconds per trial."""
    costs: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        note(costs, "storage alone, one after another", in_this_process(args.trials))
        if "local" in args.engines:
            note(costs, "local, 2 workers", locally(args.trials))
        if "ray" in args.engines:
            for name, cost in on_ray(args.trials):
                note(costs, name, cost)
    print(f"{args.trials} trials, {args.rounds} rounds, SQLite\n| | ms per trial |\n| --- | ---: |")
    for name, known in costs.items():
        print(f"| {name} | {statistics.median(known):.1f} ({min(known):.1f} to {max(known):.1f}) |")
    medians = {name: statistics.median(known) for name, known in costs.items()}
    storage = medians["storage alone, one after another"]
    if "local" in args.engines:
        print(f"local beyond the storage: {medians['local, 2 workers'] - storage:.1f} ms")
    if "ray" in args.engines:
        bare = medians["bare Ray Tune, 2 actors"]
        print(f"ray beyond bare Ray Tune: {medians['ray, 2 actors'] - bare:.1f} ms")


def note(costs: dict[str, list[float]], name: str, cost: float) -> None:
    costs.setdefault(name, []).append(1e3 * cost)


def in_this_process(trials: int) -> float:
    with search_of(study_of("accuracy,macs")) as search:
        start = time.perf_counter()
        run_here(Runner(search, trials, ProgressListener()), nothing)
        return (time.perf_counter() - start) / trials


def locally(trials: int) -> float:
    clock = Clock(2)
    with search_of(study_of("accuracy,macs")) as search:
        run_local(Runner(search, trials + 2, clock), make_nothing, 2)
    return clock.seconds / trials


def on_ray(trials: int) -> Iterator[tuple[str, float]]:
    """Ours and bare Ray Tune, on the same cluster, from the first trials' end on."""
    from archsearch.search.engines.ray_cluster import Share, cluster
    from archsearch.search.engines.ray_tune import run_ray

    with cluster(None, 2):
        yield "bare Ray Tune, 2 actors", bare_tune(min(trials, 20))  # it takes seconds for each
        clock = Clock(2)
        with search_of(study_of("accuracy,macs")) as search:
            run_ray(Runner(search, trials + 2, clock), make_nothing, Share(1, 0), {}, 2)
        yield "ray, 2 actors", clock.seconds / trials


def bare_tune(trials: int) -> float:
    """What a trial adds to the time of Ray Tune, with reused actors that do nothing, as its guide has it."""
    return (fit_bare(trials + 2) - fit_bare(2)) / trials


def fit_bare(trials: int) -> float:
    from ray import tune

    class Nothing(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self.x = config["x"]

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.x = new_config["x"]
            return True

        def step(self) -> dict[str, Any]:
            return {"score": self.x, "done": True}

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        tune.Tuner(
            tune.with_resources(Nothing, {"cpu": 1}),
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=True),
            run_config=tune.RunConfig(name="bare", storage_path=folder, verbose=0),
        ).fit()
        return time.perf_counter() - start


# A long study with many workers


def scale(args: argparse.Namespace) -> None:
    """Milliseconds per trial, by tenths of the study."""
    lines = {sampler: simulated(sampler, args.objectives, args.trials, args.workers) for sampler in args.samplers}
    print(f"{args.trials} trials, {args.workers} simulated workers, {args.objectives}, SQLite; median ms per trial")
    tenth = max(1, args.trials // 10)
    print("| sampler | " + " | ".join(f"to {(i + 1) * tenth}" for i in range(10)) + " |\n" + "| --- |" + " ---: |" * 10)
    for sampler, costs in lines.items():
        tenths = [1e3 * statistics.median(costs[i * tenth : (i + 1) * tenth]) for i in range(10)]
        print(f"| {sampler} | " + " | ".join(f"{cost:.1f}" for cost in tenths) + " |")
    if args.plot:
        plot(lines, args.plot, args.workers)


def simulated(sampler: str, objectives: str, trials: int, count: int) -> list[float]:
    """Seconds that each trial keeps the parent busy, in a study whose workers take simulated time."""
    rng = random.Random(0)
    with search_of(study_of(objectives, sampler)) as search:
        runner = Runner(
            search,
            trials,
            ProgressListener(),
            stop=EarlyStopping(search, 2),
            reuse=ResultReuse(search.study, search.mirror),
        )
        busy: list[tuple[float, int, Candidate]] = []
        costs = []

        def begin(now: float) -> None:
            candidate = runner.next("simulated")
            if candidate is not None:
                heapq.heappush(busy, (now + rng.lognormvariate(0, 0.5), candidate.number, candidate))

        for _ in range(count):
            begin(0.0)
        while busy:
            now, _, candidate = heapq.heappop(busy)
            start = time.perf_counter()
            two_epochs(runner, candidate)
            begin(now)
            costs.append(time.perf_counter() - start)
            if len(costs) % max(1, trials // 10) == 0:
                last = costs[-max(1, trials // 10) :]
                pruned = sum(trial.state == "pruned" for trial in search.trials)
                print(
                    f"{sampler}: {len(costs)} trials, {pruned} pruned, {1e3 * statistics.median(last):.1f} ms",
                    flush=True,
                )
    return costs


def two_epochs(runner: Runner, candidate: Candidate) -> None:
    """Reports on a training, and ends it when it is told to, or after its second epoch; the first tells little."""
    scores, luck = score(candidate.arch), int(candidate.arch.key, 16) % 101 / 101
    curve = (Epoch(1, 2.0, (scores["accuracy"] + luck) / 2, 0.1), Epoch(2, 1.0, scores["accuracy"], 0.1))
    costs = {name: value for name, value in scores.items() if name != "accuracy"}
    known = Evaluation(costs, curve=curve[:1])
    whole = runner.reported(candidate.number, EpochDone(known))
    ended = Evaluation(scores, curve=curve) if whole else dataclasses.replace(known, pruned=True)
    runner.ended(candidate.number, ended, {"device": "none"})


def plot(lines: dict[str, list[float]], path: Path, count: int) -> None:
    import plotly.graph_objects as go

    figure = go.Figure()
    for sampler, costs in lines.items():
        width = max(1, len(costs) // 100)
        blocks = [1e3 * statistics.median(costs[i : i + width]) for i in range(0, len(costs), width)]
        figure.add_scatter(x=[i * width for i in range(len(blocks))], y=blocks, name=sampler, mode="lines")
    figure.update_layout(
        title=f"The parent's time per trial, {count} simulated workers",
        xaxis_title="trials told",
        yaxis_title="ms per trial (median of blocks)",
        yaxis_rangemode="tozero",
        template="plotly_white",
    )
    figure.write_html(path, include_plotlyjs=True)


if __name__ == "__main__":
    main()
