"""Opening of Optuna storages, with one clear line where that fails."""

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
from optuna.storages._rdb.models import BaseModel, TrialModel, TrialSystemAttributeModel, TrialUserAttributeModel
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError

from archsearch.errors import ArchsearchError, StorageError, first_line

#: Tables of an Optuna storage; a file with only some of them is being created, or its creator was killed.
TABLES = {*BaseModel.metadata.tables, "alembic_version"}
#: Attempts at opening a storage; each may find another table that another process has just created.
OPENINGS = 20
#: Arguments of a connection by type of database: seconds to wait for another program that locks an SQLite file, or
#: for a server that does not answer.
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
    """Parse the URL of a storage, or the path of an SQLite file; PostgreSQL gets the driver that is installed.

    Raises:
        StorageError: The text is not a URL.

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
    """Return the file of an SQLite URL or of a plain path; None for other databases.

    Raises:
        StorageError: The text is not a URL, or names an SQLite database in memory, which would be lost.
    """
    parts = storage_url(url)
    if not parts.drivername.startswith("sqlite"):
        return None
    if parts.database in (None, "", ":memory:"):
        raise StorageError(f"{url!r} would not outlast the program; write sqlite:///runs/archsearch.db")
    return Path(str(parts.database))


def folder_beside(url: str) -> Path:
    """Return the folder for what belongs to a storage: that of the SQLite file, for other databases runs/.

    Raises:
        StorageError: As for ``sqlite_path``.

    >>> str(folder_beside("here/a.db")), str(folder_beside("postgresql://me@host/db"))
    ('here', 'runs')
    """
    database = sqlite_path(url)
    return database.parent if database else Path("runs")


def masked(url: str) -> str:
    """Return the URL without its passwords, for messages and pages.

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
    """Check the SQLite file of a storage without changing it.

    Args:
        url: URL as for ``open_storage``.
        create: Whether the storage will be written to.

    Raises:
        StorageError: The storage cannot be opened; see ``open_storage``.
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
    """Turn errors of a storage into one line.

    Raises:
        ArchsearchError: Instead of an error of Optuna or SQLAlchemy.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        reason = reason_of(error)
        raise ArchsearchError(f"the storage cannot be used: {reason}; fix that, then repeat this command") from error


def reason_of(error: Exception) -> str:
    """Return the message of the database itself, in one line."""
    cause = error if isinstance(error, SQLAlchemyError) else error.__cause__
    original = getattr(cause, "orig", None) or cause or error
    return first_line(original)


def check_place(path: Path, option: str) -> None:
    """Check that a file can be written, without writing it.

    Args:
        path: Path of the file.
        option: Name of the option that gave the path, for the message.

    Raises:
        StorageError: The file cannot be written.
    """
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        where = f"{path} is a folder" if path.is_dir() else f"{nearest} is no folder that you may write to"
        raise StorageError(f"cannot write {path}: {where}; give {option} another place")


def open_storage(url: str, *, create: bool) -> BaseStorage:
    """Open a storage.

    Args:
        url: SQLAlchemy URL (``sqlite:///runs/archsearch.db``) or path of an SQLite file.
        create: Whether to create a storage that does not exist yet.

    Raises:
        StorageError: The storage does not exist, cannot be written to, or is not one of Optuna.
    """
    check_storage(url, create=create)
    path = sqlite_path(url)
    try:
        if path is not None and create:
            path.parent.mkdir(parents=True, exist_ok=True)
        address = storage_url(url)
        kwargs = {"connect_args": CONNECT.get(address.get_backend_name(), {}), "pool_pre_ping": path is None}
        return _connected(address.render_as_string(hide_password=False), kwargs)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; give --storage another place") from None
    except ModuleNotFoundError as error:
        raise StorageError(
            f"{masked(url)} needs {error.name}, which is not installed; "
            "for PostgreSQL: pip install 'archsearch[postgresql]'"
        ) from None
    except (SQLAlchemyError, OptunaError, ImportError, RuntimeError) as error:
        raise StorageError(f"cannot open the storage {masked(url)}: {first_line(error)}; check --storage") from None


def _connected(address: str, engine_kwargs: dict[str, Any]) -> RDBStorage:
    """Connect to a database; one whose tables another process creates at the same time is tried again.

    Optuna looks which tables and versions are missing and then writes them, so that the slower of two processes fails.
    """
    for attempt in range(1, OPENINGS + 1):
        try:
            return RDBStorage(address, engine_kwargs=engine_kwargs)
        except DBAPIError as error:
            another = isinstance(error, IntegrityError) or "already exists" in str(error)
            if not another or attempt == OPENINGS:
                raise
    raise AssertionError("unreachable")


def set_attrs(
    storage: BaseStorage, trial_id: int, user: Mapping[str, Any], system: Mapping[str, Any] | None = None
) -> None:
    """Set attributes of a trial in one transaction; Optuna would use one each, and each waits for the disk.

    Args:
        storage: Storage that holds the trial.
        trial_id: Id of the trial in the storage.
        user: User attributes, JSON-ready.
        system: System attributes, JSON-ready.

    Raises:
        StorageInternalError, SQLAlchemyError: The storage failed.
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
    """Return an attribute of the trials of all studies; for SQL, of the rows added since the last call, in one query.

    Args:
        storage: Storage that holds the studies.
        key: Name of the attribute.
        after: Number of a row; only later rows are returned. A storage without rows returns everything, as row 0.

    Returns:
        Row, study id, trial id and value of each trial with the attribute.
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
        # After a writer was killed, the next to open the file must be able to undo an unfinished transaction.
        mode = "rw" if os.access(path, os.W_OK) else "ro"
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True)) as connection:
            tables = {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; give --storage another place") from None
    except sqlite3.OperationalError as error:
        raise StorageError(f"{path} is in use by another program ({error}); wait for it and repeat") from None
    except sqlite3.Error as error:
        raise StorageError(f"{path} is no SQLite database ({error}); give --storage another file") from None
    if tables and not {"studies", "trials", "version_info"} <= tables and not tables <= TABLES:
        raise StorageError(f"{path} is the database of another program; give --storage another file")
    if not tables and not create:
        raise StorageError(f"{path} holds no study yet; run one first, or give --storage URL")
