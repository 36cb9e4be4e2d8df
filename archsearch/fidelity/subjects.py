"""Architectures of a fidelity study: drawn from a space, or rows of the paper; and their scores without training."""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
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
from archsearch.fidelity.plan import Plan
from archsearch.nn import build
from archsearch.recipes import ProxyRecipe
from archsearch.space.space import Space
from archsearch.train.training import channel_statistics

#: Random architectures whose MACs are counted, for each one that is wanted.
COUNTED = 4
#: Images that NASWOT compares.
NASWOT_IMAGES = 128


@dataclass(frozen=True)
class Subject:
    """An architecture that is trained.

    Attributes:
        name: Key of the architecture, or name of the network in the paper.
        arch: Target architecture.
        complexity: MACs and parameters of the target.
        params: Values of the space's open axes.
        table: Number of the paper's table that it is a row of, if it is one.
        top1: Top-1 accuracy that the paper prints, in percent.
    """

    name: str
    arch: Arch
    complexity: Complexity
    params: Mapping[str, Value] = field(default_factory=dict)
    table: str | None = None
    top1: float | None = None


def draw(space: Space, number: int, proxies: Sequence[ProxyRecipe], seed: int = 0) -> list[Subject]:
    """Draw architectures of a space, one from each of ``number`` equally likely ranges of MACs.

    Args:
        space: Search space.
        number: Number of architectures.
        proxies: Proxy recipes; no two architectures have the same proxy networks.
        seed: Seed of the draw.

    Raises:
        UserError: The space has too few architectures.
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
    """Return the rows of the paper that a plan names, but for timm's own networks, which have no proxy network."""
    found = []
    for row in plan.paper:
        if not row.network.startswith("timm:"):
            arch = network(row.network)
            top1 = float(row.figures["top1"])
            found.append(Subject(row.network, arch, _complexity(arch), table=row.table, top1=top1))
    return found


def _complexity(arch: Arch) -> Complexity:
    return count(build(arch), arch.img_size)


def zero_cost(
    subjects: Sequence[Subject], proxy: ProxyRecipe, data: ImageData
) -> Iterator[tuple[Subject, dict[str, float]]]:
    """Score each subject's proxy network before any training, on the CPU.

    Args:
        subjects: Architectures to score.
        proxy: Proxy recipe that makes the networks.
        data: Data set at the recipe's resolution.

    Yields:
        Each subject and its scores, ``synflow`` and ``naswot``.
    """
    mean, std = channel_statistics(data.train)
    images = data.train.pixels(stratified(data.train.labels, min(NASWOT_IMAGES, len(data.train)), seed=0))
    normal = (images.float() - mean) / std
    for subject in subjects:
        model = build_proxy(proxy.shrink(subject.arch, len(data.classes)), proxy, seed=0)
        yield subject, {"synflow": synflow(model, proxy.img_size), "naswot": naswot(model, normal)}
