"""What a space or a study asks of the recipe that makes its proxy networks.

It may change fields (``proxy``), and say what its proxy networks need (``needs``): a least width, depth and image size,
and a greatest stride of the stem. A recipe that is generous enough keeps what it has.
"""

from collections.abc import Mapping
from typing import Any

from archsearch.errors import UserError
from archsearch.recipes import ProxyRecipe, override

#: Fields of a proxy recipe that have a least value.
LEAST = ("width", "depth", "img_size")
#: Fields that have a greatest value: smaller strides keep maps larger.
MOST = ("stem_patch_size",)
#: Fields that proxy networks may need something of.
NEEDS = (*LEAST, *MOST)


def fitted(recipe: ProxyRecipe, changes: Mapping[str, Any], needs: Mapping[str, Any]) -> ProxyRecipe:
    """Return a recipe as it makes the proxy networks of a space or a study.

    Args:
        recipe: Recipe; one that trains targets in full size stays as it is.
        changes: Fields that are changed.
        needs: What the proxy networks then need, by field of ``NEEDS``. A list of widths means the narrowest that is
            no narrower than the recipe's; a recipe that is wider than all keeps its own.

    >>> made = fitted(ProxyRecipe(width=1/3, stem_patch_size=1), {}, {"width": 1/2, "depth": 1/4, "stem_patch_size": 2})
    >>> made.width, round(made.depth, 2), made.stem_patch_size
    (0.5, 0.33, 1)
    """
    if recipe.full_size:
        return recipe
    before = {name: changes.get(name, getattr(recipe, name)) for name in needs}
    return override(recipe, {**changes, **{name: _met(name, before[name], need) for name, need in needs.items()}})


def _met(name: str, value: Any, need: Any) -> Any:
    if value is None:  # the target's own stride, which may be larger
        return need
    if name in MOST:
        return min(value, need)
    if isinstance(need, tuple):
        return next((width for width in need if width >= value), value)
    return max(value, need)


def checked_need(name: str, value: Any) -> Any:
    """Return a value of ``needs``; a list becomes a tuple.

    Args:
        name: Key of ``NEEDS``.
        value: Value as it was read.

    Raises:
        UserError: It is no such value.
    """
    several = name == "width" and isinstance(value, list)
    values = value if several else [value]
    for each in values:
        override(ProxyRecipe(), {name: each})
    if value is None:
        raise UserError(f"{name} is null, but must be an integer greater than 0")
    if several and (not values or values != sorted({*values})):
        raise UserError(f"width is {value!r}, but must be a number, or several from the narrowest to the widest")
    return tuple(values) if several else value
