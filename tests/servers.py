"""PostgreSQL servers for tests, on the loopback interface."""

import os
import pwd
import shutil
import socket
import subprocess
import uuid
from pathlib import Path

from sqlalchemy import create_engine, text


def postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, or None where they are not installed."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """A server with its own data folder and port, started at once."""

    def __init__(self, folder: Path) -> None:
        programs = postgres_programs()
        assert programs is not None
        self.programs, self.folder, self.port = programs, folder / "data", free_port()
        folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:  # the server refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
        self._do("initdb", "-D", self.folder, "-U", "archsearch", "--auth=trust", "--no-sync")
        options = f"-p {self.port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.options = options
        self.start()

    def start(self) -> None:
        self._do("pg_ctl", "-D", self.folder, "-w", "-o", self.options, "-l", self.folder.parent / "log", "start")

    def stop(self, mode: str = "fast") -> None:
        self._do("pg_ctl", "-D", self.folder, "-w", "-m", mode, "stop")

    def database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"t{uuid.uuid4().hex[:12]}"
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url(name).replace("+psycopg", "")

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://archsearch@127.0.0.1:{self.port}/{database}"

    def _do(self, program: str, *words) -> None:
        as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*as_user, self.programs / program, *words]
        # The server would keep a pipe open, and its reader waiting.
        done = subprocess.run(
            list(map(str, command)), cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
        assert done.returncode == 0, command
