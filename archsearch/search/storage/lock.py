"""A lock per study, so that one process runs it at a time; it ends with its process, on whichever machine.

For SQLite it is a file lock beside the database. For PostgreSQL it is an advisory lock of the server, which lasts as
long as the connection that holds it: the server notices at once when a process dies, and within a minute when its
machine does. No clocks are compared.
"""

import hashlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir

import optuna
from filelock import FileLock, Timeout
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from archsearch.errors import StorageError
from archsearch.search.storage.opening import CONNECT, open_storage, sqlite_path, storage_url

#: Study attribute that names the process that runs the study, for error messages.
OWNER = "owner"
#: Server settings for noticing a dead client: idle seconds, seconds between probes, number of probes.
KEEPALIVE = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}

#: Query that ends a process of the server if it holds the lock of a key.
GHOST = text(
    "SELECT bool_or(pg_terminate_backend(pid)) FROM pg_locks "
    "WHERE locktype = 'advisory' AND pid = :pid AND classid = :high AND objid = :low"
)
#: Tenths of a second to wait for the server to end one of its processes.
GHOST_TRIES = 50


@contextmanager
def owned(study_name: str, url: str) -> Iterator[Callable[[], None]]:
    """Lock a study for this process.

    Args:
        study_name: Name of the study.
        url: URL of the storage, which exists.

    Yields:
        Function to call before each write to the study; raises StorageError if another process has taken it over.

    Raises:
        StorageError: Another process runs the study.
    """
    if storage_url(url).get_backend_name() == "postgresql":
        owner = _ServerLock(study_name, url)
        try:
            owner.take("is being run by another process{who}; wait for it, or choose another --study-name")
            yield owner.check
        finally:
            owner.release()
        return
    lock = FileLock(lock_path(url, study_name), blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise StorageError(
            f"study {study_name!r} is being run by another process; wait for it, or choose another --study-name"
        ) from None
    try:
        yield lambda: None
    finally:
        lock.release()


def sign(record: optuna.Study) -> None:
    """Record in a study which process runs it."""
    record.set_user_attr(OWNER, f"process {os.getpid()} on {platform.node()}")


def lock_path(url: str, study_name: str) -> Path:
    """Return the path of a study's lock file: beside an SQLite database, else in the temporary folder."""
    path = sqlite_path(url)
    place = str(path.resolve()) if path else url
    digest = hashlib.sha256(f"{place}\n{study_name}".encode()).hexdigest()[:16]
    folder = path.resolve().parent if path else Path(gettempdir())
    return folder / f".archsearch-{digest}.lock"


class _ServerLock:
    """An advisory lock of a PostgreSQL server, held by a connection of its own."""

    def __init__(self, study_name: str, url: str) -> None:
        self.study_name, self.url = study_name, url
        self.key = int.from_bytes(hashlib.sha256(f"archsearch/{study_name}".encode()).digest()[:8], "big", signed=True)
        arguments = CONNECT["postgresql"]
        # A connection outside any pool, since the lock belongs to the connection.
        self.engine = create_engine(
            storage_url(url), poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments
        )
        self.connection: Connection | None = None
        self.pid: int | None = None  # process of the server that holds the lock

    def take(self, complaint: str) -> None:
        connection = self.engine.connect()
        try:
            for name, value in KEEPALIVE.items():
                connection.exec_driver_sql(f"SET {name} = {value}")
            if not self._lock(connection):
                raise StorageError(f"study {self.study_name!r} {complaint.format(who=self._holder())}")
            self.pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        except BaseException:
            _drop(connection)
            raise
        self.connection = connection

    def check(self) -> None:
        """Take the lock again if the server was restarted or the connection was lost.

        Raises:
            StorageError: Another process has taken the lock.
            SQLAlchemyError: The server cannot be reached.
        """
        try:
            if self.connection is not None:
                self.connection.exec_driver_sql("SELECT 1")
                return
        except DBAPIError:
            self.release()
        self.take("was taken over by another process{who} while the storage was out of reach; it goes on there")

    def _lock(self, connection: Connection) -> bool:
        wanted = f"SELECT pg_try_advisory_lock({self.key})"
        if connection.exec_driver_sql(wanted).scalar():
            return True
        if self.pid is None or not self._end_ghost(connection):
            return False
        for _ in range(GHOST_TRIES):  # the ended process releases the lock within moments
            time.sleep(0.1)
            if connection.exec_driver_sql(wanted).scalar():
                return True
        return False

    def _end_ghost(self, connection: Connection) -> bool:
        """End the server's process of a lost connection if it still holds the lock; return whether it did."""
        ghost = {"pid": self.pid, "high": (self.key >> 32) & 0xFFFFFFFF, "low": self.key & 0xFFFFFFFF}
        return bool(connection.execute(GHOST, ghost).scalar())

    def release(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            _drop(connection)

    def _holder(self) -> str:
        with suppress(Exception):  # the name only completes a message
            storage = open_storage(self.url, create=False)
            owner = optuna.load_study(study_name=self.study_name, storage=storage).user_attrs.get(OWNER)
            return f" ({owner})" if owner else ""
        return ""


def _drop(connection: Connection) -> None:
    with suppress(SQLAlchemyError):
        connection.invalidate()
        connection.close()
