"""Opening an Optuna storage, with a clear word where that cannot be done; nothing is written on the way."""

import os
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

import optuna
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from archsearch.errors import StorageError

#: Seconds to wait for another program that holds an SQLite file.
SQLITE_TIMEOUT = 60

optuna.logging.set_verbosity(optuna.logging.ERROR)


def _as_url(text: str) -> str:
    return text if "://" in text else f"sqlite:///{text}"


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL (or of a plain path); None for other databases.

    Raises:
        StorageError: it is no URL at all.
    """
    try:
        parts = make_url(_as_url(url))
    except ArgumentError:
        raise StorageError(f"{url} is no storage URL; for a file write sqlite:///runs/archsearch.db") from None
    return Path(parts.database) if parts.drivername.startswith("sqlite") and parts.database else None


def check_storage(url: str, *, create: bool) -> None:
    """Looks at an SQLite file without changing it.

    Raises:
        StorageError: as ``open_storage``.
    """
    path = sqlite_path(url)
    if path is not None:
        _check_sqlite(path, create)


def open_storage(url: str, *, create: bool) -> BaseStorage:
    """Opens a storage.

    Args:
        url: an SQLAlchemy URL (``sqlite:///runs/archsearch.db``) or the path of an SQLite file.
        create: whether to make it when it is not there yet.

    Raises:
        StorageError: it is not there, not writable, or not Optuna's.
    """
    url = _as_url(url)
    check_storage(url, create=create)
    path = sqlite_path(url)
    try:
        if path is not None and create:
            path.parent.mkdir(parents=True, exist_ok=True)
        kwargs = {"connect_args": {"timeout": SQLITE_TIMEOUT}} if path is not None else {}
        return RDBStorage(url, engine_kwargs=kwargs)
    except OSError as error:
        raise _unwritable(path, error.strerror) from None
    except (SQLAlchemyError, ImportError, RuntimeError) as error:
        shown = urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()
        raise StorageError(f"cannot open the storage {shown}: {str(error).splitlines()[0]}") from None


def _unwritable(path: Path | None, reason: str | None) -> StorageError:
    return StorageError(f"cannot write {path}: {reason}; give --storage another place")


def _check_sqlite(path: Path, create: bool) -> None:
    if not path.exists():
        if not create:
            raise StorageError(f"there is no storage {path}; run a study first, or give --storage URL")
        nearest = next(folder for folder in path.absolute().parents if folder.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise _unwritable(path, f"{nearest} is no folder that you may write to")
        return
    try:
        with path.open("r+b" if create else "rb"):
            pass
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            tables = {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
    except OSError as error:
        raise _unwritable(path, error.strerror) from None
    except sqlite3.Error as error:
        raise StorageError(f"{path} is no SQLite database ({error}); give --storage another file") from None
    if tables and not {"studies", "trials", "version_info"} <= tables:
        raise StorageError(f"{path} is the database of another program; give --storage another file")
