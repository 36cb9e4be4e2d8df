"""Proxy recipes by name, or from a user's YAML file.

base: gpu            # a named recipe; without it, the one for the device
epochs: 40
crop_padding: 4
width: 3/8
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from archsearch.errors import OptionError, UserError, unknown
from archsearch.recipes import PROXIES, ProxyRecipe, override
from archsearch.utils.yaml_lines import line_of, number, read_table, told_as

#: What a space or a study makes of a recipe, as ``Space.fitted``.
Fit = Callable[[ProxyRecipe], ProxyRecipe]


def load_proxy(name_or_path: str, kind: str, fit: Fit, named: Mapping[str, ProxyRecipe] = PROXIES) -> ProxyRecipe:
    """Return the proxy recipe for a space or a study: a named one, fitted to it, then changed by a file.

    Args:
        name_or_path: Key of ``named``, or path of a YAML file.
        kind: Recipe that a file changes if it names none.
        fit: What the space or study makes of a named recipe.
        named: Recipes by name.

    Raises:
        OptionError: There is no such recipe, or the file is wrong; the message names the line.
    """
    if Path(name_or_path).suffix not in (".yaml", ".yml"):
        return _base(name_or_path, fit, named)
    path = Path(name_or_path)
    with told_as(OptionError, path):
        table = read_table(path)
    changes = {name: number(value) for name, value in table.items() if name != "base"}
    try:
        return override(_base(str(table.get("base", kind)), fit, named), changes)
    except UserError as error:
        line = line_of(table, error) or table.lines.get("base")
        raise OptionError(f"{path}{f', line {line}' if line else ''}: {error}") from None


def _base(name: str, fit: Fit, named: Mapping[str, ProxyRecipe]) -> ProxyRecipe:
    if name not in named:
        raise OptionError(unknown("proxy", name, named) + "; or name a YAML file")
    return fit(named[name])
