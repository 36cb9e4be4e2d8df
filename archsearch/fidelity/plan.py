"""Plans for asking how far proxies can be trusted, from YAML.

title: How far can the short schedules of inception_dw be trusted?
space: inception_dw                          # whose architectures are trained
proxy: cpu                                   # the recipe, by name or file, that all that follows changes
archs: 24                                    # drawn from the space, evenly over the range of its MACs
seeds: 2                                     # trainings of each of them, at each rung
rungs:                                       # by name, what is changed
  one epoch: {epochs: 1}
  as it is: {}
reference: {epochs: 5, train_samples: 12288, seeds: 2}   # the long schedule that is believed
paper: {tables: [1, 8], rungs: [as it is], seeds: 2}     # rows that are trained as well, against the paper's top-1
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archsearch.arch.paper import TABLES, Published, rows
from archsearch.errors import StudyFileError, UserError, unknown
from archsearch.recipes import ProxyRecipe, override
from archsearch.space.proxy_yaml import load_proxy
from archsearch.space.space import Space
from archsearch.space.yaml import load_space
from archsearch.utils.yaml_lines import (
    Table,
    YamlError,
    check_keys,
    line_of,
    locate,
    mapping,
    number,
    read_table,
    told_as,
)

KEYS = ("title", "space", "proxy", "archs", "seeds", "rungs", "reference", "paper")
#: Fewest architectures that a rank correlation can say something about.
FEWEST = 6
#: What the long schedule is called among the rungs.
REFERENCE = "reference"


@dataclass(frozen=True)
class Rung:
    """One way to train a proxy network.

    Attributes:
        name: in tables.
        proxy: the recipe.
        seeds: trainings of each architecture.
    """

    name: str
    proxy: ProxyRecipe
    seeds: int


@dataclass(frozen=True)
class Plan:
    """What is trained, and how.

    Attributes:
        name: of the file.
        title: what it is about.
        space: whose architectures are trained.
        archs: how many of them.
        rungs: cheap schedules, which are to be judged.
        reference: the long one that they are judged by.
        paper: rows of the paper that are trained too.
        paper_rungs: at these rungs.
    """

    name: str
    title: str
    space: Space
    archs: int
    rungs: tuple[Rung, ...]
    reference: Rung
    paper: tuple[Published, ...] = ()
    paper_rungs: tuple[Rung, ...] = ()


def load_plan(name_or_path: str, folder: Path, spaces: Path) -> Plan:
    """Reads a plan by name from ``folder``, or from a YAML file; spaces by name come from ``spaces``.

    Raises:
        StudyFileError: no such plan, or what is wrong with it and in which line.
    """
    path = locate(name_or_path, folder, "plan", StudyFileError)
    with told_as(StudyFileError, path):
        return _plan(path, read_table(path), spaces)


def _plan(path: Path, table: Table, spaces: Path) -> Plan:
    check_keys(table, KEYS, "key of a plan")
    for key in ("space", "rungs", "reference"):
        if key not in table:
            raise YamlError(f"the key {key!r} is missing")
    space, base = _base(path, table, spaces)
    seeds = _count(table, "seeds", 2, least=1)
    named = mapping(table, "rungs")
    if not named or REFERENCE in named:
        raise YamlError(f"rungs must name at least one schedule, and none {REFERENCE!r}", table.lines["rungs"])
    rungs = tuple(Rung(name, _changed(base, named, name), seeds) for name in named)
    long = mapping(table, REFERENCE)
    reference = Rung(REFERENCE, _changed(base, table, REFERENCE, leave="seeds"), _count(long, "seeds", seeds, least=1))
    published, paper_rungs = _paper(table, {rung.name: rung for rung in (*rungs, reference)})
    return Plan(
        name=path.stem,
        title=str(table.get("title", path.stem)),
        space=space,
        archs=_count(table, "archs", 24, least=FEWEST),
        rungs=rungs,
        reference=reference,
        paper=published,
        paper_rungs=paper_rungs,
    )


def _base(path: Path, table: Table, spaces: Path) -> tuple[Space, ProxyRecipe]:
    name = str(table["space"])
    try:
        space = load_space(str(path.parent / name) if name.endswith((".yaml", ".yml")) else name, spaces)
    except UserError as error:
        raise YamlError(str(error), table.lines["space"]) from None
    try:
        recipe = str(table.get("proxy", "cpu"))
        beside = str(path.parent / recipe) if recipe.endswith((".yaml", ".yml")) else recipe
        return space, load_proxy(beside, "cpu", space.proxy)
    except UserError as error:
        raise YamlError(str(error), table.lines["proxy"]) from None


def _changed(base: ProxyRecipe, table: Table, key: str, leave: str = "") -> ProxyRecipe:
    given = mapping(table, key)
    changes = number({name: value for name, value in given.items() if name != leave})
    try:
        return override(base, changes)
    except UserError as error:
        raise YamlError(str(error), line_of(given, error) or table.lines[key]) from None


def _paper(table: Table, rungs: dict[str, Rung]) -> tuple[tuple[Published, ...], tuple[Rung, ...]]:
    if "paper" not in table:
        return (), ()
    asked, line = mapping(table, "paper"), table.lines["paper"]
    check_keys(asked, ("tables", "rungs", "seeds"), "key of paper")
    tables, names = asked.get("tables", []), asked.get("rungs", list(rungs))
    for given, known, what in ((tables, TABLES, "table of the paper"), (names, tuple(rungs), "rung")):
        if not isinstance(given, list) or not given:
            raise YamlError(f"paper needs lists of tables and rungs, not {given!r}", line)
        for name in given:
            if str(name) not in known:
                raise YamlError(unknown(what, name, known), line)
    seeds = _count(asked, "seeds", 1, least=1)
    published = tuple(row for number in tables for row in rows(str(number)))
    if not all("top1" in row.figures for row in published):
        raise YamlError("paper can only name tables that have a top-1: 1, 4, 5, 8", line)
    return published, tuple(Rung(str(name), rungs[str(name)].proxy, seeds) for name in names)


def _count(table: Table, key: str, default: int, least: int) -> int:
    value: Any = table.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise YamlError(f"{key} is {value!r}, but must be a whole number of at least {least}", table.lines[key])
    return value
