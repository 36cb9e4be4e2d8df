"""Device locks: timing has the device exclusively, trainings share it.

The locks are the operating system's: they end with the process that holds them, however it ends.
"""

import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from filelock import ReadWriteLock, Timeout

from archsearch.nn.device import identity
from archsearch.trial import OWN, OnWait, ignore_wait

#: Seconds to wait for a lock before its holder is reported.
PATIENCE = 2.0

#: File whose time is that at which a lock was given back last.
ENDED = "ended"


@contextmanager
def timing_lock(device: str, on_wait: OnWait = ignore_wait, run: str = "") -> Iterator[None]:
    """Hold a device for timing: no other process of the same user times or trains on it meanwhile.

    Args:
        device: Identity of the device, from ``archsearch.nn.device.identity``.
        on_wait: Callback for a wait.
        run: Name of the run that this process belongs to, which all processes of a study share.
    """
    with _held(device, "timing", on_wait, run):
        yield


@contextmanager
def training_lock(device: str, on_wait: OnWait = ignore_wait, run: str = "") -> Iterator[None]:
    """Hold a device for training: others may train on it too, but not time.

    Args:
        device: Identity of the device.
        on_wait: Callback for a wait.
        run: Name of the run that this process belongs to.
    """
    with _held(device, "training", on_wait, run):
        yield


def given_back_within(device: str, seconds: float) -> bool:
    """Return whether a process of this user gave the device's lock back at most so many seconds ago.

    Args:
        device: Identity of the device.
        seconds: Seconds before now.
    """
    try:
        return 0 <= time.time() - (lock_folder(device) / ENDED).stat().st_mtime <= seconds
    except OSError:
        return False


def cpu_work_lock(device: torch.device, on_wait: OnWait = ignore_wait, run: str = "") -> AbstractContextManager[None]:
    """Keep other work of the processor from running beside a timing on it.

    Args:
        device: Device that timings run on; where it is no CPU, nothing has to be held.
        on_wait: Callback for a wait.
        run: Name of the run that this process belongs to.
    """
    return training_lock(identity(device), on_wait, run) if device.type == "cpu" else nullcontext()


@contextmanager
def _held(device: str, purpose: str, on_wait: OnWait, run: str) -> Iterator[None]:
    folder = lock_folder(device)
    lock = ReadWriteLock(str(folder / "lock.db"), is_singleton=False)
    take = lock.acquire_write if purpose == "timing" else lock.acquire_read
    try:
        if _take(take, lambda: on_wait(_holders(folder, run))):
            on_wait(None)
        note = folder / f"{os.getpid()}-{threading.get_ident()}.json"
        note.write_text(json.dumps({"purpose": purpose, "command": " ".join(sys.argv)[:200], "run": run}))
        try:
            yield
        finally:
            note.unlink(missing_ok=True)
            (folder / ENDED).touch()
            lock.release()
    finally:
        lock.close()


def _take(take: Callable[..., object], report: Callable[[], None]) -> bool:
    """Take a lock; call ``report`` once if that takes longer than ``PATIENCE``, and return whether it did."""
    reported, start = False, time.monotonic()
    while True:
        try:
            take(timeout=PATIENCE / 4)
            return reported
        except Timeout:
            if not reported and time.monotonic() - start > PATIENCE:
                report()
                reported = True


def lock_folder(device: str) -> Path:
    """Return the folder of a device's lock, one per user: other users' work is detected, not locked out.

    Args:
        device: Identity of the device.
    """
    name = f"archsearch-{os.getuid()}" if hasattr(os, "getuid") else "archsearch"
    folder = Path(tempfile.gettempdir()) / name / re.sub(r"[^\w.-]", "_", device)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _holders(folder: Path, run: str) -> str:
    """Return in words who holds a device, ``OWN`` where none of them is of another run.

    Notes of processes that are gone are deleted.
    """
    words, own = [], False
    for note in sorted(folder.glob("*.json")):
        try:
            holder = json.loads(note.read_text())
            if os.name == "posix":
                os.kill(_process(note), 0)
        except ProcessLookupError:
            note.unlink(missing_ok=True)
        except (OSError, ValueError):
            continue
        else:
            if run and holder.get("run") == run:
                own = True
            else:
                words.append(f"process {_process(note)} is {holder['purpose']} ({holder['command']})")
    return "; ".join(dict.fromkeys(words)) or (OWN if own else "another process holds it")


def _process(note: Path) -> int:
    """The process whose thread left a note."""
    return int(note.stem.partition("-")[0])
