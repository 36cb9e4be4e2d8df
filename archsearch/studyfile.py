"""Studies over a list of networks, from YAML: here, the rows of one of the paper's tables.

title: Table 1, smaller kernels and fewer convolved channels
table: 1                                     # of the paper; its rows are what is compared
baseline: convnext_tiny                      # what ratios are to
device: A100                                 # that the paper's speeds are from
columns: {train: train_img_s, infer: infer_img_s}
cpu: {batch_size: 2, resolution: 1/2}        # changes to the recipe, by kind of device
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archsearch.errors import StudyFileError, UserError, unknown
from archsearch.paper import TABLES, Published, rows
from archsearch.recipes import BENCHES, override
from archsearch.yamlfile import Table, YamlError, check_keys, locate, mapping, number, read_table, told_as

KEYS = ("title", "table", "baseline", "device", "columns", "cpu", "gpu")
SPEEDS = ("train", "infer")


@dataclass(frozen=True)
class PaperStudy:
    """Rows of one of the paper's tables, to be measured here.

    Attributes:
        name: of the file.
        title: what it is about.
        rows: the table's.
        baseline: the network that ratios are to.
        device: that the paper's speeds are from.
        columns: names of the paper's columns of ``train`` and ``infer`` speeds, in images/s.
        changes: to the recipe, by kind of device, ``cpu`` and ``gpu``.
        resolutions: factors on the rows' image sizes, likewise.
    """

    name: str
    title: str
    rows: tuple[Published, ...]
    baseline: str
    device: str
    columns: Mapping[str, str]
    changes: Mapping[str, Mapping[str, Any]]
    resolutions: Mapping[str, float]

    def img_size(self, row: Published, kind: str) -> int | None:
        """Side of the images of a row; None for the network's own."""
        printed = row.figures.get("image_size")
        factor = self.resolutions[kind]
        return None if printed is None and factor == 1 else round(int(printed or 224) * factor)

    def paper_ratio(self, row: Published, speed: str) -> float:
        """Images per second over those of the baseline, as the paper prints them."""
        column = self.columns[speed]
        base = next(row for row in self.rows if row.network == self.baseline)
        return float(row.figures[column]) / float(base.figures[column])


def load_study(name_or_path: str, folder: Path) -> PaperStudy:
    """Reads a study by name from ``folder``, or from a YAML file.

    Raises:
        StudyFileError: no such study, or what is wrong with it and in which line.
    """
    path = locate(name_or_path, folder, "study", StudyFileError)
    with told_as(StudyFileError, path):
        return _study(path, read_table(path))


def _study(path: Path, table: Table) -> PaperStudy:
    check_keys(table, KEYS, "key of a study")
    for key in ("table", "baseline", "columns"):
        if key not in table:
            raise YamlError(f"the key {key!r} is missing")
    if str(table["table"]) not in TABLES:
        raise YamlError(unknown("table of the paper", table["table"], TABLES), table.lines["table"])
    published = rows(str(table["table"]))
    networks = list(dict.fromkeys(row.network for row in published))
    if table["baseline"] not in networks:
        raise YamlError(unknown("row of the table", table["baseline"], networks), table.lines["baseline"])
    recipes = {kind: _recipe(table, kind) for kind in ("cpu", "gpu")}
    return PaperStudy(
        name=path.stem,
        title=str(table.get("title", path.stem)),
        rows=published,
        baseline=table["baseline"],
        device=str(table.get("device", "the paper's device")),
        columns=_columns(table, published),
        changes={kind: changes for kind, (changes, _) in recipes.items()},
        resolutions={kind: factor for kind, (_, factor) in recipes.items()},
    )


def _columns(table: Table, published: tuple[Published, ...]) -> Mapping[str, str]:
    columns = mapping(table, "columns")
    check_keys(columns, SPEEDS, "speed")
    if not columns:
        raise YamlError("columns must name those of train or infer", table.lines["columns"])
    for speed, column in columns.items():
        if not isinstance(column, str) or column not in published[0].figures:
            raise YamlError(unknown("column of the table", column, published[0].figures), columns.lines[speed])
    return columns


def _recipe(table: Table, kind: str) -> tuple[dict[str, Any], float]:
    changes: dict[str, Any] = number(dict(mapping(table, kind))) if kind in table else {}
    resolution = changes.pop("resolution", 1)
    if not isinstance(resolution, int | float) or not 0 < resolution <= 4:
        raise YamlError(f"resolution is {resolution!r}, but must be a factor such as 1/2", table.lines[kind])
    for taken, instead in (("reference", "baseline"), ("img_size", "resolution")):
        if taken in changes:
            raise YamlError(f"{taken} follows from {instead}; leave it out", table.lines[kind])
    try:
        override(BENCHES[kind], changes)
    except UserError as error:
        raise YamlError(str(error), table.lines[kind]) from None
    return {"reference": table["baseline"], **changes}, resolution
