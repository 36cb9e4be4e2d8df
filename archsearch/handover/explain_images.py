"""Which images are explained: files, or a few of a folder, spread over the folders inside it."""

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from pathlib import Path

from archsearch.data.folder import EXTENSIONS
from archsearch.errors import DataError


def chosen_images(places: Sequence[Path], limit: int) -> tuple[Path, ...]:
    """Return image files: the given ones, and the first of each folder, in turns from the folders inside it.

    Args:
        places: Files and folders.
        limit: Number of images per folder.

    Raises:
        DataError: A place does not exist, or a folder holds no images.
    """
    files = chain.from_iterable(_of_folder(place, limit) if place.is_dir() else [place] for place in places)
    chosen = tuple(dict.fromkeys(files))
    for file in chosen:
        if not file.is_file():
            raise DataError(f"there is no image {file}; name a file, or a folder of images")
    return chosen


def _of_folder(folder: Path, limit: int) -> Sequence[Path]:
    by_folder: dict[Path, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.suffix.lower() in EXTENSIONS and not hidden and file.is_file():
            by_folder.setdefault(file.parent, []).append(file)
    if not by_folder:
        raise DataError(f"{folder} holds no images ({', '.join(EXTENSIONS)}); name a folder that does")
    return in_turns(by_folder.values())[:limit]


def in_turns(groups: Iterable[Sequence[Path]]) -> list[Path]:
    """Return the first of every group, then the second of every group that has one, and so on.

    >>> [str(file) for file in in_turns([[Path("cat/1"), Path("cat/2")], [Path("dog/1")]])]
    ['cat/1', 'dog/1', 'cat/2']
    """
    return [file for turn in zip_longest(*groups) for file in turn if file is not None]
