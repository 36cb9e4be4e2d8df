"""Steps of an ablation without a storage: check proxy networks, count and time networks, list the trainings."""

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
    """Check that every variant has a proxy network that differs from that of its base and of its parts.

    Args:
        study: Networks; those of timm have no proxy network and are not checked.
        proxy: Proxy recipe.

    Raises:
        StudyFileError: A proxy network cannot exist, or two are the same.
    """
    networks = {v.name: v.network for v in study.variants if isinstance(v.network, Arch)}
    shrunk: dict[str, Arch] = {}
    for name, network in networks.items():
        try:
            shrunk[name] = proxy.shrink(network, num_classes=10)
        except ArchError as error:
            raise StudyFileError(
                f"study {study.name}: the proxy network of {name!r} cannot exist: {error}; "
                "change it with --set proxy.width=..."
            ) from None
    for variant in study.variants:
        for other in (variant.base, *variant.parts):
            if other != variant.name and other in shrunk and shrunk[other] == shrunk.get(variant.name):
                raise StudyFileError(
                    f"study {study.name}: {variant.name!r} and {other!r} have the same proxy network, "
                    "which would show nothing; change what it shrinks (--set proxy.depth=1), or leave the factor out "
                    "with --only"
                )


def key_of(network: Arch | TimmModel) -> str:
    """Return a text that is the same for equal networks alone."""
    return network.key if isinstance(network, Arch) else f"{network} at {network.img_size} px"


def counted(study: ListStudy, known: Mapping[str, Result]) -> list[Result]:
    """Return results with the parameters and MACs of a study's networks.

    Args:
        study: Networks to count.
        known: Earlier results by name; those of the same network are not counted again.
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
    """Time a network.

    Args:
        network: Network at the resolution at which it is timed.
        timer: Timer of the device.

    Returns:
        The ``speeds`` of a ``Result``; the error message where the network cannot be timed.
    """
    try:
        timings = timer(network, SPEEDS)
    except (TrialError, ArchError) as error:
        return {"error": {"error": str(error)}}
    return {speed: timing.details() for speed, timing in timings.items()}


def trainings(variants: Iterable[Variant], seeds: Iterable[int]) -> list[tuple[Variant, int]]:
    """Return all trainings in order, seed by seed, so that an early end leaves every network about as many.

    Args:
        variants: Variants; those of timm have no proxy network and are left out.
        seeds: Training seeds.
    """
    own = [variant for variant in variants if isinstance(variant.network, Arch)]
    return [(variant, seed) for seed in seeds for variant in own]


def carried(study: ListStudy, results: Sequence[Result], before: Outcome) -> list[Result]:
    """Return the results of a study, and those of an earlier run's pairs that still are pairs of its variants."""
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
    """Return the study and its outcome with combinations added; these are counted and not timed."""
    by_name = {variant.name: variant for variant in variants}
    listed, known = {v.name for v in study.variants}, {r.name for r in outcome.results}
    added = [variant for name, variant in by_name.items() if name not in listed]
    counts = [_counted(study, variant) for variant in added if variant.name not in known]
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
