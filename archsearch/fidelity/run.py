"""Carries out a plan: draws architectures, trains all of them at every rung, and scores them untrained."""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archsearch.arch import Arch
from archsearch.arch.networks import network
from archsearch.arch.params import Value
from archsearch.complexity.counts import Complexity, count
from archsearch.complexity.zero_cost import naswot, synflow
from archsearch.data.images import ImageData, stratified
from archsearch.errors import UserError
from archsearch.evaluate.pipeline import build_proxy
from archsearch.evaluate.pool import Machine, Source, TrainJob, train_all
from archsearch.fidelity.plan import Plan, Rung
from archsearch.nn import build
from archsearch.recipes import ProxyRecipe
from archsearch.space.space import Space
from archsearch.train.training import channel_statistics
from archsearch.trial import Evaluation

#: Random architectures whose MACs are counted, for each one that is wanted.
COUNTED = 4
#: Images that NASWOT compares.
NASWOT_IMAGES = 128


@dataclass(frozen=True)
class Subject:
    """An architecture that is trained.

    Attributes:
        name: its key, or that of the network in the paper.
        arch: the target.
        complexity: of the target.
        params: values of the space's open axes.
        table: of the paper, where it is a row of one.
        top1: that the paper prints, in percent.
    """

    name: str
    arch: Arch
    complexity: Complexity
    params: Mapping[str, Value] = field(default_factory=dict)
    table: str | None = None
    top1: float | None = None


def draw(space: Space, number: int, proxies: Sequence[ProxyRecipe], seed: int = 0) -> list[Subject]:
    """Draw architectures of a space, one from each of ``number`` equally likely ranges of MACs, with distinct proxies.

    Raises:
        UserError: the space has too few.
    """
    rng = random.Random(seed)
    found: dict[Any, tuple[Arch, dict[str, Value]]] = {}
    for _ in range(100 * number):
        params = space.sample(rng)
        arch = space.arch(params)
        found.setdefault(tuple(proxy.shrink(arch, 10) for proxy in proxies), (arch, params))
        if len(found) == COUNTED * number:
            break
    if len(found) < number:
        raise UserError(
            f"space {space.name} has {len(found)} architectures with distinct proxy networks; ask for fewer"
        )
    subjects = [Subject(arch.key, arch, _complexity(arch), params) for arch, params in found.values()]
    subjects.sort(key=lambda subject: (subject.complexity.macs, subject.name))
    edges = [round(i * len(subjects) / number) for i in range(number + 1)]
    return [rng.choice(subjects[low:high]) for low, high in itertools.pairwise(edges)]


def published(plan: Plan) -> list[Subject]:
    """Return the rows of the paper that a plan names; timm's own networks have no proxy and are left out."""
    found = []
    for row in plan.paper:
        if not row.network.startswith("timm:"):
            arch = network(row.network)
            top1 = float(row.figures["top1"])
            found.append(Subject(row.network, arch, _complexity(arch), table=row.table, top1=top1))
    return found


def _complexity(arch: Arch) -> Complexity:
    return count(build(arch), arch.img_size)


def trainings(plan: Plan, subjects: Sequence[Subject], paper: Sequence[Subject]) -> list[tuple[Subject, Rung, int]]:
    """Everything that a plan trains: rung by rung, seed by seed."""
    own = [(s, rung, seed) for rung in (*plan.rungs, plan.reference) for seed in range(rung.seeds) for s in subjects]
    theirs = [(s, rung, seed) for rung in plan.paper_rungs for seed in range(rung.seeds) for s in paper]
    return own + theirs


def carry_out(
    asked: Sequence[tuple[Subject, Rung, int]],
    untrained: Mapping[str, Mapping[str, float]],
    source: Source,
    machine: Machine,
    told: Callable[[dict[str, Any]], None],
) -> None:
    """Trains.

    Args:
        asked: of ``trainings``.
        untrained: zero-cost scores by subject's name.
        source: where workers find what they need.
        machine: that workers share.
        told: the record of each training as it ends.
    """
    jobs = [TrainJob(subject.arch, rung.proxy, seed) for subject, rung, seed in asked]
    for index, evaluation in train_all(jobs, source, machine):
        subject, rung, seed = asked[index]
        told(_record(subject, rung, seed, evaluation) | dict(untrained.get(subject.name, {})))


def passes(proxy: ProxyRecipe) -> float:
    """About what a training costs, for telling how much is left: positions that its first stage sees."""
    side = proxy.img_size / (proxy.stem_patch_size or 4)
    return proxy.epochs * (proxy.train_samples + proxy.val_samples / 3) * side**2 * proxy.width**2


def check_samples(plan: Plan, data: ImageData) -> None:
    """Makes sure that the data set has as many images as a plan asks for.

    Raises:
        UserError: it has not, so that schedules would not be what their names say.
    """
    for rung in (*plan.rungs, plan.reference):
        for wanted, split in ((rung.proxy.train_samples, data.train), (rung.proxy.val_samples, data.val)):
            if wanted > len(split):
                raise UserError(
                    f"plan {plan.name}: {rung.name!r} asks for {wanted} images, and {data.name} has {len(split)}; "
                    "use a larger --dataset, or a plan of your own"
                )


def _record(subject: Subject, rung: Rung, seed: int, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "network": subject.name,
        "table": subject.table,
        "rung": rung.name,
        "seed": seed,
        "accuracy": evaluation.scores.get("accuracy"),
        "seconds": round(sum(epoch.seconds for epoch in evaluation.curve), 2),
        "error": evaluation.error,
        "top1": subject.top1,
        "macs": subject.complexity.macs,
        "params": subject.complexity.params,
        **{f"axis.{name}": value for name, value in subject.params.items()},
    }


def zero_cost(
    subjects: Sequence[Subject], proxy: ProxyRecipe, data: ImageData
) -> Iterator[tuple[Subject, dict[str, float]]]:
    """Scores of each subject's proxy network before any training, on the CPU."""
    mean, std = channel_statistics(data.train)
    images = data.train.pixels(stratified(data.train.labels, min(NASWOT_IMAGES, len(data.train)), seed=0))
    normal = (images.float() - mean) / std
    for subject in subjects:
        model = build_proxy(proxy.shrink(subject.arch, len(data.classes)), proxy, seed=0)
        yield subject, {"synflow": synflow(model, proxy.img_size), "naswot": naswot(model, normal)}
