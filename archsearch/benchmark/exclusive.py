"""The device for one purpose at a time: timing has it alone, training shares it with other training.

The locks are the operating system's: they end with the process that holds them, however it ends.
"""

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from filelock import ReadWriteLock, Timeout

from archsearch.nn.device import identity

#: Seconds between two looks at a lock that somebody else holds, while saying so.
PATIENCE = 2.0

#: Told who holds a device, once, when it has to be waited for.
OnWait = Callable[[str], None]


def nobody(holder: str) -> None:
    """Tells nobody that a device is waited for."""


@contextmanager
def alone(device: str, on_wait: OnWait = nobody) -> Iterator[None]:
    """Holds a device for timing: no other process of the user's times or trains on it meanwhile.

    Args:
        device: its identity, of ``archsearch.nn.device.identity``.
        on_wait: told who holds it, if somebody does.
    """
    with _held(device, "timing", on_wait):
        yield


@contextmanager
def shared(device: str, on_wait: OnWait = nobody) -> Iterator[None]:
    """Holds a device for training: others may train on it too, but nobody times."""
    with _held(device, "training", on_wait):
        yield


def aside(device: torch.device, on_wait: OnWait = nobody) -> AbstractContextManager[None]:
    """Keeps work of the processor's, whatever it is for, from running beside a timing on it.

    Args:
        device: that timings are of; they are none of the processor's business where it is another.
        on_wait: as for ``alone``.
    """
    return shared(identity(device), on_wait) if device.type == "cpu" else nullcontext()


@contextmanager
def _held(device: str, purpose: str, on_wait: OnWait) -> Iterator[None]:
    folder = _folder(device)
    lock = ReadWriteLock(str(folder / "lock.db"), is_singleton=False)
    take = lock.acquire_write if purpose == "timing" else lock.acquire_read
    try:
        _take(take, lambda: on_wait(_holders(folder)))
        note = folder / f"{os.getpid()}.json"
        note.write_text(json.dumps({"purpose": purpose, "command": " ".join(sys.argv)[:200]}))
        try:
            yield
        finally:
            note.unlink(missing_ok=True)
            lock.release()
    finally:
        lock.close()


def _take(take: Callable[..., object], tell: Callable[[], None]) -> None:
    told, start = False, time.monotonic()
    while True:
        try:
            take(timeout=PATIENCE / 4)
            return
        except Timeout:
            if not told and time.monotonic() - start > PATIENCE:
                tell()
                told = True


def _folder(device: str) -> Path:
    """A user's own, on this machine: other users' work on the device is looked for, not locked out."""
    name = f"archsearch-{os.getuid()}" if hasattr(os, "getuid") else "archsearch"
    folder = Path(tempfile.gettempdir()) / name / re.sub(r"[^\w.-]", "_", device)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _holders(folder: Path) -> str:
    """Who holds a device, in words; notes of processes that are gone are cleared away."""
    words = []
    for note in sorted(folder.glob("*.json")):
        try:
            told = json.loads(note.read_text())
            if os.name == "posix":
                os.kill(int(note.stem), 0)
        except ProcessLookupError:
            note.unlink(missing_ok=True)
        except (OSError, ValueError):
            continue
        else:
            words.append(f"process {note.stem} is {told['purpose']} ({told['command']})")
    return "; ".join(words) or "another process holds it"
