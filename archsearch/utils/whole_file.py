"""Writing a file in one step, so that whoever reads it finds the old content or all of the new one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which takes the place of a file at the end; after an error the old file stays.

    Args:
        path: File to replace; its folder is made.

    Raises:
        OSError: The folder cannot be made, or the file cannot be replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        with suppress(OSError):  # it is no longer there after success
            scratch.unlink()
