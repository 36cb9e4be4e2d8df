"""Carries out an ablation: counts its networks, times them, and says which trainings and pairs come next."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from archsearch.analysis.ablation import differences, interactions
from archsearch.arch import Arch
from archsearch.errors import ArchError, StudyFileError, TrialError
from archsearch.liststudy import SPEEDS, ListStudy, Variant, combine
from archsearch.measure.complexity import count
from archsearch.networks import TimmModel
from archsearch.nn import build_network
from archsearch.outcome import Outcome, Result
from archsearch.recipes import Proxy
from archsearch.speed.plan import network_to_dict
from archsearch.speed.timer import Timer

#: A third of the seeds finds the pairs that are worth testing, with half of the budget.
SCREENED = 3


def check_stand_ins(study: ListStudy, proxy: Proxy) -> None:
    """Makes sure that every architecture has a stand-in, and one that differs from that of what it is compared to.

    Raises:
        StudyFileError: it has not.
    """
    own = {v.name: v for v in study.variants if isinstance(v.network, Arch)}
    shrunk: dict[str, Arch] = {}
    for name, variant in own.items():
        try:
            shrunk[name] = proxy.shrink(variant.network, num_classes=10)  # type: ignore[arg-type]
        except ArchError as error:
            raise StudyFileError(
                f"study {study.name}: the proxy of {name!r} cannot exist: {error}; change it with --set proxy.width=..."
            ) from None
    for name, variant in own.items():
        if variant.base != name and variant.base in shrunk and shrunk[name] == shrunk[variant.base]:
            raise StudyFileError(
                f"study {study.name}: {name!r} and {variant.base!r} have the same proxy, which would show nothing; "
                "change what it shrinks (--set proxy.depth=1), or leave the factor out with --only"
            )


def counted(study: ListStudy, known: Mapping[str, Result]) -> list[Result]:
    """The networks of a study with their parameters and MACs.

    Args:
        study: with the networks.
        known: results from before, by name.
    """
    return [_counted(study, variant, known.get(variant.name)) for variant in study.variants]


def _counted(study: ListStudy, variant: Variant, known: Result | None = None) -> Result:
    network = json.loads(json.dumps(network_to_dict(variant.network)))  # as a record gives it back
    if known is not None and known.network == network:
        params, macs = known.params, known.macs
    else:
        model, img_size = build_network(variant.network)
        complexity = count(model, img_size)
        params, macs = complexity.params, complexity.macs
    return Result(
        name=variant.name,
        factor=variant.factor,
        base=variant.base,
        changes=dict(variant.changes),
        parts=variant.parts,
        network=network,
        params=params,
        macs=macs,
        paper=_printed(study, variant),
    )


def _printed(study: ListStudy, variant: Variant) -> dict[str, Any]:
    row = variant.row
    if row is None:
        return {}
    top1 = row.figures.get("top1")
    speeds = {speed: study.paper_speed(variant, speed) for speed in SPEEDS}
    printed = {"table": row.table, "row": row.row, "top1": float(top1) if top1 else None, **speeds}
    return {name: value for name, value in printed.items() if value is not None}


def timed(network: Arch | TimmModel, timer: Timer) -> dict[str, dict[str, Any]]:
    """The speeds of a network at its resolution, as a ``Result`` keeps them."""
    try:
        timings = timer(network, SPEEDS)
    except TrialError as error:
        return {"error": {"error": str(error)}}
    return {speed: timing.details() for speed, timing in timings.items()}


def trainings(variants: Iterable[Variant], seeds: Iterable[int]) -> list[tuple[Variant, int]]:
    """Everything that is trained, seed by seed: wherever it ends, every network has been trained about as often."""
    own = [variant for variant in variants if isinstance(variant.network, Arch)]
    return [(variant, seed) for seed in seeds for variant in own]


def all_pairs(study: ListStudy, outcome: Outcome, proxy: Proxy) -> list[Variant]:
    """Every combination of two variants of different factors, where it can exist.

    Those whose parts do most by themselves come first: interactions rarely hide where neither part does anything.
    """
    singles = [v for v in study.variants if len(v.parts) == 1 and v.base == study.baseline.name]
    found = []
    for a, b in combinations(singles, 2):
        if a.factor == b.factor:
            continue
        try:
            both = combine(study, [a.name, b.name])
            proxy.shrink(both.network, num_classes=10)  # type: ignore[arg-type]
        except (ArchError, StudyFileError):
            continue
        if both.network not in {v.network for v in study.variants if len(v.parts) < 2}:
            found.append(both)
    return sorted(found, key=lambda v: -_effect(outcome, v.parts[0]) * _effect(outcome, v.parts[1]))


def _effect(outcome: Outcome, name: str) -> float:
    found = differences(outcome[name], outcome.baseline)
    return abs(sum(found) / len(found)) if found else 0.0


def split_seeds(pairs: int, budget: int, seeds: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """Seeds that pairs are screened with, and tested with; no screening where the budget suffices for all.

    >>> split_seeds(40, 60, range(6)), split_seeds(10, 60, range(6))
    ((range(0, 2), range(2, 6)), (range(0, 0), range(0, 6)))
    """
    first = 0 if pairs * len(seeds) <= budget else max(1, len(seeds) // SCREENED)
    return seeds[:first], seeds[first:]


def to_screen(pairs: Sequence[Variant], budget: int, screening: Sequence[int]) -> list[tuple[Variant, int]]:
    """Trainings that say which pairs are worth testing: half of the budget."""
    chosen = pairs[: budget // 2 // len(screening)] if screening else []
    return [(variant, seed) for seed in screening for variant in chosen]


def to_test(
    pairs: Sequence[Variant], outcome: Outcome, budget: int, screening: Sequence[int], testing: Sequence[int]
) -> list[tuple[Variant, int]]:
    """Trainings that test the pairs farthest from the sum of their parts, with seeds that did not choose them.

    Args:
        pairs: of ``all_pairs``.
        outcome: with the screened ones.
        budget: trainings in all.
        screening: seeds that were used for it; with none, all pairs are tested.
        testing: the others.
    """
    if screening:
        far = sorted(interactions(outcome, "none", screening), key=lambda i: -abs(i.excess.mean))
        left = (budget - len(far) * len(screening)) // len(testing)
        names = [interaction.result.name for interaction in far][: max(1, left)]
        pairs = [pair for name in names for pair in pairs if pair.name == name]
    return [(variant, seed) for seed in testing for variant in pairs]


def with_variants(study: ListStudy, outcome: Outcome, variants: Iterable[Variant]) -> tuple[ListStudy, Outcome]:
    """The study and its outcome with combinations added, which are not timed."""
    by_name = {variant.name: variant for variant in variants}
    listed, told = {v.name for v in study.variants}, {r.name for r in outcome.results}
    added = [variant for name, variant in by_name.items() if name not in listed]
    counts = [_counted(study, variant) for variant in added if variant.name not in told]
    return (
        replace(study, variants=(*study.variants, *added)),
        replace(outcome, results=(*outcome.results, *counts)),
    )
