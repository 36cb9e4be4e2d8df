"""The files of an explanation: ``explain.png`` and ``explain.html`` in one folder."""

import io
from pathlib import Path

from archsearch.errors import OptionError, StorageError
from archsearch.handover.explain_page import page
from archsearch.handover.explain_picture import picture
from archsearch.handover.explain_spec import Explanation
from archsearch.utils.whole_file import replacing

#: Names of the picture and the page.
NAMES = ("explain.png", "explain.html")


def check_place(folder: Path, force: bool = False) -> None:
    """Check that an explanation may be written into a folder.

    Raises:
        OptionError: It is no folder, or holds an explanation that is not to be replaced.
    """
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder} is no folder; name another one")
    found = [folder / name for name in NAMES if (folder / name).exists()]
    if found and not force:
        raise OptionError(f"{found[0]} is there already; name another folder, or replace it by --force")


def write_explanation(explanation: Explanation, folder: Path, force: bool = False) -> tuple[Path, Path]:
    """Write the picture and the page, each in one step, and return their paths.

    Args:
        explanation: What to write.
        folder: Folder, made where it is missing.
        force: Whether to replace an explanation that it holds.

    Raises:
        OptionError: It is no folder, or holds an explanation that is not to be replaced.
        StorageError: It cannot be written.
    """
    check_place(folder, force)
    data = io.BytesIO()
    picture(explanation).save(data, "PNG", optimize=True)
    paths = folder / NAMES[0], folder / NAMES[1]
    try:
        for path, content in zip(paths, (data.getvalue(), page(explanation).encode()), strict=True):
            with replacing(path) as scratch:
                scratch.write_bytes(content)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}; name another folder") from None
    return paths
