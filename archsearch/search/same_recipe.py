"""Whether two stored recipes mean the same, whichever versions of archsearch stored them."""

from collections.abc import Collection, Mapping
from typing import Any

from archsearch.errors import StorageError
from archsearch.recipes import BenchRecipe, ProxyRecipe
from archsearch.utils.key_fields import completed, unknown_fields

#: Parts of a study's recipe that are recipes themselves.
PARTS: dict[str, type[ProxyRecipe] | type[BenchRecipe]] = {"proxy": ProxyRecipe, "bench": BenchRecipe}


def same_part(part: str, one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether two stored proxy recipes, or two stored timing recipes, mean the same.

    Args:
        part: ``proxy`` or ``bench``.
        one: Fields as a study's recipe has them; None where it has none.
        other: Fields of the other one.

    >>> same_part("bench", {"rounds": 3}, {"rounds": 3, "batch_size": 128})
    True
    """
    if one is None or other is None:
        return one is other
    return completed(PARTS[part], one) == completed(PARTS[part], other)


def timed_alike(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether two studies time the same architecture in the same way.

    Args:
        ours: Recipe of a study, as ``archsearch.search.definition.Study.recipe`` returns it.
        theirs: Stored recipe of another one.
    """
    if ours.get("speeds") or theirs.get("speeds"):  # of another machine
        return False
    protocols = {recipe.get("protocol", 1) for recipe in (ours, theirs)}
    return len(protocols) == 1 and same_part("bench", theirs.get("bench"), ours["bench"])


def check_known(name: str, before: Mapping[str, Any], known: Collection[str]) -> None:
    """Make sure that this version knows every field of a stored recipe.

    Args:
        name: Name of the study.
        before: Recipe that the study was made with.
        known: Names of the fields that this version knows.

    Raises:
        StorageError: A newer version stored a field that changes results.
    """
    if strange := sorted(before.keys() - set(known)):
        raise _newer(name, strange[0])


def check_same(name: str, now: Mapping[str, Any], before: Mapping[str, Any], matters: Mapping[str, bool]) -> None:
    """Make sure that a study goes on as it began.

    Args:
        name: Name of the study.
        now: Recipe of this run.
        before: Recipe that the study was made with.
        matters: Whether a field matters; those that are not named do.

    Raises:
        StorageError: The recipes differ, or a newer version made the study.
    """
    for field, value in now.items():
        earlier = before.get(field)
        if earlier == value or not matters.get(field, True):
            continue
        if field in PARTS and earlier is not None:
            if strange := unknown_fields(PARTS[field], earlier):
                raise _newer(name, f"{field}.{strange[0]}")
            if same_part(field, earlier, value):
                continue
            value, earlier = completed(PARTS[field], value), completed(PARTS[field], earlier)
        raise _difference(name, field, value, earlier)


def _newer(name: str, field: str) -> StorageError:
    return StorageError(
        f"study {name!r} was made by a newer archsearch, whose recipes have {field}; "
        "update archsearch, or choose another --study-name"
    )


def _difference(name: str, field: str, value: Any, earlier: Any) -> StorageError:
    if field == "speeds":
        began, asked = (f"those of {told['device']}" if told else "those measured here" for told in (earlier, value))
        others = "others of the same device" if began == asked else asked
        return StorageError(
            f"study {name!r} exists with other speeds ({began}, not {others}); choose another --study-name, "
            "or repeat the --speeds it was made with"
        )
    if isinstance(value, dict):
        earlier = earlier or {}
        inner = next(k for k in {**value, **earlier} if earlier.get(k) != value.get(k))
        if field == "mixers":
            return StorageError(
                f"study {name!r} knows another version of token_mixer {inner!r}: its file has changed; "
                "bring the old one back, or choose another --study-name"
            )
        detail = "" if isinstance(value.get(inner), dict) else f" ({earlier.get(inner)}, not {value.get(inner)})"
        field = f"{field}.{inner}"
    else:
        detail = f" ({'an earlier one' if earlier is None else earlier}, not {value})"
    return StorageError(
        f"study {name!r} exists with another {field}{detail}; "
        "choose another --study-name, or repeat the options it was made with"
    )
