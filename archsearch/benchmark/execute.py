"""Carry out a benchmark: find the networks, complete the recipe for the device, and time them side by side."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archsearch.arch.networks import find, variation, varied
from archsearch.benchmark.jobs import Job, Measured, Network
from archsearch.benchmark.session import Session
from archsearch.benchmark.spec import BenchmarkSpec, NamedNetwork, resized
from archsearch.errors import OptionError, UserError
from archsearch.recipes import BenchRecipe


@dataclass(frozen=True)
class BenchmarkRecord:
    """One network of a benchmark and its results.

    Attributes:
        name: Name of the network.
        network: The network at the resolution it was timed at; None where there is none of that name.
        measured: Counts, timings and errors.
    """

    name: str
    network: Network | None
    measured: Measured


@dataclass(frozen=True)
class BenchmarkResult:
    """What a benchmark measured.

    Attributes:
        records: One record per network, in the order of the spec.
        recipe: The recipe they were timed with, complete for the device.
    """

    records: tuple[BenchmarkRecord, ...]
    recipe: BenchRecipe


@dataclass(frozen=True)
class BenchmarkEvent:
    """Something a benchmark is doing.

    Attributes:
        name: ``loading``, ``warming``, ``round`` or ``roofline`` for each step of the work; ``waiting`` for the device,
            ``refitted`` to a smaller batch, ``deferred`` for networks that do not fit beside the others, ``died`` for
            a process that has to be replaced.
        network: Name of the network it is about; None for the reference, or where it is about all.
        details: Facts by name: ``number`` and ``of`` of ``warming`` and ``round``, ``holder`` of ``waiting``,
            ``batch_size`` of ``refitted``, ``count`` of ``deferred``, ``reason`` of ``died``.
    """

    name: str
    network: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


#: Progress callback of a benchmark.
BenchmarkProgress = Callable[[BenchmarkEvent], None]


def run(spec: BenchmarkSpec, progress: BenchmarkProgress | None = None) -> BenchmarkResult:
    """Time networks side by side with a reference, by the protocol of ``archsearch.benchmark``.

    A network that does not exist or cannot be timed says so in its record; the others are timed.

    Args:
        spec: Networks and conditions.
        progress: Progress callback.

    Returns:
        A record per network, and the complete recipe.

    Raises:
        UserError: No such device, the device cannot do what is asked for, the reference cannot be timed, or none of
            the networks exists.
    """
    named = _found(spec)
    _refuse_if_nothing(named)
    names: list[str] = []

    def listen(event: Mapping[str, Any]) -> None:
        details = {name: value for name, value in event.items() if name not in ("event", "index")}
        index = event.get("index", -1)
        network = names[index] if 0 <= index < len(names) else None
        if progress is not None:
            progress(BenchmarkEvent(event["event"], network, details))

    with Session(spec.device, spec.mixers, listen, spec.fit_batch) as session:
        kind = "cpu" if session.facts["kind"] == "cpu" else "gpu"
        recipe = spec.recipe_on(kind, session.facts["tf32"])
        named = [_sized(entry, kind, spec.img_size) for entry in named]
        _refuse_if_nothing(named)
        networks = {entry.name: network for entry in named if (network := entry.on(kind)) is not None}
        names += networks
        reference = networks.get(recipe.reference) or _reference(spec, recipe.reference, kind)
        measured = dict(zip(networks, session.run(_job(spec, recipe, networks, reference)), strict=True))
    records = tuple(_record(entry, networks.get(entry.name), measured.get(entry.name)) for entry in named)
    if all(record.measured.users_fault for record in records):
        raise OptionError(_reasons(str(record.measured.error) for record in records))
    return BenchmarkResult(records, recipe)


def _found(spec: BenchmarkSpec) -> list[NamedNetwork]:
    """The networks of a spec, each once; names are looked up, and what is wrong with one stands in its place."""
    found: dict[str, NamedNetwork] = {}
    for given in spec.networks:
        try:
            entry = NamedNetwork(given, find(given, spec.img_size)) if isinstance(given, str) else given
        except UserError as error:
            entry = NamedNetwork(str(given), error=str(error))
        entry = _varied(entry, spec)
        found.setdefault(entry.name, entry)
    return list(found.values())


def _varied(entry: NamedNetwork, spec: BenchmarkSpec) -> NamedNetwork:
    """Make a network with the spec's arguments, which its name then tells."""
    given = entry.network
    if given is None or not spec.model_kwargs:
        return entry
    try:
        made: Network | dict[str, Network]
        if isinstance(given, Mapping):
            made = {kind: varied(one, spec.model_kwargs) for kind, one in given.items()}
        else:
            made = varied(given, spec.model_kwargs)
    except UserError as error:
        return NamedNetwork(entry.name, error=str(error))
    return NamedNetwork(entry.name + variation(spec.model_kwargs), made)


def _sized(entry: NamedNetwork, kind: str, img_size: int | None) -> NamedNetwork:
    network = entry.on(kind)
    if network is None:
        return entry
    try:
        return NamedNetwork(entry.name, resized(network, img_size))
    except UserError as error:
        return NamedNetwork(entry.name, error=str(error))


def _refuse_if_nothing(named: Sequence[NamedNetwork]) -> None:
    if all(entry.network is None for entry in named):
        raise OptionError(_reasons(str(entry.error) for entry in named) or "name one or more networks to time")


def _reasons(errors: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(errors))


def _reference(spec: BenchmarkSpec, name: str, kind: str) -> Network:
    """Return the reference as it is named, without the arguments that the networks are made with."""
    given = (entry.on(kind) for entry in spec.networks if isinstance(entry, NamedNetwork) and entry.name == name)
    network = next(given, None)
    return find(name, spec.img_size) if network is None else resized(network, spec.img_size)


def _job(spec: BenchmarkSpec, recipe: BenchRecipe, networks: Mapping[str, Network], reference: Network) -> Job:
    return Job(
        networks=tuple(networks.values()),
        reference=reference,
        bench=recipe,
        kinds=spec.kinds,
        modes=spec.modes or (recipe.mode,),
        seed=spec.seed,
        thorough=True,
        energy=spec.energy,
        roofline=spec.roofline,
    )


def _record(entry: NamedNetwork, network: Network | None, measured: Measured | None) -> BenchmarkRecord:
    return BenchmarkRecord(entry.name, network, measured or Measured(error=entry.error, users_fault=True))
