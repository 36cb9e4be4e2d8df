"""Where a process that times gets its jobs from: the process that started it, or several processes of one run."""

import json
import os
import queue
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any, TextIO

#: Seconds that a shared process waits for its first client.
FIRST_S = 60.0
#: Address of this machine alone.
HERE = "127.0.0.1"


@dataclass(eq=False)
class Request:
    """A job, and where its events go.

    Attributes:
        job: The job, a line of JSON.
        write: Function that sends a line of JSON to whom the job belongs to.
        waited: Whether other jobs were before it.
        cancelled: Whether nobody waits for its results any more.
        done: Whether it has its results, or an error.
    """

    job: str
    write: Callable[[str], None]
    waited: bool = False
    cancelled: bool = False
    done: bool = False

    def say(self, event: str, **details: Any) -> None:
        """Send an event."""
        self.write(json.dumps({"event": event, **details}))

    def end(self, event: str, **details: Any) -> None:
        """Send the last event."""
        self.done = True
        self.say(event, **details)


class OneClient:
    """Jobs from stdin, events to stdout; the process ends at once when stdin does, whatever it is doing."""

    def __init__(self) -> None:
        """Keep the real stdout for events; anything else that is printed goes to stderr."""
        self._events: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def greet(self, event: str, **details: Any) -> None:
        """Say that the process is ready, or why it cannot be."""
        Request("", self._write).say(event, **details)

    def refuse(self) -> None:
        """Return at once: whoever started the process has been told."""

    def requests(self) -> Iterator[Request]:
        """Yield jobs as they come."""
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            yield Request(self._lines.get(), self._write)

    def _read(self) -> None:
        for line in sys.stdin:
            self._lines.put(line)
        os._exit(0)

    def _write(self, line: str) -> None:
        self._events.write(line + "\n")
        self._events.flush()


class Clients:
    """Jobs of several processes of one run, one after another.

    The process ends when the last of them has gone, and at once when the one whose job it is at has: only that frees
    the device from a network that hangs. The others send their jobs to a new process.
    """

    def __init__(self, address: Path) -> None:
        """Listen, and let others know where.

        Args:
            address: File for the port and the key that clients need; only this user can read its folder.
        """
        os.dup2(2, 1)  # nobody reads what is printed
        key = secrets.token_bytes(32)
        self._listener, self.address = Listener((HERE, 0), authkey=key), address
        self._greeting: tuple[str, dict[str, Any]] | None = None
        self._greeted = threading.Event()
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._clients: set[int] = set()
        self._open: list[Request] = []  # the current one first, then those that wait
        self._lock = threading.Lock()
        scratch = address.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps({"port": self._listener.address[1], "key": key.hex()}))
        scratch.replace(address)
        self._late = threading.Timer(FIRST_S, self._end)
        self._late.daemon = True
        self._late.start()
        threading.Thread(target=self._accept, daemon=True).start()

    def greet(self, event: str, **details: Any) -> None:
        """Say to all who come that the process is ready, or why it cannot be."""
        self._greeting = event, details
        self._greeted.set()

    def refuse(self) -> None:
        """Tell those who come, until the process ends with the last of them."""
        threading.Event().wait(FIRST_S)

    def requests(self) -> Iterator[Request]:
        """Yield jobs in the order in which they came."""
        while True:
            request = self._requests.get()
            if not request.cancelled:
                request.say("begun")
                if request.waited:
                    request.say("going_on")
                yield request
            with self._lock:
                self._open.remove(request)

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()
            except (OSError, EOFError, AuthenticationError):  # not one of ours, or gone already
                continue
            with self._lock:
                self._late.cancel()
                self._clients.add(id(client))
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: "Connection[Any, Any]") -> None:
        last: Request | None = None

        def write(line: str) -> None:
            try:
                client.send(line)
            except OSError:  # ``_serve`` notices
                return

        self._greeted.wait()
        assert self._greeting is not None  # noqa: S101 - it is set by now
        Request("", write).say(self._greeting[0], **self._greeting[1])
        try:
            while True:
                last = Request(client.recv(), write)
                self._enter(last)
        except (EOFError, OSError):
            self._gone(id(client), last)

    def _enter(self, request: Request) -> None:
        with self._lock:
            request.waited = bool(self._open)
            self._open.append(request)
        if request.waited:
            request.say("waiting", holder="")
        self._requests.put(request)

    def _gone(self, client: int, last: Request | None) -> None:
        with self._lock:
            self._clients.discard(client)
            at_it = last is not None and last in self._open[:1] and not last.done
            if at_it or not self._clients:
                self._end()
            if last is not None:
                last.cancelled = True

    def _end(self) -> None:
        self.address.unlink(missing_ok=True)
        os._exit(0)
