"""Studies over a list of networks, from YAML: a baseline and what is changed about it.

title: Does the square branch pay?
baseline: inceptionnext_tiny          # a named network, a JSON file beside this one, or an architecture's fields
factors:
  norm: [layer]                       # an axis, as in a space, and the values that the baseline does not have
  branch:                             # or a name of your own, and what each of its variants changes
    no square kernel: {branches: horizontal+vertical}
    bands in sequence: {bands: sequential}
  conv_ratio:                         # an axis whose variants share other changes, compared to a variant
    values: [1/2, 1/4]
    with: {token_mixer: partial_depthwise, kernel_size: 3}
    from: {token_mixer: depthwise, kernel_size: 3}
full: false                           # true: every combination of the factors' values
train: true                           # false: counted and timed, trained only where --dataset is given
proxy: {stem_patch_size: 4}           # changes to the recipe of the proxy networks
cpu: {batch_size: 2, resolution: 1/2} # changes to the recipe of the timing, by kind of device
table: 8                              # of the paper: its figures are shown beside ours. Without factors: its rows
device: A100                          # that the paper's speeds are from
columns: {train: train_img_s, infer: infer_img_s}
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from archsearch.ablation.variants import (
    BASELINE,
    IMG_SIZE,
    SPEEDS,
    ListStudy,
    Variant,
    apply,
    combine,
    with_parts,
    word,
)
from archsearch.arch import Arch
from archsearch.arch.networks import TimmModel, find
from archsearch.arch.paper import TABLES, Published, rows
from archsearch.arch.params import Value
from archsearch.errors import ArchError, StudyFileError, UserError, unknown
from archsearch.recipes import BENCHES, override
from archsearch.space.yaml import read_axes, read_baseline, read_proxy
from archsearch.utils.yaml_lines import Table, YamlError, check_keys, locate, mapping, number, read_table, told_as

KEYS = (
    "title", "baseline", "factors", "full", "networks", "train", "proxy", "cpu", "gpu", "table", "device", "columns",
    "partial", "operators",
)  # fmt: skip
#: More variants than this are a slip: of the key, or of thought.
MOST_VARIANTS = 500


def load_study(name_or_path: str, folder: Path, baseline: tuple[str, Arch] | None = None) -> ListStudy:
    """Reads a study by name from ``folder``, or from a YAML file.

    Args:
        name_or_path: of the study.
        folder: of the studies with names.
        baseline: another one than the file's, with its name; rows of the paper are then looked for anew.

    Raises:
        StudyFileError: no such study, or what is wrong with it and in which line.
    """
    path = locate(name_or_path, folder, "study", StudyFileError)
    with told_as(StudyFileError, path):
        return _Reader(path, read_table(path), baseline).study()


class _Reader:
    """Turns a YAML table into a checked ``ListStudy``."""

    def __init__(self, path: Path, table: Table, baseline: tuple[str, Arch] | None) -> None:
        self.path, self.table, self.baseline = path, table, baseline

    def study(self) -> ListStudy:
        table = self.table
        check_keys(table, KEYS, "key of a study")
        if "baseline" not in table:
            raise YamlError("the key 'baseline' is missing")
        if "operators" not in table and "factors" not in table and "table" not in table:
            raise YamlError("a study needs factors, or a table of the paper; the key 'factors' is missing")
        for key in ("full", "partial", "train"):
            if not isinstance(table.get(key, False), bool):
                raise YamlError(f"{key} is {table[key]!r}, but must be true or false", table.lines[key])
        published = self._published()
        variants = self._variants(published)
        recipes = {kind: self._recipe(kind) for kind in ("cpu", "gpu")}
        study = ListStudy(
            name=self.path.stem,
            title=str(table.get("title", self.path.stem)),
            variants=variants,
            full=table.get("full", False),
            train=table.get("train", True),
            proxy=read_proxy(self.path, table),
            device=str(table.get("device", "the paper's device")),
            columns=self._columns(published),
            changes={kind: changes for kind, (changes, _) in recipes.items()},
            resolutions={kind: factor for kind, (_, factor) in recipes.items()},
            kernel_sizes=self._operators(),
        )
        study = self._full(study) if study.full else study
        names = [variant.name for variant in study.variants]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise YamlError(f"two networks are called {twice!r}; choose another name", table.lines.get("factors"))
        return study

    def _published(self) -> tuple[Published, ...]:
        if "table" not in self.table:
            for key in ("columns", "device", "partial", "networks"):
                if key in self.table:
                    raise YamlError(f"{key} speaks of a table of the paper; name it by 'table'", self.table.lines[key])
            return ()
        given = self.table["table"]
        names = given if isinstance(given, list) else [given]
        if not names:
            raise YamlError("table names no table of the paper", self.table.lines["table"])
        for name in names:
            if str(name) not in TABLES:
                raise YamlError(unknown("table of the paper", name, TABLES), self.table.lines["table"])
        found = [row for name in names for row in rows(str(name))]
        return tuple({_named(row): row for row in reversed(found)}[name] for name in dict.fromkeys(map(_named, found)))

    def _variants(self, published: tuple[Published, ...]) -> tuple[Variant, ...]:
        if "factors" not in self.table:
            return self._listed(published)
        name, arch = self._base()
        found = {arch.key: Variant(name, arch, base=name)}
        factors = mapping(self.table, "factors")
        for factor in factors:
            if not factor.strip() or "," in factor:
                raise YamlError(f"no factor can be called {factor!r}; choose a word", factors.lines[factor])
            for variant in self._factor(factors, factor, found, arch):
                found[variant.network.key] = variant  # type: ignore[union-attr]
        if len(found) == 1:
            raise YamlError("factors is empty; name at least one", self.table.lines["factors"])
        by_key = {find(row.network).key: row for row in published if not row.network.startswith("timm:")}  # type: ignore[union-attr]
        if self.baseline is None and not self.table.get("partial"):
            for key, row in by_key.items():
                if key not in found:
                    what = f"row {row.row!r} of table {row.table} has no variant here"
                    raise YamlError(f"{what}; add it to factors, or set partial: true", self.table.lines["table"])
        return with_parts([replace(variant, row=by_key.get(key)) for key, variant in found.items()])

    def _base(self) -> tuple[str, Arch]:
        if self.baseline is not None:
            return self.baseline
        given = self.table["baseline"]
        return given if isinstance(given, str) else BASELINE, read_baseline(self.path, self.table)

    def _listed(self, published: tuple[Published, ...]) -> tuple[Variant, ...]:
        """Named networks, or the rows of the table themselves."""
        if self.baseline is not None:
            raise YamlError("another baseline needs factors, and this study has none")
        known, base = {_named(row): row for row in published}, self.table["baseline"]
        names = self.table.get("networks", list(known))
        if "operators" in self.table:
            return (Variant(*self._base()),)
        if not isinstance(names, list) or not names:
            raise YamlError("networks must be a list of names", self.table.lines["networks"])
        for key, name in [("baseline", base), *(("networks", name) for name in names)]:
            if not isinstance(name, str) or name not in known:
                raise YamlError(unknown("row of the table", name, known), self.table.lines.get(key))
        order = dict.fromkeys([base, *names])
        return tuple(
            Variant(name, _network(known[name]), "" if name == base else "network", base, row=known[name])
            for name in order
        )

    def _factor(self, factors: Table, name: str, found: Mapping[str, Variant], arch: Arch) -> Iterator[Variant]:
        """The variants of a factor, and before them the one that they are compared to, where it is a new one."""
        spec, root = factors[name], found[arch.key].name
        start = Variant(root, arch)
        if isinstance(spec, Table) and not {*spec} & {"values", "with", "from"}:
            choices = [(label, mapping(spec, label), spec.lines[label]) for label in spec]
        else:
            inner = spec if isinstance(spec, Table) else _table(factors.lines[name], {"values": spec})
            check_keys(inner, ("values", "with", "from"), f"key of factor {name!r}")
            if "values" not in inner:
                raise YamlError(f"factor {name!r} needs 'values', a list", factors.lines[name])
            choices = self._values(name, inner)
            if "from" in inner:
                line = inner.lines["from"]
                changes = self._changes(mapping(inner, "from"), arch, line)
                start = Variant(_label(changes), self._arch(arch, changes, line), name, root, changes)
        key = start.network.key  # type: ignore[union-attr]
        if key not in found:
            yield start
        base = found.get(key, start).name
        taken = {key: base} | {key: variant.name for key, variant in found.items()}
        for label, given, line in choices:
            changes = self._changes(given, arch, line)
            network = self._arch(arch, changes, line)
            if network.key in taken:
                raise YamlError(f"factor {name!r}: {label!r} is the same network as {taken[network.key]!r}", line)
            if label in taken.values():
                raise YamlError(f"factor {name!r}: there is a variant {label!r} already; choose another name", line)
            taken[network.key] = label
            yield Variant(label, network, name, base, changes)

    def _values(self, name: str, inner: Table) -> list[tuple[str, Table, int]]:
        """A label, the changes and a line for every value of an axis."""
        values, line = inner["values"], inner.lines["values"]
        if not isinstance(values, list) or not values:
            raise YamlError(f"factor {name!r} must be a list of values, not {values!r}", line)
        shared = mapping(inner, "with") if "with" in inner else {}
        return [(f"{name} {_shown(value)}", _table(line, {**shared, name: value}), line) for value in values]

    def _changes(self, given: Table, arch: Arch, line: int) -> dict[str, Value]:
        """Values of axes, checked as those of a space."""
        if not given:
            raise YamlError("a variant without a change; name an axis and its value", line)
        axes = _table(line, {axis: [value] for axis, value in given.items()})
        return {axis.name: axis.values[0] for axis in read_axes(self.path, _table(line, {"axes": axes}), arch)}

    def _arch(self, baseline: Arch, changes: Mapping[str, Value], line: int) -> Arch:
        try:
            return apply(baseline, changes)
        except ArchError as error:
            raise YamlError(f"{_label(changes)}: {error}", line) from None

    def _full(self, study: ListStudy) -> ListStudy:
        line = self.table.lines["full"]
        groups = [[v.name for v in study.variants if v.factor == factor] for factor in study.factors]
        count = -1
        for combination in itertools.product(*([None, *group] for group in groups)):
            count += 1
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

    def _columns(self, published: tuple[Published, ...]) -> Mapping[str, tuple[str, ...]]:
        if "columns" not in self.table:
            return {}
        columns = mapping(self.table, "columns")
        known = {name: 0 for row in published for name in row.figures if name.endswith("img_s")}
        check_keys(columns, SPEEDS, "speed")
        if not columns:
            raise YamlError("columns must name those of train or infer", self.table.lines["columns"])
        named = {speed: given if isinstance(given, list) else [given] for speed, given in columns.items()}
        for speed, names in named.items():
            for name in names:
                if str(name) not in known:
                    raise YamlError(unknown("column of the table", name, known), columns.lines[speed])
        return {speed: tuple(map(str, names)) for speed, names in named.items()}

    def _recipe(self, kind: str) -> tuple[dict[str, Any], float]:
        changes: dict[str, Any] = number(dict(mapping(self.table, kind))) if kind in self.table else {}
        line = self.table.lines.get(kind)
        resolution = changes.pop("resolution", 1)
        if not isinstance(resolution, int | float) or not 0 < resolution <= 4:
            raise YamlError(f"resolution is {resolution!r}, but must be a factor such as 1/2", line)
        for taken, instead in (("reference", "baseline"), ("img_size", "resolution")):
            if taken in changes:
                raise YamlError(f"{taken} follows from {instead}; leave it out", line)
        try:
            override(BENCHES[kind], changes)
        except UserError as error:
            raise YamlError(str(error), line) from None
        return changes, resolution

    def _operators(self) -> tuple[int, ...]:
        if "operators" not in self.table:
            return ()
        if "factors" in self.table or "table" in self.table:
            raise YamlError("operators stand alone; leave out factors and table", self.table.lines["operators"])
        inner = mapping(self.table, "operators")
        check_keys(inner, ("kernel_sizes",), "key of operators")
        sizes = inner.get("kernel_sizes")
        if (
            not isinstance(sizes, list)
            or not all(isinstance(k, int) and 0 < k < 256 and k % 2 for k in sizes)
            or not sizes
        ):
            raise YamlError("kernel_sizes must be a list of odd numbers below 256", self.table.lines["operators"])
        return tuple(sizes)


def _img_size(row: Published) -> int:
    return int(row.figures.get("image_size", IMG_SIZE))


def _network(row: Published) -> Arch | TimmModel:
    return find(row.network, _img_size(row))


def _named(row: Published) -> str:
    """The network, and the size of its images where it is not the usual one."""
    return row.network if _img_size(row) == IMG_SIZE else f"{row.network} at {_img_size(row)} px"


def _shown(value: Any) -> str:
    """A value as the file has it: fractions stay fractions."""
    return "-".join(map(str, value)) if isinstance(value, list) else word(value)


def _table(line: int, entries: Mapping[str, Any]) -> Table:
    """A mapping as if it stood in a line of the file."""
    table = Table(entries)
    table.lines = dict.fromkeys(entries, line)
    return table


def _label(changes: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {word(value)}" for name, value in changes.items())
