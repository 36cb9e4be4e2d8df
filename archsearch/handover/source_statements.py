"""The statements of a module's top level: what each defines and what it uses."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Statement:
    """A statement of a module's top level.

    Attributes:
        node: Its syntax tree.
        source: Its text, with decorators and the comment above it.
        binds: Names that it defines or changes.
        uses: Names that it reads, those of its own included.
    """

    node: ast.stmt
    source: str
    binds: frozenset[str]
    uses: frozenset[str]


def statements_of(path: Path) -> tuple[Statement, ...]:
    """Return the statements of a Python file in their order."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    return tuple(
        Statement(node, _source(node, lines), frozenset(_bound(node)), frozenset(_used(node)))
        for node in ast.parse(text).body
    )


def _source(node: ast.stmt, lines: list[str]) -> str:
    """Return the lines of a statement, with decorators and the comment above it, but without remarks to ruff."""
    first = min([node.lineno, *(mark.lineno for mark in getattr(node, "decorator_list", ()))]) - 1
    while first > 0 and lines[first - 1].startswith("#"):
        first -= 1
    return "\n".join(re.sub(r"  # noqa: .*", "", line) for line in lines[first : node.end_lineno])


def _bound(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement defines or changes."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            yield from (name.id for name in ast.walk(target) if isinstance(name, ast.Name))
    else:
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, ast.stmt):
                yield from _bound(inner)
            elif isinstance(inner, ast.ExceptHandler):
                for deeper in inner.body:
                    yield from _bound(deeper)


def _used(node: ast.stmt) -> Iterator[str]:
    yield from (name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load))
