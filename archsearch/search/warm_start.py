"""Architectures that a study begins with: named networks, a file's, or another study's front.

Each is located in the study's space. What is wrong with any of them is told before anything is written.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from archsearch.arch import Arch
from archsearch.arch.networks import NETWORKS, network
from archsearch.arch.params import Value
from archsearch.errors import ArchError, OptionError, StorageError, unknown
from archsearch.search.definition import RECIPE, existing
from archsearch.search.storage.opening import in_words, open_storage
from archsearch.space.locate import LIST_AXES, decode, misfit
from archsearch.space.space import Space
from archsearch.utils.yaml_lines import Table, YamlError, line_of, number, read_list, told_as

#: The word for all named networks.
PAPER = "paper"
#: What a file's name ends in.
SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Start:
    """A point that a study begins with.

    Attributes:
        params: values of the open axes.
        origin: who named it, in words.
    """

    params: Mapping[str, Value]
    origin: str


def read_starts(
    words: Sequence[str], space: Space, name: str, storage: str, say: Callable[[str], None] = lambda words: None
) -> list[Start]:
    """The points that a study is told to begin with, in the order in which they were named, none of them twice.

    Args:
        words: each ``paper``, a file, or the name of another study.
        space: of the study.
        name: of the study.
        storage: URL of the storage that has the other studies.
        say: told how many architectures of a word are not in the space.

    Raises:
        OptionError: a word stands for nothing, or for nothing that is in the space.
        StorageError: the storage cannot be read.
    """
    starts: dict[str, Start] = {}
    for word in words:
        if word == PAPER:
            found = _within(space, ((each, arch) for each, arch in NETWORKS.items()), "the named networks", say)
        elif word.endswith(SUFFIXES):
            found = _of_file(space, Path(word))
        elif word == name:
            raise OptionError(f"--start-from {word}: that is this study itself; leave it out")
        else:
            found = _within(space, _front(word, storage), f"the front of study {word}", say)
        for start in found:
            starts.setdefault(space.arch(start.params).key, start)
    return list(starts.values())


def _within(
    space: Space, named: Iterator[tuple[str, Arch | None]], whose: str, say: Callable[[str], None]
) -> list[Start]:
    """Those that are in the space; the rest is told of."""
    whole = list(named)
    points = [(origin, None if arch is None else space.locate(arch)) for origin, arch in whole]
    found = [Start(params, origin) for origin, params in points if params is not None]
    if not found:
        example = next((f"; {origin}: {misfit(space, arch)}" for origin, arch in whole if arch is not None), "")
        raise OptionError(
            f"--start-from: none of {whose} ({len(whole)}) is in space {space.name}, so that it would be a warm start "
            f"from another space; leave it out, or choose another --space{example}"
        )
    if len(found) < len(whole):
        say(f"starts from {len(found)} of {whose}; {len(whole) - len(found)} are not in space {space.name}")
    return found


def _front(word: str, url: str) -> Iterator[tuple[str, Arch | None]]:
    """The front of another study, by trial; None for an architecture that cannot be had here."""
    hint = f"a file's name ends in {', '.join(SUFFIXES)}"
    try:
        storage = open_storage(url, create=False)
    except StorageError as error:
        raise OptionError(f"--start-from {word}: it is taken for a study ({hint}), but {error}") from None
    with in_words():
        record = existing(word, storage)
        if record is None:
            names = optuna.get_all_study_names(storage)
            raise OptionError(f"--start-from: {unknown('study', word, [PAPER, *names])}; {hint}")
        recipe = record.user_attrs.get(RECIPE, {})
        if "space" not in recipe:
            raise OptionError(f"--start-from {word}: that study is no search; name its networks in a file instead")
        best = sorted(record.best_trials, key=lambda trial: trial.number)
    if not best:
        raise OptionError(f"--start-from {word}: that study has no finished trial yet; wait for one, or leave it out")
    return ((f"{word}#{frozen.number}", _known_here(frozen.user_attrs)) for frozen in best)


def _known_here(attrs: Mapping[str, Any]) -> Arch | None:
    """A trial's architecture; None where one of its mixers is not known here, or is another one of that name."""
    try:
        arch = Arch.from_dict(attrs["arch"])
    except ArchError:
        return None
    return arch if arch.key == attrs["arch_key"] else None


def _of_file(space: Space, path: Path) -> list[Start]:
    starts = []
    with told_as(OptionError, path):
        for line, entry in read_list(path):
            starts.append(Start(_point(space, entry, line), f"{path.name}, line {line}"))
    return starts


def _point(space: Space, entry: Any, line: int) -> dict[str, Value]:
    """Where in a space an entry of a file is.

    Raises:
        YamlError: nowhere, and why.
    """
    if isinstance(entry, Table) and isinstance(entry.get("arch"), Table):  # as `describe -f json` has it
        entry = entry["arch"]
    try:
        if isinstance(entry, str):
            arch = network(entry)
        elif isinstance(entry, Table) and "mixers" in entry:
            arch = Arch.from_dict(number(entry))
        elif isinstance(entry, Table):
            return _values(space, entry, line)
        else:
            wanted = "a network's name, an architecture's fields, or values of the space's axes"
            raise YamlError(f"an entry is {entry!r}, but must be {wanted}", line)
    except ArchError as error:
        raise YamlError(str(error), (line_of(entry, error) if isinstance(entry, Table) else None) or line) from None
    params = space.locate(arch)
    if params is None:
        raise YamlError(f"it is in no point of space {space.name}: {misfit(space, arch)}", line)
    return params


def _values(space: Space, table: Table, line: int) -> dict[str, Value]:
    """A point from values of axes; those of closed axes are not looked at."""
    axes = {axis.name: axis for axis in space.axes}
    for name in table:
        if name not in axes:
            raise YamlError(unknown(f"axis of space {space.name}", name, axes), table.lines[name])
    params: dict[str, Value] = {}
    for name, axis in axes.items():
        if not axis.open(params):
            continue
        choices = ", ".join(map(str, axis.values))
        if name not in table:
            raise YamlError(f"it has no value for axis {name!r}; give one of {choices}", line)
        given = number(table[name])
        fitting = [value for value in axis.values if given in (value, _listed(name, value))]
        if not fitting:
            raise YamlError(f"axis {name!r} has no choice {table[name]!r}; give one of {choices}", table.lines[name])
        params[name] = fitting[0]
    space.arch(params)  # it can exist
    return params


def _listed(name: str, value: Value) -> Any:
    return list(decode(name, value)) if name in LIST_AXES else value
