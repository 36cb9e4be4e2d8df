"""Program of the process that times: it reads jobs from stdin and writes events to stdout, a line of JSON each.

    python -m archsearch.benchmark.worker DEVICE CORES [MIXERS.py ...]

CORES are the cores it may use, separated by commas; empty for those of its parent.

It ends as soon as its stdin does, that is with its parent, and its locks end with it.
"""

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, TextIO


def main() -> None:
    """Run jobs until the process ends."""
    events = _event_stream()

    def say(event: str, **details: Any) -> None:
        events.write(json.dumps({"event": event, **details}) + "\n")
        events.flush()

    for sent_to_all in (signal.SIGINT, signal.SIGTERM):  # the parent gets them too, and ends this process
        signal.signal(sent_to_all, signal.SIG_IGN)
    _die_first()
    if sys.argv[2]:
        os.sched_setaffinity(0, map(int, sys.argv[2].split(",")))
    from archsearch.errors import UserError

    try:
        device = _start(sys.argv[1], sys.argv[3:], say)
    except UserError as error:
        say("refused", error=str(error))
        return
    from archsearch.benchmark.bencher import Bencher
    from archsearch.benchmark.jobs import Job
    from archsearch.benchmark.loading import DeviceLost

    bencher, jobs = Bencher(device, say), _jobs()
    while True:
        try:
            results = bencher.run(Job.from_dict(json.loads(jobs.get())))
        except UserError as error:
            say("refused", error=str(error))
        except DeviceLost as error:
            say("lost", error=str(error), index=error.index)
            os._exit(1)  # no cleanup works any more
        except Exception as error:
            say("failed", error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
        else:
            say("done", results=[measured.to_dict() for measured in results])


def _jobs() -> "queue.SimpleQueue[str]":
    """Lines of stdin as they come; at its end the process ends at once, whatever it is doing."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _start(name: str, mixers: list[str], say: Any) -> Any:
    """Pick the device, load the user's mixers, and say that the process is ready; return the device."""
    import torch

    from archsearch.benchmark.timed_steps import has_tf32
    from archsearch.nn import load_mixers
    from archsearch.nn.device import device_name, pick_device

    device = pick_device(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    for path in mixers:
        load_mixers(Path(path))
    say("ready", device=str(device), kind=device.type, name=device_name(device), tf32=has_tf32(device))
    return device


def _event_stream() -> TextIO:
    """Return the real stdout for events alone; anything else that is printed goes to stderr."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


def _die_first() -> None:
    """Make Linux kill this process first when memory runs out, and not the one that keeps the records."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()
