"""Opening an Optuna storage, with a clear word where that cannot be done."""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import OptunaError, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb.models import TrialModel, TrialSystemAttributeModel, TrialUserAttributeModel
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from archsearch.errors import ArchsearchError, StorageError

#: Arguments of a connection, by kind of database: how many seconds to wait for another program that holds an
#: SQLite file, or for a server that does not answer.
CONNECT: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": 20},
    "postgresql": {
        "connect_timeout": 10,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    },
}

optuna.logging.set_verbosity(optuna.logging.ERROR)


def storage_url(text: str) -> URL:
    """The URL of a storage, or of the path of an SQLite file; PostgreSQL with the driver that is installed.

    Raises:
        StorageError: it is none.

    >>> storage_url("runs/a.db").database
    'runs/a.db'
    """
    try:
        url = make_url(text if "://" in text or not text else f"sqlite:///{text}")
    except ArgumentError:
        raise StorageError(f"{text!r} is no storage URL; for a file write sqlite:///runs/archsearch.db") from None
    if url.drivername in ("postgresql", "postgres") and not find_spec("psycopg2"):
        return url.set(drivername="postgresql+psycopg")
    return url


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL (or of a plain path); None for other databases.

    Raises:
        StorageError: it is no URL at all, or an SQLite database in memory, which would not last.
    """
    parts = storage_url(url)
    if not parts.drivername.startswith("sqlite"):
        return None
    if parts.database in (None, "", ":memory:"):
        raise StorageError(f"{url!r} would not outlast the program; write sqlite:///runs/archsearch.db")
    return Path(str(parts.database))


def masked(url: str) -> str:
    """The URL without its passwords, for people and pages.

    >>> masked("postgresql://me:secret@host/db?sslpassword=x")
    'postgresql://me:***@host/db?sslpassword=***'
    >>> masked("runs/a.db")
    'runs/a.db'
    """
    if "://" not in url:
        return url
    parts = make_url(url)
    hidden = {key: "***" for key in parts.query if "pass" in key or "secret" in key or "token" in key}
    return parts.update_query_dict(hidden).render_as_string(hide_password=True).replace("%2A", "*")


def check_storage(url: str, *, create: bool) -> None:
    """Looks at a storage's SQLite file without changing anything.

    Args:
        url: as for ``open_storage``.
        create: whether it is going to be written to.

    Raises:
        StorageError: as ``open_storage``.
    """
    path = sqlite_path(url)
    if path is None:
        return
    if path.exists():
        _check_tables(path, create)
    elif create:
        check_place(path, "--storage")
    else:
        raise StorageError(f"there is no storage {path}; run a study first, or give --storage URL")


@contextmanager
def in_words() -> Iterator[None]:
    """Says in one line what a storage has to complain about.

    Raises:
        ArchsearchError: instead of what Optuna and SQLAlchemy raise.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        reason = reason_of(error)
        raise ArchsearchError(f"the storage cannot be used: {reason}; see to that, then repeat this command") from error


def reason_of(error: Exception) -> str:
    """What the database itself says, in one line."""
    cause = error if isinstance(error, SQLAlchemyError) else error.__cause__
    original = getattr(cause, "orig", None) or cause or error
    return (str(original).strip().splitlines() or [type(original).__name__])[0]


def check_place(path: Path, option: str) -> None:
    """Whether a file could be written, as far as looking tells.

    Raises:
        StorageError: it could not; the message names the option to change.
    """
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        where = f"{path} is a folder" if path.is_dir() else f"{nearest} is no folder that you may write to"
        raise StorageError(f"cannot write {path}: {where}; give {option} another place")


def open_storage(url: str, *, create: bool) -> BaseStorage:
    """Opens a storage.

    Args:
        url: an SQLAlchemy URL (``sqlite:///runs/archsearch.db``) or the path of an SQLite file.
        create: whether to make it when it is not there yet.

    Raises:
        StorageError: it is not there, not writable, or not Optuna's.
    """
    check_storage(url, create=create)
    path = sqlite_path(url)
    try:
        if path is not None and create:
            path.parent.mkdir(parents=True, exist_ok=True)
        address = storage_url(url)
        kwargs = {"connect_args": CONNECT.get(address.get_backend_name(), {}), "pool_pre_ping": path is None}
        return RDBStorage(address.render_as_string(hide_password=False), engine_kwargs=kwargs)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; give --storage another place") from None
    except ModuleNotFoundError as error:
        raise StorageError(
            f"{masked(url)} needs {error.name}, which is not installed; "
            "for PostgreSQL: pip install 'archsearch[postgresql]'"
        ) from None
    except (SQLAlchemyError, OptunaError, ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise StorageError(f"cannot open the storage {masked(url)}: {reason}; check --storage") from None


def set_attrs(
    storage: BaseStorage, trial_id: int, user: Mapping[str, Any], system: Mapping[str, Any] | None = None
) -> None:
    """Sets attributes of a trial in one transaction; Optuna's own way is one each, and each waits for the disk.

    Raises:
        StorageInternalError, SQLAlchemyError: what the storage has to complain about.
    """
    backend: Any = getattr(storage, "_backend", storage)
    if not hasattr(backend, "scoped_session"):
        for name, value in user.items():
            storage.set_trial_user_attr(trial_id, name, value)
        for name, value in (system or {}).items():
            storage.set_trial_system_attr(trial_id, name, value)
        return
    with backend.scoped_session() as session:
        for model, attrs in ((TrialUserAttributeModel, user), (TrialSystemAttributeModel, system or {})):
            for name, value in attrs.items():
                backend._set_trial_attr_without_commit(session, model, trial_id, name, value)
        session.commit()


def attribute_rows(storage: BaseStorage, key: str, after: int) -> list[tuple[int, int, int, Any]]:
    """An attribute of the trials of all studies; where trials are kept in SQL, in one query of what has come since.

    Args:
        storage: that holds them.
        key: of the attribute.
        after: number of a row; only later ones are wanted. A storage that has no rows gives everything, as row 0.

    Returns:
        Row, study, trial (as the storage numbers them) and value.
    """
    backend: Any = getattr(storage, "_backend", storage)
    if not hasattr(backend, "scoped_session"):
        studies = storage.get_all_studies()
        trials = ((s._study_id, t) for s in studies for t in storage.get_all_trials(s._study_id, deepcopy=False))
        return [(0, study, t._trial_id, t.user_attrs[key]) for study, t in trials if key in t.user_attrs]
    row = TrialUserAttributeModel
    columns = (row.trial_user_attribute_id, TrialModel.study_id, TrialModel.trial_id, row.value_json)
    with backend.scoped_session() as session:
        query = session.query(*columns).join(TrialModel, TrialModel.trial_id == row.trial_id)
        found = query.filter(row.trial_user_attribute_id > after, row.key == key).all()
    return [(number, study, trial, json.loads(value)) for number, study, trial, value in found]


def _check_tables(path: Path, create: bool) -> None:
    try:
        with path.open("r+b" if create else "rb"):
            pass
        # Where a writer was killed, the next to open the file has to be allowed to undo what was half written.
        mode = "rw" if os.access(path, os.W_OK) else "ro"
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True)) as connection:
            tables = {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; give --storage another place") from None
    except sqlite3.OperationalError as error:
        raise StorageError(f"{path} is in use by another program ({error}); wait for it and repeat") from None
    except sqlite3.Error as error:
        raise StorageError(f"{path} is no SQLite database ({error}); give --storage another file") from None
    if tables and not {"studies", "trials", "version_info"} <= tables:
        raise StorageError(f"{path} is the database of another program; give --storage another file")
    if not tables and not create:
        raise StorageError(f"{path} holds no study yet; run one first, or give --storage URL")
