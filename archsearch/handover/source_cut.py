"""Cutting classes and functions out of modules, with all that they need, into one source text."""

import __future__

import ast
import builtins
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from archsearch.errors import MixerError
from archsearch.handover.source_statements import Statement, statements_of

#: First part of the names of the modules whose definitions are copied; those of others are imported.
OWN = ("archsearch", "archsearch_mixers_")
#: The line that makes annotations texts; it comes before all others.
FUTURE = "from __future__ import annotations"


@dataclass(frozen=True)
class Cut:
    """Definitions that stand for themselves.

    Attributes:
        imports: Lines of imports, sorted as ruff sorts them.
        definitions: Source texts in an order in which they can be run.
    """

    imports: str
    definitions: tuple[str, ...]


def cut(wanted: Iterable[object], imports: Iterable[str] = ()) -> Cut:
    """Cut classes and functions out of the modules that define them, with all that they need of these modules.

    Args:
        wanted: Classes and functions, of this package, of a user's file, or of an installed library.
        imports: Further imports, ``from MODULE import NAME`` each.

    Raises:
        MixerError: A definition needs what cannot be copied; the message says what and why.
    """
    saw = _Saw()
    for line in imports:
        _, source, _, name = line.split()
        saw.claim(importlib.import_module(source), {name})
        saw.imports.add(line)
    for one in wanted:
        saw.take(sys.modules[one.__module__], name_of(one))
    return Cut("\n\n".join(_sorted(saw.imports)), tuple(saw.definitions()))


def name_of(one: object) -> str:
    """Return the name that a class or function has in the module that defines it.

    Raises:
        MixerError: It has none: it was made inside of a function or of another class.
    """
    module = sys.modules[one.__module__]
    own = str(getattr(one, "__name__", ""))
    if getattr(module, own, None) is one:
        return own
    names = [name for name, value in vars(module).items() if value is one]
    if not names:
        raise MixerError(f"{own} is not defined at the top level of its file; move it there")
    return names[0]


@dataclass
class _Saw:
    """What was cut so far."""

    modules: dict[str, tuple[Statement, ...]] = field(default_factory=dict)
    taken: dict[tuple[str, int], None] = field(default_factory=dict)
    names: dict[str, object] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)
    needs: dict[str, set[str]] = field(default_factory=dict)

    def take(self, module: ModuleType, name: str) -> None:
        """Take the definition of a name, and of every name that it uses."""
        if not _is_own(module.__name__):
            self._import(module, ast.ImportFrom(module.__name__, [ast.alias(name)], 0), name)
            return
        if module.__name__ not in self.modules:
            self.modules[module.__name__] = statements_of(Path(str(module.__file__)))
            self.needs[module.__name__] = set()
            self.imports |= {FUTURE} if getattr(module, "annotations", None) is __future__.annotations else set()
        if not any(name in statement.binds for statement in self.modules[module.__name__]):
            raise MixerError(f"{name} of {module.__name__} is no class, function or constant that can be copied")
        for index, statement in enumerate(self.modules[module.__name__]):
            if name in statement.binds and (module.__name__, index) not in self.taken:
                self._add(module, index, statement, name)

    def definitions(self) -> Iterator[str]:
        """Yield the definitions, module by module, those of a needed module first."""
        order: dict[str, None] = {}
        for name in self.needs:
            self._visit(name, order)
        for name in order:
            for index, statement in enumerate(self.modules[name]):
                if (name, index) in self.taken:
                    yield statement.source

    def _visit(self, name: str, order: dict[str, None]) -> None:
        for needed in sorted(self.needs.get(name, ()) - order.keys()):
            self._visit(needed, order)
        order[name] = None

    def _add(self, module: ModuleType, index: int, statement: Statement, name: str) -> None:
        if isinstance(statement.node, ast.Import | ast.ImportFrom):
            self._import(module, statement.node, name)
            return
        self.taken[module.__name__, index] = None
        _check_inner(module, statement.node)
        self.claim(module, statement.binds)
        known = frozenset().union(*(other.binds for other in self.modules[module.__name__]))
        missing = statement.uses - known - set(dir(builtins))
        if hidden := sorted(name for name in missing if hasattr(module, name) and not name.startswith("__")):
            raise MixerError(f"{hidden[0]} comes from an import of *; import it by name")
        for used in sorted(statement.uses & known):
            self.take(module, used)

    def _import(self, module: ModuleType, node: ast.Import | ast.ImportFrom, name: str) -> None:
        """Take one name of an import: from a module of ours its definition, from another the line."""
        if isinstance(node, ast.ImportFrom):
            alias = next(alias for alias in node.names if name in (alias.asname, alias.name))
            if node.level or node.module is None:
                raise MixerError(f"{name} is imported relative to the file; copy it into the file")
            if _is_own(node.module):
                if alias.asname not in (None, alias.name):
                    raise MixerError(f"{alias.name} is imported as {alias.asname}; import it under its own name")
                self.needs[module.__name__].add(node.module)
                self.take(importlib.import_module(node.module), alias.name)
                return
            source, line = node.module, f"from {node.module} import {_alias(alias)}"
        else:
            alias = next(alias for alias in node.names if name in (alias.asname, alias.name.partition(".")[0]))
            source, line = alias.name, f"import {_alias(alias)}"
        _check_source(module, source)
        self.claim(module, {name})
        self.imports.add(line)

    def claim(self, module: ModuleType, names: Iterable[str]) -> None:
        """Make sure that a name means one thing in the text."""
        for name in names:
            value = getattr(module, name, None)
            if self.names.setdefault(name, value) is not value:
                raise MixerError(f"{name} is defined twice, and not alike; give one of them another name")


def _check_inner(module: ModuleType, node: ast.stmt) -> None:
    """Check the imports inside of a definition, which are copied with it."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.ImportFrom) and not inner.level and inner.module:
            _check_source(module, inner.module)
        elif isinstance(inner, ast.Import):
            for alias in inner.names:
                _check_source(module, alias.name)
        elif isinstance(inner, ast.ImportFrom):
            raise MixerError("a definition imports relative to the file; copy what it needs into the file")


def _check_source(module: ModuleType, source: str) -> None:
    """Check that what a user's file imports is there without archsearch and without the files beside it."""
    if _is_own(source):
        raise MixerError(f"{source} is imported as a whole; import the names that are used at the top of the file")
    if module.__name__.startswith(OWN[1]) and not _installed(source):
        raise MixerError(f"{source} is no installed package; copy what is used of it into the file")


def _is_own(name: str) -> bool:
    return name.partition(".")[0] == OWN[0] or name.startswith(OWN[1])


def _alias(alias: ast.alias) -> str:
    return alias.name if alias.asname in (None, alias.name) else f"{alias.name} as {alias.asname}"


def _installed(name: str) -> bool:
    """Whether a module is part of Python or of an installed package."""
    root = name.partition(".")[0]
    if root in sys.stdlib_module_names:
        return True
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    places = [Path(path).resolve() for path in (spec.origin, *(spec.submodule_search_locations or ())) if path]
    paths = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")}
    return any(place.is_relative_to(path) for place in places for path in paths)


def _sorted(lines: Iterable[str]) -> Iterator[str]:
    """Yield the imports of Python's library, then those of others, each sorted, names of one module joined."""
    lines = set(lines)
    if FUTURE in lines:
        yield FUTURE
        lines.remove(FUTURE)
    whole = sorted(line for line in lines if line.startswith("import"))
    names: dict[str, list[str]] = {}
    for line in sorted(line for line in lines if line.startswith("from")):
        module, _, name = line.removeprefix("from ").partition(" import ")
        names.setdefault(module, []).append(name)
    joined = [f"from {module} import {', '.join(_by_case(found))}" for module, found in sorted(names.items())]
    for standard in (True, False):
        block = [line for line in whole + joined if (_root(line) in sys.stdlib_module_names) == standard]
        if block:
            yield "\n".join(block)


def _by_case(names: list[str]) -> list[str]:
    """Sort names as ruff does: constants, classes, others."""
    return sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def _root(line: str) -> str:
    return line.split()[1].partition(".")[0]
