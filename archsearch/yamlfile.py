"""YAML that knows its lines: every mapping and list remembers where it stands in the file."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml


class Table(dict[str, Any]):
    """A mapping read from a file, with the line of each key."""

    line: int
    lines: dict[str, int]


class YamlError(Exception):
    """What is wrong with a file, and in which line (from 1)."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Safe YAML without duplicate keys."""


def _construct_table(loader: _Loader, node: yaml.MappingNode) -> Table:
    table = Table()
    table.line = node.start_mark.line + 1
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


def read_table(path: Path) -> Table:
    """The mapping that a YAML file holds; nothing in it is executed.

    Raises:
        YamlError: the text is no YAML, gives a key twice, or holds no mapping.
        OSError: the file cannot be read.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(f"not YAML: {error.problem or error}", mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YamlError(f"not YAML: {error}") from None
    if not isinstance(data, Table):
        raise YamlError("the file must hold a mapping of keys to values", 1)
    return data


def number(value: Any) -> Any:
    """A fraction written as ``1/8`` becomes its value; anything else stays as it is.

    >>> number("1/8"), number(3), number("gelu")
    (0.125, 3, 'gelu')
    """
    if isinstance(value, str) and value.count("/") == 1:
        try:
            return float(Fraction(value.replace(" ", "")))
        except (ValueError, ZeroDivisionError):
            return value
    return value
