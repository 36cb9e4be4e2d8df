"""List search spaces: their axes and number of architectures."""

import argparse
import sys
from typing import TYPE_CHECKING

from archsearch.cli.options import add_mixers, load_own_mixers
from archsearch.errors import ArchError, SpaceError

if TYPE_CHECKING:
    from archsearch.space.space import Space


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "space", nargs="*", metavar="SPACE", help="names of shipped spaces, or YAML files (default: all shipped ones)"
    )
    add_mixers(parser)


def run(args: argparse.Namespace) -> int:
    """Print each space; a broken one among the shipped is an error as well."""
    from archsearch.space.yaml import load_space
    from archsearch.utils.package_data import shipped

    load_own_mixers(args.mixers)
    folder = shipped("search_spaces")
    names = args.space or sorted(path.stem for path in folder.glob("*.yaml"))
    if not names:
        raise SpaceError(f"{folder} holds no search space")
    sys.stdout.write("\n".join(_describe(load_space(name, folder)) for name in names))
    return 0


def _describe(space: "Space") -> str:
    from archsearch.recipes import PROXIES

    distinct = space.distinct()
    size = f"{distinct:,} distinct architectures" if distinct is not None else f"{space.points():,} points"
    proxy = space.fitted(PROXIES["cpu"])
    try:
        proxies = space.distinct_proxies(proxy)
    except ArchError as error:
        size += f", but not every proxy can exist: {error}"
    else:
        size += "" if proxies == distinct else f", but only {proxies:,} distinct prox{'y' if proxies == 1 else 'ies'}"
    lines = [f"{space.name}: {size}"]
    if space.description:
        lines.append(f"  {space.description}")
    width = max(len(axis.name) for axis in space.axes)
    for axis in space.axes:
        when = "".join(f"  (when {k} is {' or '.join(map(str, v))})" for k, v in axis.when.items())
        values = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in axis.values)
        lines.append(f"  {axis.name:<{width}}  {values}{when}")
    for key, fields in (("needs", space.needs), ("proxy", space.proxy)):
        if fields:
            lines.append(f"  {key}: " + ", ".join(f"{name} {_words(value)}" for name, value in fields.items()))
    return "\n".join(lines) + "\n"


def _words(value: object) -> str:
    if isinstance(value, tuple):
        return " or ".join(map(_words, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
