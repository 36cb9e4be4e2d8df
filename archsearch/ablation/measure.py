"""Carries out an ablation: checks its proxy networks, counts its networks, times them, and says what is trained."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from archsearch.ablation.outcome import Outcome, Result
from archsearch.ablation.variants import SPEEDS, ListStudy, Variant, combine
from archsearch.arch import Arch
from archsearch.arch.networks import TimmModel
from archsearch.benchmark.jobs import network_to_dict
from archsearch.benchmark.timer import Timer
from archsearch.complexity.counts import count
from archsearch.complexity.operators import KernelCost, kernel_costs
from archsearch.errors import ArchError, StudyFileError, TrialError
from archsearch.nn import build_network
from archsearch.recipes import ProxyRecipe


def check_proxies(study: ListStudy, proxy: ProxyRecipe) -> None:
    """Makes sure that every architecture has a proxy network, and one that differs from that of what it is compared to.

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
        for other in (variant.base, *variant.parts):
            if other != name and shrunk.get(other) == shrunk[name]:
                raise StudyFileError(
                    f"study {study.name}: {name!r} and {other!r} have the same proxy, which would show nothing; "
                    "change what it shrinks (--set proxy.depth=1), or leave the factor out with --only"
                )


def key_of(network: Arch | TimmModel) -> str:
    """What tells a network from all others."""
    return network.key if isinstance(network, Arch) else f"{network} at {network.img_size} px"


def counted(study: ListStudy, known: Mapping[str, Result]) -> list[Result]:
    """The networks of a study with their parameters and MACs.

    Args:
        study: with the networks.
        known: results from before, by name.
    """
    return [_counted(study, variant, known.get(variant.name)) for variant in study.variants]


def _counted(study: ListStudy, variant: Variant, known: Result | None = None) -> Result:
    key = key_of(variant.network)
    if known is not None and known.key == key:
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
        network=network_to_dict(variant.network),
        key=key,
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
    except (TrialError, ArchError) as error:
        return {"error": {"error": str(error)}}
    return {speed: timing.details() for speed, timing in timings.items()}


def trainings(variants: Iterable[Variant], seeds: Iterable[int]) -> list[tuple[Variant, int]]:
    """Everything that is trained, seed by seed: wherever it ends, every network has been trained about as often."""
    own = [variant for variant in variants if isinstance(variant.network, Arch)]
    return [(variant, seed) for seed in seeds for variant in own]


def carried(study: ListStudy, results: Sequence[Result], before: Outcome) -> list[Result]:
    """The results of a study, and of pairs from an earlier run what still is a pair of its variants."""
    names = {result.name for result in results}
    kept = []
    for result in before.results:
        if len(result.parts) == 2 and names >= {*result.parts} and result.name not in names:
            try:
                same = key_of(combine(study, result.parts).network) == result.key
            except (ArchError, StudyFileError):
                same = False
            kept += [result] if same else []
    return [*results, *kept]


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


def operator_costs(study: ListStudy) -> list[KernelCost]:
    """Return the costs of operators by kernel size, on the first map and with the first width of the baseline."""
    network = study.baseline.network
    if not isinstance(network, Arch):
        raise ArchError(f"{network} comes ready made from timm and has no parts to count")
    return kernel_costs(network.dims[0], network.side(0), study.kernel_sizes)
