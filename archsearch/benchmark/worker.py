"""Program of a process that times: it reads jobs and writes events, a line of JSON each.

    python -m archsearch.benchmark.worker SETTINGS

SETTINGS is JSON: ``device``; ``cores`` that it may use, none for those of its parent; ``mixers``, paths of the user's
files; ``run``, the name of the run that it belongs to; and where several processes share it, ``address``, the file in
which they find it (``archsearch.benchmark.serving``). Otherwise jobs come from stdin, and events go to stdout.

It ends as soon as stdin does, or the last of its clients, and its locks end with it.
"""

import contextlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from archsearch.benchmark.serving import Clients, OneClient, Request


def main() -> None:
    """Run jobs until the process ends."""
    settings = json.loads(sys.argv[1])
    for sent_to_all in (signal.SIGINT, signal.SIGTERM):  # the parent gets them too, and ends this process
        signal.signal(sent_to_all, signal.SIG_IGN)
    _die_first()
    clients = Clients(Path(settings["address"])) if "address" in settings else OneClient()
    if settings["cores"]:
        os.sched_setaffinity(0, settings["cores"])
    from archsearch.errors import UserError

    try:
        device = _start(settings["device"], settings["mixers"], clients.greet)
    except UserError as error:
        clients.greet("refused", error=str(error))
        clients.refuse()
        return
    from archsearch.benchmark.bencher import Bencher

    current = Request("", lambda line: None)
    bencher = Bencher(device, lambda event, **details: current.say(event, **details), settings["run"])
    for current in clients.requests():
        _do(bencher, current)


def _do(bencher: Any, request: Request) -> None:
    """Run one job, and send its results or what went wrong."""
    from archsearch.benchmark.failures import DeviceLost, Uncaptured
    from archsearch.benchmark.jobs import Job
    from archsearch.errors import UserError

    try:
        results = bencher.run(Job.from_dict(json.loads(request.job)))
    except UserError as error:
        request.end("refused", error=str(error))
    except DeviceLost as error:
        request.end("lost", error=str(error), index=error.index)
        os._exit(1)  # no cleanup works any more
    except Uncaptured as error:
        setting = error.setting.to_dict()
        request.end("uncaptured", error=str(error), index=error.index, setting=setting, crowded=error.crowded)
        os._exit(1)  # torch does not recover from it
    except Exception as error:
        request.end("failed", error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
    else:
        request.end("done", results=[measured.to_dict() for measured in results])


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


def _die_first() -> None:
    """Make Linux kill this process first when memory runs out, and not the one that keeps the records."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()
