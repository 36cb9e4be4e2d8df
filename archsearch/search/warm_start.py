"""Architectures that a study evaluates first: named networks, those of a file, or another study's front.

Each is located in the study's space, and all are checked before anything is written.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from archsearch.arch import Arch
from archsearch.arch.networks import NETWORKS, network
from archsearch.arch.params import Value
from archsearch.errors import ArchError, OptionError, StorageError, unknown
from archsearch.search.definition import RECIPE, existing
from archsearch.search.storage.opening import in_words, open_storage
from archsearch.search.storage.records import rescoring_of
from archsearch.space.axes import LIST_AXES, decode
from archsearch.space.listed import ListedSpace
from archsearch.space.locate import locate, misfit
from archsearch.space.space import Space
from archsearch.stats.fronts import nondominated
from archsearch.utils.yaml_lines import Table, YamlError, line_of, number, read_list, told_as

#: Name of the set of all named networks.
PAPER = "paper"
#: Suffixes of file names.
SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Start:
    """A point that a study evaluates first.

    Attributes:
        params: Values of the open axes.
        origin: Where it comes from, in words.
    """

    params: Mapping[str, Value]
    origin: str


def read_starts(
    words: Sequence[str], space: Space, name: str, storage: str, say: Callable[[str], None] = lambda words: None
) -> list[Start]:
    """Return the points that a study evaluates first, in the order in which they are named, each once.

    Args:
        words: Sources: ``paper``, a YAML or JSON file, or the name of another study.
        space: Search space of the study.
        name: Name of the study.
        storage: URL of the storage that has the other studies.
        say: Callback for a remark on architectures that are not in the space.

    Raises:
        OptionError: A source does not exist, or has nothing that is in the space.
        StorageError: The storage cannot be read.
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
    """The points of those that are in the space; a remark gives the number of the others."""
    whole = list(named)
    points = [(origin, None if arch is None else locate(space, arch)) for origin, arch in whole]
    found = [Start(params, origin) for origin, params in points if params is not None]
    unlisted = _unlisted(space, whole) if isinstance(space, ListedSpace) else []
    lacking = _timed_by(unlisted, space.lacking) if isinstance(space, ListedSpace) and unlisted else ""
    if not found:
        example = next((f"; {origin}: {misfit(space, arch)}" for origin, arch in whole if arch is not None), "")
        raise OptionError(
            f"--start-from: none of {whose} ({len(whole)}) is in space {space.name}, so that it would be a warm start "
            f"from another space; leave it out, or choose another --space{f'; {lacking}' if lacking else example}"
        )
    if lacking:
        say(lacking)
    if outside := len(whole) - len(found) - len(unlisted):
        say(f"starts from {len(found)} of {whose}; {outside} are not in space {space.name}")
    return found


def _unlisted(space: ListedSpace, named: Sequence[tuple[str, Arch | None]]) -> list[str]:
    """Return the origins of those that are in the space, but not on its list."""
    inside = [(origin, arch) for origin, arch in named if arch is not None and locate(space.whole, arch) is not None]
    return [origin for origin, arch in inside if locate(space, arch) is None]


def _timed_by(origins: Sequence[str], lacking: str) -> str:
    """Say what is left out, and which command times it."""
    models = " ".join(f"study:{origin}" if "#" in origin else origin for origin in origins)
    return f"left out: {', '.join(origins)} ({lacking}); `benchmark {models} --results-file FILE.json` times them"


def _front(word: str, url: str) -> Iterator[tuple[str, Arch | None]]:
    """The front of another study, by trial; None for an architecture with an unknown mixer."""
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
        best = _best(record)
    if not best:
        raise OptionError(f"--start-from {word}: that study has no finished trial yet; wait for one, or leave it out")
    return ((f"{word}#{frozen.number}", _known_here(frozen.user_attrs)) for frozen in best)


def _best(record: optuna.Study) -> list[FrozenTrial]:
    """Return the trials on a study's front, by number: of those with finite scores that keep the constraints."""
    done = [*map(rescoring_of(record), record.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))]
    done = [frozen for frozen in done if all(share <= 0 for share in frozen.constraints.values())]
    signs = [-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in record.directions]
    marks = nondominated(np.array([frozen.values for frozen in done]).reshape(-1, len(signs)) * signs)
    return [frozen for frozen, marked in zip(done, marks, strict=True) if marked]


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
    """Return the point of the space that an entry of a file describes.

    Raises:
        YamlError: There is none; the message says why.
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
    params = locate(space, arch)
    if params is None:
        raise YamlError(f"it is in no point of space {space.name}: {misfit(space, arch)}", line)
    return params


def _values(space: Space, table: Table, line: int) -> dict[str, Value]:
    """Return a point from values of axes; those of closed axes are ignored."""
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
