"""Factors of a study from YAML: what each variant changes about the baseline."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from archsearch.ablation.variants import ListStudy, Variant, apply, combine, word
from archsearch.arch import Arch
from archsearch.arch.params import Value
from archsearch.errors import ArchError, UserError
from archsearch.space.yaml import read_axes
from archsearch.utils.yaml_lines import Table, YamlError, check_keys, mapping

#: Maximum number of combinations in a full factorial; more are taken for a mistake.
MOST_VARIANTS = 500
#: Keys of a factor whose variants are the values of an axis.
OF_AXIS = ("values", "with", "from")
#: Label of a variant, the changes that it makes, and the line where it is described.
Choice = tuple[str, Table, int]


def read_factors(path: Path, factors: Table, name: str, arch: Arch) -> dict[str, Variant]:
    """Read the variants of all factors.

    Args:
        path: The study file.
        factors: Its ``factors``.
        name: Name of the baseline.
        arch: The baseline.

    Returns:
        Variants by the key of their architecture, the baseline first.

    Raises:
        YamlError: What is wrong, and in which line.
    """
    found = {arch.key: Variant(name, arch, base=name)}
    for factor in factors:
        if not factor.strip() or "," in factor:
            raise YamlError(f"no factor can be called {factor!r}; choose a word", factors.lines[factor])
        for key, variant in _Factor(path, factors, factor, arch).variants(found):
            found[key] = variant
    return found


class _Factor:
    """Reader of one factor."""

    def __init__(self, path: Path, factors: Table, name: str, arch: Arch) -> None:
        self.path, self.name, self.arch = path, name, arch
        self.spec, self.line = factors[name], factors.lines[name]

    def variants(self, found: Mapping[str, Variant]) -> Iterator[tuple[str, Variant]]:
        """Yield the variants and their keys, after the one that they are compared to if that is a new one.

        Args:
            found: Variants of the factors before this one, the baseline first.
        """
        root = found[self.arch.key].name
        if isinstance(self.spec, Table) and not {*self.spec} & {*OF_AXIS}:
            choices = [(label, mapping(self.spec, label), self.spec.lines[label]) for label in self.spec]
            start_key, start = self.arch.key, found[self.arch.key]
        else:
            inner = self.spec if isinstance(self.spec, Table) else _table(self.line, {"values": self.spec})
            choices = self._choices(inner)
            start_key, start = self._start(inner, root) if "from" in inner else (self.arch.key, found[self.arch.key])
        if start_key not in found:
            yield start_key, start
        base = found.get(start_key, start).name
        taken = {start_key: base} | {key: variant.name for key, variant in found.items()}
        for label, given, line in choices:
            changes = self._changes(given, line)
            network = self._apply(changes, line)
            self._check_new(label, network, taken, line)
            taken[network.key] = label
            yield network.key, Variant(label, network, self.name, base, changes)

    def _choices(self, inner: Table) -> list[Choice]:
        """Return a choice for every value of the axis that the factor is named after."""
        check_keys(inner, OF_AXIS, f"key of factor {self.name!r}")
        if "values" not in inner:
            raise YamlError(f"factor {self.name!r} needs 'values', a list", self.line)
        values, line = inner["values"], inner.lines["values"]
        if not isinstance(values, list) or not values:
            raise YamlError(f"factor {self.name!r} must be a list of values, not {values!r}", line)
        shared = mapping(inner, "with") if "with" in inner else {}
        return [
            (f"{self.name} {_as_written(value)}", _table(line, {**shared, self.name: value}), line) for value in values
        ]

    def _start(self, inner: Table, root: str) -> tuple[str, Variant]:
        """Return what the variants are compared to instead of the baseline."""
        line = inner.lines["from"]
        changes = self._changes(mapping(inner, "from"), line)
        network = self._apply(changes, line)
        return network.key, Variant(_label(changes), network, self.name, root, changes)

    def _check_new(self, label: str, network: Arch, taken: Mapping[str, str], line: int) -> None:
        factor = f"factor {self.name!r}"
        if network.key in taken:
            raise YamlError(f"{factor}: {label!r} is the same network as {taken[network.key]!r}", line)
        if label in taken.values():
            raise YamlError(f"{factor}: there is a variant {label!r} already; choose another name", line)

    def _changes(self, given: Table, line: int) -> dict[str, Value]:
        """Check changes like the axes of a space."""
        if not given:
            raise YamlError("a variant without a change; name an axis and its value", line)
        axes = _table(line, {axis: [value] for axis, value in given.items()})
        return {axis.name: axis.values[0] for axis in read_axes(self.path, _table(line, {"axes": axes}), self.arch)}

    def _apply(self, changes: Mapping[str, Value], line: int) -> Arch:
        try:
            return apply(self.arch, changes)
        except ArchError as error:
            raise YamlError(f"{_label(changes)}: {error}", line) from None


def with_combinations(study: ListStudy, line: int) -> ListStudy:
    """Return the study with every combination of its factors' values.

    Args:
        study: Study of single changes.
        line: Line of the file that asks for it.

    Raises:
        YamlError: There are too many, or two factors exclude each other.
    """
    groups = [[v.name for v in study.variants if v.factor == factor] for factor in study.factors]
    for count, combination in enumerate(itertools.product(*([None, *group] for group in groups))):
        if count > MOST_VARIANTS:
            raise YamlError(f"full: more than {MOST_VARIANTS} combinations; leave out factors or values", line)
        names = [name for name in combination if name]
        if len(names) < 2:
            continue
        try:
            both = combine(study, names)
        except UserError as error:
            raise YamlError(f"full: {error}", line) from None
        if both.network not in {variant.network for variant in study.variants}:  # else a value without effect there
            study = replace(study, variants=(*study.variants, both))
    return study


def _as_written(value: Any) -> str:
    """Return a value as the file has it: fractions stay fractions."""
    return "-".join(map(str, value)) if isinstance(value, list) else word(value)


def _table(line: int, entries: Mapping[str, Any]) -> Table:
    """Return a mapping as if it were in one line of the file."""
    table = Table(entries)
    table.lines = dict.fromkeys(entries, line)
    return table


def _label(changes: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {word(value)}" for name, value in changes.items())
