"""Image folders, ``train/<class>/*.jpg`` beside ``val/`` or ``test/``: decoded once, then cached."""

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from archsearch.data.images import HELD_OUT, SPLITS, ImageData, Split, hold_out
from archsearch.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
#: Version of the layout of the cache.
LAYOUT = 2

#: Number of images that are decoded ahead of writing.
AHEAD = 2048
#: Number of broken images that an error names.
MOST_BROKEN = 3

#: Name of the file with the hash of the cached pixels and labels.
CONTENT = "content"

#: Progress display: takes an iterable, its length and a description, and returns an iterable of the same items.
Track = Callable[[Iterable[Any], int, str], Iterable[Any]]


def cache_folder() -> Path:
    """Return the folder for decoded and downloaded data: ``$XDG_CACHE_HOME/archsearch``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "archsearch"


def load_folder(root: Path, img_size: int, track: Track) -> ImageData:
    """Load an image folder: the shorter side resized, the centre cropped.

    With both val/ and test/, candidates are compared on val/ and test/ is left untouched. With only one of them, it
    is left untouched, and a tenth of train/, class by class, is held out for validation.

    Args:
        root: Folder with train/ and val/ or test/, each with a folder per class.
        img_size: Side of the images, in pixels.
        track: Progress display for decoding.

    Raises:
        DataError: A folder is missing or empty, a class is unknown, or an image is broken.
    """
    files = {name: _listing(root / name) for name in ("train", "val", "test") if (root / name).is_dir()}
    if "train" not in files or len(files) < 2:
        raise DataError(f"{root} must be a folder with train/ and val/ or test/, each with a folder per class")
    classes = tuple(sorted({path.parent.name for path in files["train"]}))
    if len(classes) < 2:
        raise DataError(f"{root / 'train'} holds one class, {classes[0]!r}; there must be at least two")
    if len(files) == 2:
        _check_enough_to_hold_out(files["train"])
    stats = {path: _stat(path) for paths in files.values() for path in paths}
    stamps = [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()]
    folder = cache_folder() / "folders" / _digest([LAYOUT, img_size, str(root.resolve()), stamps])
    splits = _cached(folder, files, classes, img_size, track)
    if len(splits) == 2:
        count = max(len(classes), round(len(splits["train"]) * HELD_OUT))
        train, val = hold_out(splits["train"], count)
        splits = {"train": train, "val": val, "test": splits.get("val") or splits["test"]}
    content = [classes, (folder / CONTENT).read_text()]
    train, val, test = (splits[name] for name in SPLITS)
    return ImageData("folder", train, val, test, classes, flip=True, fingerprint=_digest(content))


def _check_enough_to_hold_out(files: list[Path]) -> None:
    for folder, count in Counter(path.parent for path in files).items():
        if count < 2:
            raise DataError(f"{folder} holds one image; give it more, or add both val/ and test/")


def _listing(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.glob("[!.]*/[!.]*") if p.suffix.lower() in EXTENSIONS)
    if not files:
        raise DataError(f"{folder} holds no images; expected {folder}/<class>/*.jpg (or {', '.join(EXTENSIONS[2:])})")
    return files


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; repair or remove it") from None


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()[:16]


def _cached(
    folder: Path, files: dict[str, list[Path]], classes: tuple[str, ...], img_size: int, track: Track
) -> dict[str, Split]:
    """Return the splits from a cache folder; decode the images into it first where it is missing or broken."""
    try:
        (folder / CONTENT).read_text()
        return {name: _read(folder, name) for name in files}
    except Exception:  # missing, truncated or overwritten: decode again, whatever is wrong
        shutil.rmtree(folder, ignore_errors=True)
    labels = {name: [_label(path, classes) for path in paths] for name, paths in files.items()}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent))
    except OSError as error:
        raise DataError(f"cannot write the cache {folder.parent}: {error.strerror}; set XDG_CACHE_HOME") from None
    try:
        for name, paths in files.items():
            _decode(paths, labels[name], scratch, name, img_size, track)
        (scratch / CONTENT).write_text(_content(scratch, files))
        with suppress(OSError):  # another process has just made the same folder
            scratch.replace(folder)
    except OSError as error:
        raise DataError(f"cannot write the cache {folder.parent}: {error.strerror}; set XDG_CACHE_HOME") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {name: _read(folder, name) for name in files}


def _content(folder: Path, names: Iterable[str]) -> str:
    """Return a hash of pixels and labels; files of the same name and size may hold other images."""
    whole = hashlib.sha256()
    for name in names:
        for part in ("images", "labels"):
            with (folder / f"{name}_{part}.npy").open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _reserve(path: Path) -> None:
    """Allocate the blocks of a sparse file; writing through a memory map cannot report that the disk is full."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _label(path: Path, classes: tuple[str, ...]) -> int:
    if path.parent.name not in classes:
        raise DataError(f"{path.parent} is a class that train/ does not have; add it there or remove it here")
    return classes.index(path.parent.name)


def _decode(paths: list[Path], labels: list[int], folder: Path, name: str, img_size: int, track: Track) -> None:
    shape = (len(paths), 3, img_size, img_size)
    path = folder / f"{name}_images.npy"
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    _reserve(path)
    broken = []
    for index, pixels in enumerate(track(_decoded(paths, img_size), len(paths), f"decoding {name}/")):
        if pixels is None:
            broken.append(paths[index])
        else:
            images[index] = pixels
    if broken:
        named = ", ".join(map(str, broken[:MOST_BROKEN]))
        more = f" and {len(broken) - MOST_BROKEN} more" if len(broken) > MOST_BROKEN else ""
        are = (
            "are broken or no images; repair or remove them"
            if len(broken) > 1
            else "is broken or no image; repair or remove it"
        )
        raise DataError(f"{named}{more} {are}")
    images.flush()
    np.save(folder / f"{name}_labels.npy", np.asarray(labels, dtype=np.int64))


def _decoded(paths: list[Path], img_size: int) -> Iterator[np.ndarray | None]:
    """Decode the images in order; None for a broken one, so that one error can name them all."""

    def decode(path: Path) -> np.ndarray | None:
        try:
            return decode_image(path, img_size)
        except DataError:
            return None

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), AHEAD):  # bounds the memory for decoded images
            yield from pool.map(decode, paths[start : start + AHEAD])


def decode_image(path: Path, img_size: int) -> np.ndarray:
    """Decode an image to (3, S, S) uint8: the shorter side resized to S, the centre cropped.

    Raises:
        DataError: The file is no readable image.
    """
    picture = read_image(path, img_size)
    scale = img_size / min(picture.size)
    if scale != 1:
        width, height = (max(img_size, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (picture.width - img_size) // 2, (picture.height - img_size) // 2
    return np.asarray(picture.crop((left, top, left + img_size, top + img_size))).transpose(2, 0, 1)


def read_image(path: Path, img_size: int | None = None) -> Image.Image:
    """Read an image as RGB.

    Args:
        path: File of the image.
        img_size: Side in pixels that it need not exceed, which saves decoding all of a large JPEG; None for its own.

    Raises:
        DataError: The file is no readable image.
    """
    try:
        with Image.open(path) as image:
            if img_size is not None:
                image.draft("RGB", (img_size, img_size))
            return _eight_bit(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise DataError(f"{path} is broken or no image; repair or remove it") from None


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits, which PIL would clip."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8))


def _read(folder: Path, name: str) -> Split:
    arrays = (np.load(folder / f"{name}_{part}.npy", mmap_mode="c") for part in ("images", "labels"))
    images, labels = (torch.from_numpy(array) for array in arrays)
    return Split(images, labels)
