"""Plans of fidelity studies, from YAML.

title: How far can the short schedules of inception_dw be trusted?
space: inception_dw                          # space that the architectures are drawn from
proxy: cpu                                   # proxy recipe, by name or file, that the schedules change
archs: 24                                    # architectures to draw, spread evenly over the range of MACs
seeds: 2                                     # trainings of each architecture with each schedule
schedules:                                   # changes to the recipe, by the name of the schedule
  one epoch: {epochs: 1}
  as it is: {}
  quick: {proxy: quick}                      # of another recipe
reference: {epochs: 5, train_samples: 12288, seeds: 2}       # the long schedule that the others are judged by;
                                             # judged: val judges it on the images of the others, and not on test ones;
                                             # first_seed: 3 trains with seeds from 3 on, and not from 1000 on
paper: {tables: [1, 8], schedules: [as it is], seeds: 2}     # rows to train as well, against the paper's top-1

Schedules were once called rungs; the keys ``rungs`` of older plans mean the same.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from archsearch.arch.paper import TABLES, Published, rows
from archsearch.errors import StudyFileError, UserError, unknown
from archsearch.fidelity.plan import FEWEST, JUDGED, REFERENCE, REFERENCE_SEED, Plan, Schedule
from archsearch.recipes import ProxyRecipe, override
from archsearch.space.proxy_yaml import load_proxy
from archsearch.space.space import Space
from archsearch.space.yaml import load_space
from archsearch.utils.package_data import shipped
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

SCHEDULES = "schedules"
#: Older word for ``SCHEDULES``.
RUNGS = "rungs"
#: What reads the recipe that a mapping names.
Named = Callable[[Table], ProxyRecipe]
KEYS = ("title", "space", "proxy", "archs", "seeds", SCHEDULES, RUNGS, "reference", "paper")
#: Plan for the drawn data set, and for other data sets by type of device.
DRAWN, OTHERS = "inception_dw_drawn", {"cpu": "inception_dw", "cuda": "inception_dw_gpu"}


def default_plan(dataset: str, device_type: str) -> str:
    """Return the name of the shipped plan for a data set on a type of device (``torch.device.type``).

    >>> default_plan("cifar10", "cuda"), default_plan("drawn", "cuda")
    ('inception_dw_gpu', 'inception_dw_drawn')
    """
    return DRAWN if dataset == "drawn" else OTHERS.get(device_type, OTHERS["cpu"])


def load_plan(name_or_path: str, folder: Path | None = None, spaces: Path | None = None) -> Plan:
    """Read a plan by name, or from a YAML file.

    Args:
        name_or_path: Name of a plan in ``folder``, or path of a YAML file.
        folder: Folder of the plans with names; None for the shipped ones.
        spaces: Folder of the spaces with names; None for the shipped ones.

    Raises:
        StudyFileError: There is no such plan, or something in it is wrong; the message names the line.
    """
    path = locate(name_or_path, folder or shipped("studies") / "fidelity", "plan", StudyFileError)
    with told_as(StudyFileError, path):
        return _plan(path, read_table(path), spaces or shipped("search_spaces"))


def _plan(path: Path, table: Table, spaces: Path) -> Plan:
    check_keys(table, KEYS, "key of a plan")
    key = _schedules_key(table)
    for needed in ("space", key, "reference"):
        if needed not in table:
            raise YamlError(f"the key {needed!r} is missing")
    space, base = _base(path, table, spaces)
    named = partial(_recipe, path, space)
    seeds = _count(table, "seeds", 2, least=1)
    schedules = _schedules(table, key, base, named, seeds)
    long = mapping(table, REFERENCE)
    long_recipe = _changed(base, table, REFERENCE, named, leave=("seeds", "judged", "first_seed"))
    reference = Schedule(REFERENCE, long_recipe, _count(long, "seeds", seeds, least=1))
    published, paper_schedules = _paper(table, {schedule.name: schedule for schedule in (*schedules, reference)})
    return Plan(
        name=path.stem,
        title=str(table.get("title", path.stem)),
        space=space,
        archs=_count(table, "archs", 24, least=FEWEST),
        schedules=schedules,
        reference=reference,
        judged=_judged(long),
        first_seed=_first_seed(long, (*schedules, *paper_schedules)),
        paper=published,
        paper_schedules=paper_schedules,
    )


def _judged(long: Table) -> str:
    """The split that the reference is judged on."""
    judged = str(long.get("judged", JUDGED[0]))
    if judged not in JUDGED:
        raise YamlError(unknown("split to judge the reference on", judged, JUDGED), long.lines["judged"])
    return judged


def _first_seed(long: Table, schedules: Sequence[Schedule]) -> int:
    """The first seed of the reference, which no schedule trains with."""
    first = _count(long, "first_seed", REFERENCE_SEED, least=1)
    most = max((schedule.seeds for schedule in schedules if schedule.name != REFERENCE), default=0)
    if most > first:
        line = long.lines.get("first_seed")
        raise YamlError(f"first_seed is {first}, but a schedule has the seeds 0 to {most - 1}; begin at {most}", line)
    return first


def _schedules_key(table: Table) -> str:
    """The key that schedules stand under: ``schedules``, or ``rungs`` in older files."""
    if SCHEDULES in table and RUNGS in table:
        raise YamlError(f"{SCHEDULES} and {RUNGS} mean the same; keep {SCHEDULES}", table.lines[RUNGS])
    return RUNGS if RUNGS in table else SCHEDULES


def _schedules(table: Table, key: str, base: ProxyRecipe, recipe: Named, seeds: int) -> tuple[Schedule, ...]:
    named = mapping(table, key)
    if not named or REFERENCE in named:
        raise YamlError(f"{key} must name at least one schedule, and none {REFERENCE!r}", table.lines[key])
    return tuple(Schedule(name, _changed(base, named, name, recipe), seeds) for name in named)


def _base(path: Path, table: Table, spaces: Path) -> tuple[Space, ProxyRecipe]:
    name = str(table["space"])
    try:
        space = load_space(str(path.parent / name) if name.endswith((".yaml", ".yml")) else name, spaces)
    except UserError as error:
        raise YamlError(str(error), table.lines["space"]) from None
    return space, _recipe(path, space, table)


def _recipe(path: Path, space: Space, table: Table) -> ProxyRecipe:
    """The recipe that stands under ``proxy``, as it is for the space."""
    recipe = str(table.get("proxy", "cpu"))
    beside = str(path.parent / recipe) if recipe.endswith((".yaml", ".yml")) else recipe
    try:
        return load_proxy(beside, "cpu", space.fitted)
    except UserError as error:
        raise YamlError(str(error), table.lines["proxy"]) from None


def _changed(base: ProxyRecipe, table: Table, key: str, recipe: Named, leave: Sequence[str] = ()) -> ProxyRecipe:
    """The base recipe, or the one named under a key, with the changes there, but for the keys in ``leave``."""
    given = mapping(table, key)
    base = recipe(given) if "proxy" in given else base
    changes = number({name: value for name, value in given.items() if name not in ("proxy", *leave)})
    try:
        return override(base, changes)
    except UserError as error:
        raise YamlError(str(error), line_of(given, error) or table.lines[key]) from None


def _paper(table: Table, schedules: dict[str, Schedule]) -> tuple[tuple[Published, ...], tuple[Schedule, ...]]:
    """The rows under ``paper``, and the schedules that train them."""
    if "paper" not in table:
        return (), ()
    asked, line = mapping(table, "paper"), table.lines["paper"]
    check_keys(asked, ("tables", SCHEDULES, RUNGS, "seeds"), "key of paper")
    tables, names = asked.get("tables", []), asked.get(_schedules_key(asked), list(schedules))
    for given, known, what in ((tables, TABLES, "table of the paper"), (names, tuple(schedules), "schedule")):
        if not isinstance(given, list) or not given:
            raise YamlError(f"paper needs lists of tables and schedules, not {given!r}", line)
        for name in given:
            if str(name) not in known:
                raise YamlError(unknown(what, name, known), line)
    seeds = _count(asked, "seeds", 1, least=1)
    published = tuple(row for number in tables for row in rows(str(number)))
    if not all("top1" in row.figures for row in published):
        raise YamlError("paper can only name tables that have a top-1: 1, 4, 5, 8", line)
    return published, tuple(Schedule(str(name), schedules[str(name)].proxy, seeds) for name in names)


def _count(table: Table, key: str, default: int, least: int) -> int:
    value: Any = table.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise YamlError(f"{key} is {value!r}, but must be a whole number of at least {least}", table.lines[key])
    return value
