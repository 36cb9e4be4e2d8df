"""YAML with line numbers: every mapping and list knows its place in the file."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from archsearch.errors import UserError, first_line, unknown


class Table(dict[str, Any]):
    """A mapping read from a file, with the line of each key."""

    lines: dict[str, int]


class YamlError(Exception):
    """Error in a file, with its line (from 1) if known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Loader of safe YAML without duplicate keys."""


def _construct_table(loader: _Loader, node: yaml.MappingNode) -> Table:
    table = Table()
    table.lines = {}
    for key_node, value_node in node.value:
        key, line = loader.construct_object(key_node), key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise YamlError(f"key {key!r} must be a word", line)
        if key in table:
            raise YamlError(f"key {key!r} is given twice (first in line {table.lines[key]}); keep one", line)
        table[key] = loader.construct_object(value_node, deep=True)
        table.lines[key] = line
    return table


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_table)


def locate(name_or_path: str, folder: Path, what: str, error: type[UserError]) -> Path:
    """Return the file of a name in ``folder``, or the path itself.

    Args:
        name_or_path: Name of a file in the folder, or a path that ends in ``.yaml`` or ``.yml``.
        folder: Folder that names are looked up in.
        what: Kind of thing that is named, for the message.
        error: Type of error to raise.

    Raises:
        UserError: There is no file of that name; of the given type.
    """
    if Path(name_or_path).suffix in (".yaml", ".yml"):
        return Path(name_or_path)
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name_or_path not in names:
        raise error(unknown(what, name_or_path, names))
    return folder / f"{name_or_path}.yaml"


def read_table(path: Path) -> Table:
    """Read the mapping in a YAML file; nothing in it is executed.

    Raises:
        YamlError: The text is no YAML, gives a key twice, or holds no mapping.
        OSError: The file cannot be read.
    """
    with _complaints():
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    if not isinstance(data, Table):
        raise YamlError("the file must hold a mapping of keys to values", 1)
    return data


def read_list(path: Path) -> list[tuple[int, Any]]:
    """Read the entries of a list in YAML or JSON with their lines; a file with one mapping is a list of one.

    Raises:
        YamlError: The text is neither, gives a key twice, or holds something else.
        OSError: The file cannot be read.
    """
    with _complaints():
        text = path.read_text(encoding="utf-8")
        loader = _Loader(text.replace("\t", " ") if path.suffix == ".json" else text)  # YAML indents by spaces alone
        try:
            top = loader.get_single_node()
            nodes: list[yaml.Node] = top.value if isinstance(top, yaml.SequenceNode) else []
            if isinstance(top, yaml.MappingNode):
                nodes = [top]
            if not nodes:
                raise YamlError("the file must hold a list, with something in it", 1)
            return [(node.start_mark.line + 1, loader.construct_document(node)) for node in nodes]
        finally:
            loader.dispose()


@contextmanager
def _complaints() -> Iterator[None]:
    """Turn errors of the YAML parser into ``YamlError`` with a line."""
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(f"not YAML: {error.problem or error}", mark.line + 1 if mark else None) from None
    except RecursionError:
        raise YamlError("not YAML that anyone could read: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or an impossible date or number
        raise YamlError(f"not YAML: {first_line(error)}") from None


@contextmanager
def told_as(kind: type[UserError], path: Path) -> Iterator[None]:
    """Turn ``YamlError`` and ``OSError`` into an error of a given type that names file and line."""
    try:
        yield
    except YamlError as error:
        where = f", line {error.line}" if error.line else ""
        raise kind(f"{path}{where}: {error}") from None
    except OSError as error:
        raise kind(f"cannot read {path}: {error.strerror}") from None


def mapping(table: Table, key: str) -> Table:
    """Return a mapping inside another.

    Raises:
        YamlError: The value is no mapping.
    """
    inner = table[key]
    if not isinstance(inner, Table):
        raise YamlError(f"{key!r} must be a mapping, not {inner!r}", table.lines[key])
    return inner


def check_keys(table: Table, keys: Sequence[str], what: str) -> None:
    """Check that a mapping has no other keys.

    Raises:
        YamlError: It has one.
    """
    for key in table:
        if key not in keys:
            raise YamlError(unknown(what, key, keys), table.lines[key])


def line_of(table: Table, error: Exception) -> int | None:
    """Return the line of the key that an error about a mapping names first; None if it names none."""
    named = {key: re.search(rf"\b{re.escape(key)}\b", str(error)) for key in table}
    places = {key: match.start() for key, match in named.items() if match}
    return table.lines[min(places, key=lambda key: places[key])] if places else None


def number(value: Any) -> Any:
    """Return numbers written as ``1/8`` or ``1e-3`` as floats, inside lists and mappings too.

    >>> number("1/8"), number("1e-3"), number(3), number("gelu"), number(["1/4", {"a": "1/2"}])
    (0.125, 0.001, 3, 'gelu', [0.25, {'a': 0.5}])
    """
    if isinstance(value, list):
        return [number(item) for item in value]
    if isinstance(value, dict):
        return {key: number(item) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"\s*\d{1,300}\s*/\s*\d{0,299}[1-9]\d*\s*", value):
        return float(Fraction(value.replace(" ", "")))
    return float(value) if re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value) else value
