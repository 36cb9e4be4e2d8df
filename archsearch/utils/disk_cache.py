"""A cache of JSON results on disk, one file each, found by everything that the result depends on."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from archsearch.utils.whole_file import replacing


def digest(key: Mapping[str, Any]) -> str:
    """Return the name of a result: a hash of its key.

    Args:
        key: Everything that the result depends on, JSON-ready.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]


class DiskCache:
    """A folder of JSON files, each written in one step; a file that cannot be read or written counts as missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: Mapping[str, Any], suffix: str = ".json") -> Path:
        """Return the path of the file of a key."""
        return self.folder / (digest(key) + suffix)

    def get(self, key: Mapping[str, Any]) -> Any:
        """Return the cached value of a key; None if there is none."""
        try:
            return json.loads(self.path(key).read_text())
        except (OSError, ValueError):
            return None

    def put(self, key: Mapping[str, Any], value: Any) -> None:
        """Cache a JSON-ready value."""
        with suppress(OSError), replacing(self.path(key)) as scratch:
            scratch.write_text(json.dumps(value))
