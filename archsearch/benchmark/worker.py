"""The program of a process that times: jobs come in on stdin and answers go out on stdout, a line of JSON each.

    python -m archsearch.benchmark.worker DEVICE CORES [MIXERS.py ...]

CORES, separated by commas, are those that it may use, whatever its parent is pinned to; or nothing.

It ends as soon as its stdin does, which is when its parent is gone, and with it the locks that it holds.
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
    """Answers jobs until the process ends."""
    answers = _answers()

    def say(event: str, **details: Any) -> None:
        answers.write(json.dumps({"event": event, **details}) + "\n")
        answers.flush()

    for sent_to_all in (signal.SIGINT, signal.SIGTERM):  # they go to the parent too, which ends this process
        signal.signal(sent_to_all, signal.SIG_IGN)
    _be_the_first_to_die()
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
    from archsearch.benchmark.residents import DeviceLost

    bencher, jobs = Bencher(device, say), _jobs()
    while True:
        try:
            results = bencher.run(Job.from_dict(json.loads(jobs.get())))
        except UserError as error:
            say("refused", error=str(error))
        except DeviceLost as error:
            say("lost", error=str(error), index=error.index)
            os._exit(1)  # nothing can be given back in order
        except Exception as error:
            say("failed", error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
        else:
            say("done", results=[measured.to_dict() for measured in results])


def _jobs() -> "queue.SimpleQueue[str]":
    """Lines of stdin as they come; where there are no more, the process ends at once, whatever it is doing."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _start(name: str, mixers: list[str], say: Any) -> Any:
    """The device, once it is known to be there, and the user's mixers."""
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


def _answers() -> TextIO:
    """The real stdout, for answers alone; whatever else is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _be_the_first_to_die() -> None:
    """Where memory runs out on Linux, this process goes, and not the one that keeps the records."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()
