"""Results that took long, kept on disk under all that they depend on; a file each."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def digest(key: Mapping[str, Any]) -> str:
    """Name of a result: a hash of everything that it depends on, JSON-ready.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]


class DiskCache:
    """A folder of JSON files, written in one step; what cannot be read or written is made again another time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: Mapping[str, Any], suffix: str = ".json") -> Path:
        """The file of a key."""
        return self.folder / (digest(key) + suffix)

    def get(self, key: Mapping[str, Any]) -> Any:
        """What is known under a key; None where nothing is."""
        try:
            return json.loads(self.path(key).read_text())
        except (OSError, ValueError):
            return None

    def put(self, key: Mapping[str, Any], value: Any) -> None:
        """Keeps a JSON-ready value."""
        path = self.path(key)
        scratch = path.with_suffix(f".{os.getpid()}.part")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_text(json.dumps(value))
            scratch.replace(path)
