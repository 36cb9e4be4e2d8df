"""Ways to make a short training rank better, each judged by the same reference: what each buys per second.

    python benchmarks/ways.py run --data-root DIR [--only NAME ...] [--seeds 100] [--part 0/2]
    python benchmarks/ways.py show

Every way trains the architectures of the plan ``inception_dw`` (``archsearch.fidelity``), which is what the committed
reference has trained too, with a seed that the reference has not. A way is a recipe, or something that no recipe has:
a teacher, smaller images at first. One training gives several scores: accuracy on half or all of the held-out images,
their mean log-likelihood and margin, each for the last weights and for an average of the weights.

``run`` trains one network at a time on one thread, and adds what is missing to ``benchmarks/ways/results.csv``;
two of them take half each (``--part 0/2``, ``--part 1/2``). Seconds are of this process on its core. The teacher is a
network that was trained for five times as long; its class probabilities on the training images are kept beside the
results of a run, and are not committed.
"""

import argparse
import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.arch import Arch
from archsearch.data import ImageData, load
from archsearch.data.augment import augment
from archsearch.data.images import Split
from archsearch.evaluate.pipeline import build_proxy
from archsearch.fidelity import load_plan, read_records
from archsearch.fidelity.plan import REFERENCE
from archsearch.fidelity.subjects import Subject, draw
from archsearch.recipes import ProxyRecipe, override
from archsearch.stats.agreement import agreement
from archsearch.train.kernels import speed_up
from archsearch.train.optimizer import Average, Schedule, adamw
from archsearch.train.training import channel_statistics

FOLDER = Path(__file__).parent / "ways"
RESULTS, TEACHER = FOLDER / "results.csv", FOLDER / "teacher.pt"
#: Records with the reference that the ways are judged by.
TRUTH = Path(__file__).parents[1] / "studies/results/fidelity-inception_dw-cifar10-epyc-2-cores.csv"
#: Recipe that the ways change.
BASE = ProxyRecipe(train_samples=0, val_samples=0, batch_size=32)
#: Batches that are augmented at once.
AT_ONCE = 64
#: Architecture of the teacher, and the images that it is trained with.
TEACHER_NETWORK, TEACHER_IMAGES = "a2963f4b0cd4", 180_000


@dataclass(frozen=True)
class Way:
    """A way to train.

    Attributes:
        images: Number of training images, all of them different ones as long as there are.
        changes: Fields that differ from ``BASE``.
        averages: Decays of averages of the weights, which are judged as well.
        teacher: Weight of the loss against the teacher's probabilities.
        small: Side of the images in the first half of the training; None for no smaller ones.
    """

    images: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    averages: tuple[float, ...] = ()
    teacher: float = 0.0
    small: int | None = None


WAYS = {
    "36,864 images": Way(36_864, averages=(0.98, 0.99, 0.995)),
    "32,768, teacher": Way(32_768, teacher=0.7),
    "13,312 images": Way(13_312, averages=(0.98, 0.99)),
    "13,312, teacher": Way(13_312, teacher=0.7),
    "17,408, 24 px at first": Way(17_408, small=24),
    "13,312, lr 1.2e-2": Way(13_312, {"lr": 1.2e-2}),
    "13,312, lr 3e-3": Way(13_312, {"lr": 3e-3}),
    "13,312, batch 16, lr 4e-3": Way(13_312, {"batch_size": 16, "lr": 4e-3}),
    "13,312, batch 64": Way(13_312, {"batch_size": 64}),
    "13,312, no mirroring": Way(13_312, {"flip": False}),
    "13,312, no label smoothing": Way(13_312, {"label_smoothing": 0.0}),
    "7,680, width 3/8": Way(7_680, {"width": 3 / 8}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run")
    run.add_argument("--data-root", type=Path, required=True)
    run.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS))
    run.add_argument("--seeds", nargs="+", type=int, default=[100])
    run.add_argument("--part", default="0/1", help="which of how many parts of the trainings, as in 0/2")
    verbs.add_parser("show")
    args = parser.parse_args()
    if args.verb == "show":
        show()
        return
    torch.set_num_threads(1)
    data = load("folder", args.data_root, BASE.img_size)
    part, parts = (int(number) for number in args.part.split("/"))
    for name, subject, seed in list(missing(args.only, args.seeds))[part::parts]:
        note(name, subject.name, seed, judged(WAYS[name], subject.arch, data, seed))


@cache
def subjects() -> tuple[Subject, ...]:
    plan = load_plan("inception_dw")
    return tuple(draw(plan.space, plan.archs, [schedule.proxy for schedule in plan.all_schedules], 0))


def missing(names: Sequence[str], seeds: Sequence[int]) -> Iterator[tuple[str, Subject, int]]:
    """Trainings that have no row yet."""
    rows = pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame(columns=["way", "network", "seed"])
    there = set(zip(rows["way"], rows["network"], rows["seed"], strict=True))
    for name in names:
        for seed in seeds:
            yield from ((name, s, seed) for s in subjects() if (name, s.name, seed) not in there)


def note(way: str, network: str, seed: int, scores: Mapping[str, float]) -> None:
    """Add rows; a row is a score, so that ways with other scores share the file."""
    fresh = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(["way", "network", "seed", "score", "value"])
        writer.writerows((way, network, seed, name, f"{value:.6g}") for name, value in scores.items())


def judged(way: Way, arch: Arch, data: ImageData, seed: int) -> dict[str, float]:
    """Train a proxy network; return its scores and its seconds."""
    proxy = override(BASE, way.changes)
    model = built(arch, proxy, data, seed)
    averages = {decay: Average(model, decay) for decay in way.averages}
    start = time.process_time()
    train(model, way, proxy, data, seed, averages)
    scores = {"train seconds": time.process_time() - start}
    start = time.process_time()
    scores |= judgements(model, data)
    scores["judge seconds"] = time.process_time() - start
    for decay, average in averages.items():
        scores |= {f"{name}, average {decay}": value for name, value in judgements(average.model, data).items()}
    return scores


def built(arch: Arch, proxy: ProxyRecipe, data: ImageData, seed: int) -> nn.Module:
    model = build_proxy(proxy.shrink(arch, len(data.classes)), proxy, seed).to(memory_format=torch.channels_last)
    speed_up(model)
    return model


def train(
    model: nn.Module, way: Way, proxy: ProxyRecipe, data: ImageData, seed: int, averages: Mapping[float, Average]
) -> None:
    """Train a model in place."""
    mean, std = channel_statistics(data.train)
    steps = way.images // proxy.batch_size
    optimizer, schedule, rng = adamw(model, proxy), Schedule(steps, proxy.warmup), np.random.default_rng((seed, 1))
    soft = teacher(data) if way.teacher else None
    model.train()
    for step, (where, images) in enumerate(batches(data.train, steps, proxy, rng)):
        for group in optimizer.param_groups:
            group["lr"] = proxy.lr * schedule(step)
        x = (images.float() - mean) / std
        if way.small and step < steps // 2:
            x = F.interpolate(x, size=way.small, mode="bilinear", antialias=True)
        logits = model(x.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits, data.train.labels[where], label_smoothing=proxy.label_smoothing)
        if soft is not None:
            loss = (1 - way.teacher) * loss + way.teacher * F.cross_entropy(logits, soft[where])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        for decay, average in averages.items():
            average.decay = min(decay, (1 + step) / (10 + step))  # shorter at first
            average.update()


def batches(split: Split, steps: int, proxy: ProxyRecipe, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Indices and augmented images, all in random order before any comes again."""
    count, size = steps * proxy.batch_size, proxy.batch_size
    passes = [rng.permutation(len(split)) for _ in range(-(-count // len(split)))]
    for several in torch.from_numpy(np.concatenate(passes)[:count]).split(size * AT_ONCE):
        images = augment(split.pixels(several), proxy, True, rng)
        yield from zip(several.split(size), images.split(size), strict=True)


@torch.no_grad()
def logits_of(model: nn.Module, split: Split, data: ImageData) -> Tensor:
    mean, std = channel_statistics(data.train)
    model.eval()
    return torch.cat([model((split.pixels(w).float() - mean) / std) for w in torch.arange(len(split)).split(128)])


def judgements(model: nn.Module, data: ImageData) -> dict[str, float]:
    """Scores on the held-out images, higher is better."""
    logits, labels = logits_of(model, data.val, data), data.val.labels
    hits = (logits.argmax(1) == labels).float()
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return {
        "accuracy": hits.mean().item(),
        "accuracy, half of the images": hits[::2].mean().item(),
        "log-likelihood": -F.cross_entropy(logits, labels).item(),
        "margin": (own - others).mean().item(),
    }


@cache
def teacher(data: ImageData) -> Tensor:
    """Class probabilities of the teacher on the training images, (N, classes)."""
    if not TEACHER.exists():
        (arch,) = (subject.arch for subject in subjects() if subject.name == TEACHER_NETWORK)
        proxy = override(BASE, {"batch_size": 64, "crop_padding": 4})
        model = built(arch, proxy, data, 7)
        train(model, Way(TEACHER_IMAGES), proxy, data, 7, {})
        torch.save(logits_of(model, data.train, data).softmax(1), TEACHER)
    return torch.load(TEACHER, weights_only=True)


def show() -> None:
    records = read_records(TRUTH)
    long = records[(records["schedule"] == REFERENCE) & records["table"].isna()]
    truth = long.groupby("network")["accuracy"].mean()
    macs = long.groupby("network")["macs"].first()
    mixers = long.groupby("network")["axis.token_mixer"].first()
    rows = pd.read_csv(RESULTS)
    tables = {way: group.pivot_table(index=["network", "seed"], columns="score", values="value", sort=False)
              for way, group in rows.groupby("way", sort=False)}  # fmt: skip
    print("| way | score | core seconds | tau (95 %) | in MACs bins | regret | r |\n|" + " --- |" * 2 + " ---: |" * 5)
    for way, table in tables.items():
        spent = table["train seconds"].mean() + table["judge seconds"].mean()
        for score in (name for name in table.columns if not name.endswith("seconds")):
            line(f"{way} ({len(table)}) | {score} | {spent:.0f}", table[score], truth, macs)
    kinds = sorted(mixers.unique())
    print("\n| places gained or lost in the ranking by accuracy | " + " | ".join(kinds))
    print("|" + " --- |" * (1 + len(kinds)))
    for way, table in tables.items():
        score = table["accuracy"].groupby("network").mean()
        shifts = (score.rank() - truth[score.index].rank()).groupby(mixers[score.index]).mean()
        print(f"| {way} | " + " | ".join(f"{shifts.get(kind, float('nan')):+.1f}" for kind in kinds) + " |")


def line(head: str, score: pd.Series, truth: pd.Series, macs: pd.Series) -> None:
    by_seed = score.unstack("seed").dropna()
    found = agreement(by_seed.to_numpy().T, truth[by_seed.index], macs[by_seed.index])
    r = np.corrcoef(by_seed.mean(axis=1), truth[by_seed.index])[0, 1]
    tau = f"{found.tau.value:.2f} ({found.tau.low:.2f} to {found.tau.high:.2f})"
    print(f"| {head} | {tau} | {found.within.value:.2f} | {100 * found.regret:.1f} | {r:.3f} |")


if __name__ == "__main__":
    main()
