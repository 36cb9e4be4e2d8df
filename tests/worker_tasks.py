"""Evaluations for worker processes in tests of the engines: importable there, and without a network to train."""

import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from archsearch.errors import OptionError
from archsearch.trial import Epoch, EpochDone, Evaluation, Waiting
from archsearch.utils.worker_process import Last

#: Number of epochs of a made-up training.
EPOCHS = 3


def scores_of(arch):
    """Return made-up scores of an architecture, which depend on its shape alone."""
    size = sum(arch.dims) * (2 if arch.mixers[0].token_mixer == "depthwise" else 1) + sum(arch.depths)
    return {"macs": float(size), "accuracy": (size % 97) / 97, "infer_throughput": 1e4 / size}


def made_up(arch, seed, report, known=None):
    """Evaluate without training; report each epoch and stop where the progress callback returns False."""
    scores, curve = scores_of(arch), []
    costs = {"macs": scores["macs"]}
    for number in range(1, EPOCHS + 1):
        curve.append(Epoch(number, 1.0 / number, scores["accuracy"] * number / EPOCHS, 0.0))
        known = Evaluation(dict(costs), curve=tuple(curve))
        if not report(EpochDone(known)) and number < EPOCHS:
            return dataclasses.replace(known, pruned=True), {"device": "test"}
    return Evaluation(scores, curve=tuple(curve)), {"device": "test"}


def make(index, **parameters):
    return made_up


@dataclasses.dataclass(frozen=True)
class MakeSlow:
    """Evaluates as ``made_up``, with a pause in seconds at each epoch."""

    pause: float

    def __call__(self, index, **parameters):
        return self.evaluate

    def evaluate(self, arch, seed, report, known=None):
        def report_slowly(what):
            time.sleep(self.pause)
            return report(what)

        return made_up(arch, seed, report_slowly)


def knowing(arch, seed, report, known=None):
    """Keep known scores and give -1 for the others, so that tests see which were known."""
    known = known or Evaluation()
    scores = {"macs": 1.0, "accuracy": -1.0, "infer_throughput": -1.0} | known.scores
    return dataclasses.replace(known, scores=scores), {"device": "test"}


def make_knowing(index, **parameters):
    return knowing


def failing(arch, seed, report, known=None):
    """Fail every other candidate with a recorded error."""
    if int(arch.key, 16) % 2:
        return Evaluation({"macs": 1.0}, error="diverged: nan"), {"device": "test"}
    return made_up(arch, seed, report)


def make_failing(index, **parameters):
    return failing


def refuse(complaint):
    raise OptionError(complaint)


def make_nothing_at_all(index, **parameters):
    raise RuntimeError("no memory on the device")


def make_a_complaint(index, **parameters):
    raise OptionError("something is missing; install that")


def waiting(arch, seed, report, known=None):
    """Let one candidate in four wait for its device for longer than its own time limit."""
    if int(arch.key, 16) % 4 == 0:
        report(Waiting("another program"))
        time.sleep(3)
    return made_up(arch, seed, report)


def make_waiting(index, **parameters):
    return waiting


@dataclasses.dataclass(frozen=True)
class ListModules:
    """Evaluates as another does, and adds the modules of its process to the environment."""

    make_evaluate: Callable

    def __call__(self, index, **parameters):
        evaluate = self.make_evaluate(index, **parameters)

        def evaluate_and_list(*args):
            evaluation, environment = evaluate(*args)
            return evaluation, {**environment, "modules": sorted(sys.modules)}

        return evaluate_and_list


def patient(seconds, say):
    """Wait for the device, then work for some seconds."""
    say("waits")
    say("works")
    time.sleep(seconds)
    return "worked"


def make_patient(indices):
    return [patient] * len(indices)


@dataclasses.dataclass(frozen=True)
class Dangerous:
    """Evaluation that harms its own process for one candidate in ``every``, each time or only the first time.

    Attributes:
        how: Kind of harm: ``kill``, ``exit``, ``raise``, ``hang`` or ``allocate``.
        folder: Folder for one file per harmed candidate.
        every: Number of candidates of which one is harmed.
        always: Whether a harmed candidate is harmed again when it runs again.
        cage: ``cgroup.procs`` of a control group with limited memory, which the process joins before it allocates.
        fail_start: Whether the first worker started after a death fails to start.
    """

    how: str
    folder: Path
    every: int = 3
    always: bool = False
    cage: Path | None = None
    fail_start: bool = False

    def __call__(self, index, **parameters):
        """Return the evaluation; fail once after a death if ``fail_start`` says so."""
        note = self.folder / "cannot begin"
        if self.fail_start and any(self.folder.glob("????????????")) and not note.exists():
            note.touch()
            raise RuntimeError("no memory on the device")
        return self.evaluate

    def dangerous(self, arch):
        return int(arch.key, 16) % self.every == 0

    def evaluate(self, arch, seed, report, known=None):
        note = self.folder / arch.key
        if self.dangerous(arch) and (self.always or not note.exists()):
            note.touch()
            self.harm()
        return made_up(arch, seed, report)

    def harm(self):
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.how == "exit":
            os._exit(3)
        elif self.how == "raise":
            raise ValueError("nobody expected this")
        elif self.how == "hang":
            time.sleep(600)
        else:
            if self.cage is not None:
                self.cage.write_text(str(os.getpid()))
            held = []
            while True:
                held.append(bytearray(b"x" * (16 << 20)))


@dataclasses.dataclass(frozen=True)
class Side:
    """Workers that share a process: each job is a word that says what to do; the result names process and thread."""

    folder: Path

    def __call__(self, indices):
        return [self.work] * len(indices)

    def work(self, job, say):
        if job == "meet":  # only two at a time get on
            say("here")
            self.meeting()
        elif job == "die":
            say("here")
            os.kill(os.getpid(), signal.SIGKILL)
        elif job == "die soon":
            time.sleep(1)
            os.kill(os.getpid(), signal.SIGKILL)
        elif job == "fail":
            raise ValueError("nobody expected this")
        elif job == "hang":
            say("here")
            time.sleep(600)
        done = os.getpid(), threading.get_ident()
        return Last(done) if job == "last" else done

    def meeting(self):
        (self.folder / f"{os.getpid()}-{threading.get_ident()}").touch()
        end = time.monotonic() + 20
        while len(list(self.folder.iterdir())) < 2:
            assert time.monotonic() < end, "nobody came"
            time.sleep(0.01)


def make_nothing(indices):
    raise RuntimeError("no memory on the device")
