"""Outcome of an ablation as plain data: one ``Result`` per network, and the recipes behind all of them."""

import math
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from archsearch.errors import UserError


@dataclass(frozen=True)
class Result:
    """One network of an ablation.

    Attributes:
        name: Name in tables.
        factor: Name of its factor; empty for the baseline.
        base: Name of the result that it is compared to; its own for the baseline.
        changes: Values of the axes that differ from the baseline.
        parts: Names of the variants of single factors that it combines; its own where it is one.
        network: Fields of the architecture under ``arch``, or of a timm network under ``timm``.
        key: Key of the architecture, or timm's name and the size of the images.
        params: Number of parameters of the target.
        macs: Multiply-adds of the target for one image.
        accuracies: Top-1 of the proxy network after its last epoch, a fraction, by seed.
        errors: Error message of each failed training, by seed.
        speeds: Timings of the target under ``train`` and ``infer``, as ``Timing.details`` has them, or ``error``.
        trained: Top-1 of the target with published ``weights``: ``correct`` of ``images``; empty without weights.
        paper: ``table``, ``row``, ``top1`` in percent, and ``train`` and ``infer`` in images/s, as far as printed.
    """

    name: str
    factor: str = ""
    base: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    network: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    params: int | None = None
    macs: int | None = None
    accuracies: Mapping[int, float] = field(default_factory=dict)
    errors: Mapping[int, str] = field(default_factory=dict)
    speeds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trained: Mapping[str, Any] = field(default_factory=dict)
    paper: Mapping[str, Any] = field(default_factory=dict)

    @property
    def top1(self) -> float | None:
        """Top-1 in percent that the paper prints; None where it prints none."""
        return self.paper.get("top1")


@dataclass(frozen=True)
class Outcome:
    """An ablation.

    Attributes:
        name: Name of the study.
        title: Title of its tables.
        results: Results, the baseline first.
        recipe: ``proxy``, ``bench``, ``data``, ``device`` and ``environment``, as stored with a study.
        command: Command line that repeats or continues it.
        device: Device of the paper's speeds.
        full: Whether every combination of the factors' values is there.
        importance: Parameter importances of a search, under ``study`` and ``axes``; empty without a search.
        pairs: Seeds under ``screened`` and ``tested`` that pairs were trained with; empty without pairs.
    """

    name: str
    title: str
    results: tuple[Result, ...]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    device: str = ""
    full: bool = False
    importance: Mapping[str, Any] = field(default_factory=dict)
    pairs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def baseline(self) -> Result:
        """Result that the variants are compared to."""
        return self.results[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that any network was trained with."""
        return tuple(sorted({seed for result in self.results for seed in (*result.accuracies, *result.errors)}))

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the factors, in the study's order."""
        return tuple(dict.fromkeys(result.factor for result in self.singles if result.factor))

    @property
    def singles(self) -> tuple[Result, ...]:
        """Results that are no combinations."""
        return tuple(result for result in self.results if len(result.parts) < 2)

    def form_of(self, speed: str) -> str:
        """Return the form of the networks that a speed was measured in, as the timings say it.

        Args:
            speed: ``infer`` or ``train``.
        """
        forms = {r.speeds[speed].get("form", "train") for r in self.results if speed in r.speeds}
        return " or ".join(sorted(forms, reverse=True)) or "train"

    def __getitem__(self, name: str) -> Result:
        return next(result for result in self.results if result.name == name)

    def group(self, factor: str) -> list[Result]:
        """Return the variants of a factor, after what they are compared to."""
        own = [result for result in self.singles if result.factor == factor]
        bases = [self[name] for name in dict.fromkeys(r.base for r in own) if name not in {r.name for r in own}]
        return [*bases, *own]

    def of(self, names: Container[str]) -> "Outcome":
        """Return the outcome of some networks, by name, and of their combinations."""
        kept = [r for r in self.results if r.name in names or (len(r.parts) > 1 and all(p in names for p in r.parts))]
        return replace(self, results=tuple(kept))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; ``from_dict`` reads it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Outcome":
        """Return the outcome of ``to_dict``'s data, which may have been through JSON; ignore other keys.

        Raises:
            UserError: The data are something else.
        """
        try:
            known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
            made = cls(**{**known, "results": tuple(_result(entry) for entry in data["results"])})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"no outcome of an ablation: {type(error).__name__}: {error}") from None
        names = [result.name for result in made.results]
        if not names or len({*names}) < len(names) or not {result.base for result in made.results} <= {*names}:
            raise UserError("no outcome of an ablation: results must have names of their own, and name their bases")
        return made


def _result(entry: Mapping[str, Any]) -> Result:
    known = {f.name: entry[f.name] for f in fields(Result) if f.name in entry}
    if not all(isinstance(value, Mapping) for value in (entry.get("paper", {}), *entry.get("speeds", {}).values())):
        raise ValueError("speeds and paper must be mappings")
    kinds = {"accuracies": float, "errors": str}
    by_seed = {n: {int(k): kind(v) for k, v in entry[n].items()} for n, kind in kinds.items() if n in entry}
    for seed, accuracy in by_seed.get("accuracies", {}).items():
        if not math.isfinite(accuracy):
            raise ValueError(f"accuracy of {entry['name']} with seed {seed} is {accuracy}, which is no finite number")
    return Result(**{**known, **by_seed, "parts": tuple(entry.get("parts", ()))})
