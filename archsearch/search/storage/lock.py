"""One process per study: a lock that ends with its process, whichever machine that runs on.

Beside an SQLite file it is a lock on a file. In PostgreSQL it is an advisory lock of the server's, which lasts
as long as the connection that holds it: the server notices at once when a process dies, and within a minute
when its machine does. No clock takes part.
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

#: Study attribute that says who runs the study, for people.
OWNER = "owner"
#: How the server finds out that the other end is gone: after so many seconds, asking so often, so many times.
KEEPALIVE = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}

#: Ends the process of the server's that holds the lock of a key, if it is the one that is meant.
GHOST = text(
    "SELECT bool_or(pg_terminate_backend(pid)) FROM pg_locks "
    "WHERE locktype = 'advisory' AND pid = :pid AND classid = :high AND objid = :low"
)
#: Tenths of a second for the server to end a process of its own.
GHOST_TRIES = 50


@contextmanager
def owned(study_name: str, url: str) -> Iterator[Callable[[], None]]:
    """Holds a study for this process.

    Args:
        study_name: in the storage.
        url: of the storage, which is there.

    Yields:
        To be called before the study is written to: makes sure that it is still this process's.

    Raises:
        StorageError: another process runs the study.
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
    """Notes in a study who runs it."""
    record.set_user_attr(OWNER, f"process {os.getpid()} on {platform.node()}")


def lock_path(url: str, study_name: str) -> Path:
    """The file whose lock means owning a study: beside an SQLite file, else among temporary files."""
    path = sqlite_path(url)
    place = str(path.resolve()) if path else url
    digest = hashlib.sha256(f"{place}\n{study_name}".encode()).hexdigest()[:16]
    folder = path.resolve().parent if path else Path(gettempdir())
    return folder / f".archsearch-{digest}.lock"


class _ServerLock:
    """An advisory lock of a PostgreSQL server."""

    def __init__(self, study_name: str, url: str) -> None:
        self.study_name, self.url = study_name, url
        self.key = int.from_bytes(hashlib.sha256(f"archsearch/{study_name}".encode()).digest()[:8], "big", signed=True)
        arguments = CONNECT["postgresql"]
        # Its own connection, of no pool: the lock is the connection's.
        self.engine = create_engine(
            storage_url(url), poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments
        )
        self.connection: Connection | None = None
        self.pid: int | None = None  # of the server's process that holds the lock

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
        """Takes the lock again where the server has restarted or the connection was lost.

        Raises:
            StorageError: another process was faster.
            SQLAlchemyError: the server is away.
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
        for _ in range(GHOST_TRIES):  # ended, it gives the lock back in a moment
            time.sleep(0.1)
            if connection.exec_driver_sql(wanted).scalar():
                return True
        return False

    def _end_ghost(self, connection: Connection) -> bool:
        """Ends the server's end of a connection that this one's end has lost, if that still holds the lock."""
        ghost = {"pid": self.pid, "high": (self.key >> 32) & 0xFFFFFFFF, "low": self.key & 0xFFFFFFFF}
        return bool(connection.execute(GHOST, ghost).scalar())

    def release(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            _drop(connection)

    def _holder(self) -> str:
        with suppress(Exception):  # only for the message
            storage = open_storage(self.url, create=False)
            owner = optuna.load_study(study_name=self.study_name, storage=storage).user_attrs.get(OWNER)
            return f" ({owner})" if owner else ""
        return ""


def _drop(connection: Connection) -> None:
    with suppress(SQLAlchemyError):
        connection.invalidate()
        connection.close()
