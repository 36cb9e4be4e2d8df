"""Ablation studies from YAML: a baseline and what is changed about it.

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
needs: {width: 1/4}                   # what they need, whatever recipe makes them, as in a space
cpu: {batch_size: 2, resolution: 1/2} # changes to the recipe of the timing, by kind of device
table: 8                              # table of the paper to show figures of; without factors: its rows are the study
device: A100                          # device of the paper's speeds
columns: {train: train_img_s, infer: infer_img_s}
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from archsearch.ablation.factors import read_factors, with_combinations
from archsearch.ablation.variants import BASELINE, IMG_SIZE, SPEEDS, ListStudy, Variant, with_parts
from archsearch.arch import Arch
from archsearch.arch.networks import TimmModel, find
from archsearch.arch.paper import TABLES, Published, rows
from archsearch.errors import StudyFileError, UserError, unknown
from archsearch.recipes import BENCHES, override
from archsearch.space.yaml import read_baseline, read_needs, read_proxy
from archsearch.utils.yaml_lines import Table, YamlError, check_keys, locate, mapping, number, read_table, told_as

KEYS = (
    "title", "baseline", "factors", "full", "networks", "train", "proxy", "needs", "cpu", "gpu", "table", "device",
    "columns", "partial", "operators",
)  # fmt: skip
#: Keys that make sense only beside ``table``.
OF_TABLE = ("columns", "device", "partial", "networks")


def load_study(name_or_path: str, folder: Path, baseline: tuple[str, Arch] | None = None) -> ListStudy:
    """Read a study by name, or from a YAML file.

    Args:
        name_or_path: Name of a study in ``folder``, or path of a YAML file.
        folder: Folder of the shipped studies.
        baseline: Name and architecture of another baseline than the file's; rows of the paper are then found anew.

    Raises:
        StudyFileError: There is no such study, or the file is wrong; the message names the line.
    """
    path = locate(name_or_path, folder, "study", StudyFileError)
    with told_as(StudyFileError, path):
        return _Reader(path, read_table(path), baseline).study()


class _Reader:
    """Reader of a study file, which checks it on the way."""

    def __init__(self, path: Path, table: Table, baseline: tuple[str, Arch] | None) -> None:
        self.path, self.table, self.baseline = path, table, baseline

    def study(self) -> ListStudy:
        table = self.table
        self._check_keys()
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
            needs=read_needs(self.path, table),
            device=str(table.get("device", "the paper's device")),
            columns=self._columns(published),
            changes={kind: changes for kind, (changes, _) in recipes.items()},
            resolutions={kind: factor for kind, (_, factor) in recipes.items()},
            kernel_sizes=self._operators(),
        )
        study = with_combinations(study, table.lines["full"]) if study.full else study
        names = [variant.name for variant in study.variants]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise YamlError(f"two networks are called {twice!r}; choose another name", table.lines.get("factors"))
        return study

    def _check_keys(self) -> None:
        table = self.table
        check_keys(table, KEYS, "key of a study")
        if "baseline" not in table:
            raise YamlError("the key 'baseline' is missing")
        if not {"operators", "factors", "table"} & {*table}:
            raise YamlError("a study needs factors, or a table of the paper; the key 'factors' is missing")
        for key in ("full", "partial", "train"):
            if not isinstance(table.get(key, False), bool):
                raise YamlError(f"{key} is {table[key]!r}, but must be true or false", table.lines[key])

    def _published(self) -> tuple[Published, ...]:
        """Return the rows of the paper's tables that the study names; one row for each network."""
        if "table" not in self.table:
            for key in OF_TABLE:
                if key in self.table:
                    raise YamlError(f"{key} speaks of a table of the paper; name it by 'table'", self.table.lines[key])
            return ()
        given, line = self.table["table"], self.table.lines["table"]
        names = given if isinstance(given, list) else [given]
        if not names:
            raise YamlError("table names no table of the paper", line)
        for name in names:
            if str(name) not in TABLES:
                raise YamlError(unknown("table of the paper", name, TABLES), line)
        first: dict[str, Published] = {}
        for row in (row for name in names for row in rows(str(name))):
            first.setdefault(_name(row), row)
        return tuple(first.values())

    def _variants(self, published: tuple[Published, ...]) -> tuple[Variant, ...]:
        if "factors" not in self.table:
            return self._listed(published)
        name, arch = self._base()
        found = read_factors(self.path, mapping(self.table, "factors"), name, arch)
        if len(found) == 1:
            raise YamlError("factors is empty; name at least one", self.table.lines["factors"])
        by_key = {network.key: row for row in published if isinstance(network := find(row.network), Arch)}
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
        """Return the networks of ``networks``, or those of all rows, of a study without factors."""
        if self.baseline is not None:
            raise YamlError("another baseline needs factors, and this study has none")
        if "operators" in self.table:
            return (Variant(*self._base()),)
        known, base = {_name(row): row for row in published}, self.table["baseline"]
        names = self.table.get("networks", list(known))
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
        """Return changes to the recipe of the timing, and the factor on the images' size, for a kind of device."""
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
        """Return the kernel sizes of a study that counts operators."""
        if "operators" not in self.table:
            return ()
        if "factors" in self.table or "table" in self.table:
            raise YamlError("operators stand alone; leave factors and table out", self.table.lines["operators"])
        inner = mapping(self.table, "operators")
        check_keys(inner, ("kernel_sizes",), "key of operators")
        sizes = inner.get("kernel_sizes")
        odd = isinstance(sizes, list) and all(isinstance(k, int) and 0 < k < 256 and k % 2 for k in sizes)
        if not odd or not sizes:
            raise YamlError("kernel_sizes must be a list of odd numbers below 256", self.table.lines["operators"])
        return tuple(sizes)


def _img_size(row: Published) -> int:
    return int(row.figures.get("image_size", IMG_SIZE))


def _network(row: Published) -> Arch | TimmModel:
    return find(row.network, _img_size(row))


def _name(row: Published) -> str:
    """Return the network of a row, with the size of its images where that is not the usual one."""
    return row.network if _img_size(row) == IMG_SIZE else f"{row.network} at {_img_size(row)} px"
