"""The fields that identify a record, chosen so that a field added later changes no key.

Cached trainings, cached timings and stored studies are found by the fields of the recipe they were made with.
A class lists the fields of its first release in ``FIRST``; these are always part of a key. A field added later
is part of it only where its value differs from what was done before the field existed. That is the field's
default, unless its metadata names another value:

    layers: str = field(default="fused", metadata={BEFORE: "plain"})

A field that decides how well a result is known, and not what is found out, is no part of a key:

    known_within: float = field(default=0.0, metadata={KEYED: False})
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from archsearch.errors import UserError

#: Key of a field's metadata: the value that means what was done before the field existed.
BEFORE = "before"
#: Key of a field's metadata: whether the field is part of keys; it is where nothing is said.
KEYED = "keyed"


class Record(Protocol):
    """A dataclass that lists the fields of its first release."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    FIRST: ClassVar[tuple[str, ...]]


T = TypeVar("T", bound=Record)


def key_fields(record: Record) -> dict[str, Any]:
    """Return the fields that identify a record, in order of definition.

    Args:
        record: Instance of a dataclass with ``FIRST``.

    Returns:
        Value by name of each field of the first release, and of each later field that differs from what was done
        before it existed.

    >>> from archsearch.recipes import BenchRecipe
    >>> key_fields(BenchRecipe()) == {name: getattr(BenchRecipe(), name) for name in BenchRecipe.FIRST}
    True
    """
    keyed = [field.name for field in dataclasses.fields(record) if field.metadata.get(KEYED, True)]
    values = {name: getattr(record, name) for name in keyed}
    before = _before(type(record))
    return {name: value for name, value in values.items() if name in record.FIRST or value != before[name]}


def completed(kind: type[Record], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored fields with those added since, which take the value that means what was done before.

    Args:
        kind: Dataclass with ``FIRST``.
        stored: Value by name of a field, as ``key_fields`` gave it, perhaps in another version.

    Returns:
        Value by name of a field. Two records that were made alike are equal in this form, whichever version stored
        them; names that are unknown here are kept.

    >>> from archsearch.recipes import BenchRecipe
    >>> completed(BenchRecipe, {"rounds": 3})["batch_size"]
    128
    """
    return {**_before(kind), **stored}


def unknown_fields(kind: type[Record], stored: Mapping[str, Any]) -> list[str]:
    """Return the names of stored fields that this version does not know, sorted."""
    return sorted(stored.keys() - {field.name for field in dataclasses.fields(kind)})


def restored(kind: type[T], stored: Mapping[str, Any]) -> T:
    """Return the record that stored fields describe.

    Args:
        kind: Dataclass with ``FIRST``.
        stored: Value by name of a field, as ``key_fields`` gave it, perhaps in an earlier version.

    Raises:
        UserError: A newer version stored a field that is unknown here.
    """
    if strange := unknown_fields(kind, stored):
        raise UserError(f"{strange[0]} is a field of a newer archsearch; update archsearch to use what was stored")
    return kind(**completed(kind, stored))


def _before(kind: type[Record]) -> dict[str, Any]:
    values = {field.name: field.metadata.get(BEFORE, field.default) for field in dataclasses.fields(kind)}
    return {name: value for name, value in values.items() if value is not dataclasses.MISSING}
