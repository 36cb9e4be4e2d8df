"""Columns of a page, compressed: a value that many trials share is written once."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

#: Significant digits of a measured figure on a page.
DIGITS = 6
#: Largest whole number up to which JavaScript represents all of them.
LARGEST = 2**53


def column(values: Sequence[Any]) -> Any:
    """Return a column ready for JSON: one value for all, a list of numbers, or codes into a list of distinct values.

    >>> column([3, 3, 3]), column([0.5, None, 2.0]), column(["a", "b", "a"])
    ({'all': 3}, [0.5, None, 2], {'values': ['a', 'b'], 'codes': [0, 1, 0]})
    """
    plain = [clean(value) for value in values]
    texts = [json.dumps(value, sort_keys=True) for value in plain]
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    if len(places) <= 1:
        return {"all": plain[0] if plain else None}
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in plain):
        return plain
    return {"values": [json.loads(text) for text in places], "codes": [places[text] for text in texts]}


def clean(value: Any) -> Any:
    """Return data ready for JSON: values that JSON lacks become null or text, whole numbers lose their point.

    >>> clean({"a": float("nan"), "b": [1 / 3, 2.0, 2**60]})
    {'a': None, 'b': [0.3333333333333333, 2, '1152921504606846976']}
    """
    if isinstance(value, dict):
        return {str(name): clean(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [clean(inner) for inner in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < LARGEST else value
    if isinstance(value, int) and abs(value) > LARGEST:
        return str(value)
    return value


def columns(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return rows by column; values that a row lacks are None."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: column([row.get(name) for row in rows]) for name in names}


def number(value: float) -> Any:
    """Return a measured figure with the significant digits that a page shows; None if it is not finite.

    >>> number(4194591648.0), number(1 / 3), number(float("nan"))
    (4194591648, 0.333333, None)
    """
    if not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.{DIGITS}g}")


def scaled(values: Iterable[float], scale: float) -> list[int | None]:
    """Return values as whole multiples of a small unit, for curves; None where a value is not finite.

    >>> scaled([0.12345, float("nan")], 1e4)
    [1234, None]
    """
    return [round(value * scale) if math.isfinite(value) else None for value in values]
