"""Columns of a page: what many trials share is written once."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

#: Significant digits of a measured figure on a page.
DIGITS = 6


def column(values: Sequence[Any]) -> Any:
    """A column as JSON-ready data: one value for all, a list of numbers, or codes into a list of distinct values.

    >>> column([3, 3, 3]), column([0.5, None, 2.0]), column(["a", "b", "a"])
    ({'all': 3}, [0.5, None, 2], {'values': ['a', 'b'], 'codes': [0, 1, 0]})
    """
    plain = [number(value) for value in values]
    texts = [json.dumps(value, sort_keys=True) for value in plain]
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    if len(places) <= 1:
        return {"all": plain[0] if plain else None}
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in plain):
        return plain
    return {"values": [json.loads(text) for text in places], "codes": [places[text] for text in texts]}


def columns(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rows by column; what a row does not have is None."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: column([row.get(name) for row in rows]) for name in names}


def number(value: Any) -> Any:
    """A figure as short as it may be written; anything else as it is.

    >>> number(4194591648.0), number(1 / 3), number(float("nan")), number("a")
    (4194591648, 0.333333, None, 'a')
    """
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else float(f"{value:.{DIGITS}g}")


def scaled(values: Iterable[float], scale: float) -> list[int | None]:
    """Whole numbers of a small unit, for curves; None where a value is none.

    >>> scaled([0.12345, float("nan")], 1e4)
    [1234, None]
    """
    return [round(value * scale) if math.isfinite(value) else None for value in values]
