"""Device locks: timing has the device exclusively, trainings share it.

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

#: Seconds to wait for a lock before its holder is reported.
PATIENCE = 2.0

#: Callback that takes who holds the device, in words; called once if the lock has to be waited for.
OnWait = Callable[[str], None]


def ignore_wait(holder: str) -> None:
    """Ignore that the device has to be waited for."""


@contextmanager
def timing_lock(device: str, on_wait: OnWait = ignore_wait) -> Iterator[None]:
    """Hold a device for timing: no other process of the same user times or trains on it meanwhile.

    Args:
        device: Identity of the device, from ``archsearch.nn.device.identity``.
        on_wait: Callback that takes who holds the device, if it has to be waited for.
    """
    with _held(device, "timing", on_wait):
        yield


@contextmanager
def training_lock(device: str, on_wait: OnWait = ignore_wait) -> Iterator[None]:
    """Hold a device for training: others may train on it too, but not time.

    Args:
        device: Identity of the device.
        on_wait: Callback that takes who holds the device, if it has to be waited for.
    """
    with _held(device, "training", on_wait):
        yield


def cpu_work_lock(device: torch.device, on_wait: OnWait = ignore_wait) -> AbstractContextManager[None]:
    """Keep other work of the processor from running beside a timing on it.

    Args:
        device: Device that timings run on; where it is no CPU, nothing has to be held.
        on_wait: Callback that takes who holds the device, if it has to be waited for.
    """
    return training_lock(identity(device), on_wait) if device.type == "cpu" else nullcontext()


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


def _take(take: Callable[..., object], report: Callable[[], None]) -> None:
    """Take a lock; call ``report`` once if that takes longer than ``PATIENCE``."""
    reported, start = False, time.monotonic()
    while True:
        try:
            take(timeout=PATIENCE / 4)
            return
        except Timeout:
            if not reported and time.monotonic() - start > PATIENCE:
                report()
                reported = True


def _folder(device: str) -> Path:
    """Return the folder of a device's lock, one per user: other users' work is detected, not locked out."""
    name = f"archsearch-{os.getuid()}" if hasattr(os, "getuid") else "archsearch"
    folder = Path(tempfile.gettempdir()) / name / re.sub(r"[^\w.-]", "_", device)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _holders(folder: Path) -> str:
    """Return in words who holds a device; notes of processes that are gone are deleted."""
    words = []
    for note in sorted(folder.glob("*.json")):
        try:
            holder = json.loads(note.read_text())
            if os.name == "posix":
                os.kill(int(note.stem), 0)
        except ProcessLookupError:
            note.unlink(missing_ok=True)
        except (OSError, ValueError):
            continue
        else:
            words.append(f"process {note.stem} is {holder['purpose']} ({holder['command']})")
    return "; ".join(words) or "another process holds it"
