"""What an ablation found, as plain data: one ``Result`` per network, and the recipes behind all of them."""

from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from archsearch.errors import UserError


@dataclass(frozen=True)
class Result:
    """One network of an ablation.

    Attributes:
        name: in tables.
        factor: that it belongs to; empty for the baseline.
        base: name of the result that it is compared to; its own for the baseline.
        changes: axes that make it from the baseline.
        parts: names of the variants of single factors that it combines; its own where it is one.
        network: the architecture's fields under ``arch``, or a network of timm's under ``timm``.
        key: of the architecture, or timm's name and the size of the images.
        params: of the target.
        macs: of the target, for one image.
        accuracies: top-1 of the proxy network after its last epoch, a fraction, by seed.
        errors: why it has none, by seed.
        speeds: of the target by ``train`` and ``infer``, as ``Timing.details`` has them, or ``error``.
        trained: top-1 of the target with trained ``weights`` as ``correct`` of ``images``, where these were given.
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
        """Percent, as the paper prints it."""
        return self.paper.get("top1")


@dataclass(frozen=True)
class Outcome:
    """An ablation.

    Attributes:
        name: of the study.
        title: what it is about.
        results: the baseline first.
        recipe: ``proxy``, ``bench``, ``data``, ``device`` and ``environment``, as a study's record has them.
        command: that repeats or continues it.
        device: that the paper's speeds are from.
        full: whether every combination of the factors' values is there.
        importance: of the axes of a search, by ``study`` and ``axes``; empty where none was asked for.
        pairs: seeds that combinations were ``screened`` and ``tested`` with; empty where none were asked for.
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
        """What everything is compared to."""
        return self.results[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Every seed that some network was trained with."""
        return tuple(sorted({seed for result in self.results for seed in (*result.accuracies, *result.errors)}))

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of single factors, in the study's order."""
        return tuple(dict.fromkeys(result.factor for result in self.singles if result.factor))

    @property
    def singles(self) -> tuple[Result, ...]:
        """The results that combine nothing."""
        return tuple(result for result in self.results if len(result.parts) < 2)

    def __getitem__(self, name: str) -> Result:
        return next(result for result in self.results if result.name == name)

    def group(self, factor: str) -> list[Result]:
        """The variants of a factor, after what they are compared to."""
        own = [result for result in self.singles if result.factor == factor]
        bases = [self[name] for name in dict.fromkeys(r.base for r in own) if name not in {r.name for r in own}]
        return [*bases, *own]

    def of(self, names: Container[str]) -> "Outcome":
        """Some of the networks, and the combinations of these."""
        kept = [r for r in self.results if r.name in names or (len(r.parts) > 1 and all(p in names for p in r.parts))]
        return replace(self, results=tuple(kept))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data; ``from_dict`` reads it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Outcome":
        """What ``to_dict`` gave, also after a way through JSON; other keys are left alone.

        Raises:
            UserError: it is something else.
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
    return Result(**{**known, **by_seed, "parts": tuple(entry.get("parts", ()))})
