import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from unittest import mock

import pytest
import tiny
import torch

from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import network
from archsearch.data import load, reduce
from archsearch.errors import ArchsearchError
from archsearch.evaluate import train_jobs
from archsearch.evaluate.machine import Machine, Source
from archsearch.evaluate.pipeline import Task, evaluate
from archsearch.evaluate.train_jobs import TrainJob, TrainWork, train_all
from archsearch.objectives import parse_objectives
from archsearch.train import capture
from archsearch.utils.worker_process import Last

SOURCE = Source("drawn", None, retrain=True)
MACHINE = Machine.here(["cpu"], 2, threads=1)
ATTO = network("inceptionnext_atto")
#: A target that exists, and whose proxy network does not: an eighth of 8 channels is one, a sixteenth none.
UNFIT = ATTO.replace(mixers=(Mixer.of("inception", branch_ratio=1 / 32),) * 4)


@pytest.mark.slow
def test_each_job_is_trained_as_it_would_be_alone():
    jobs = [TrainJob(ATTO, tiny.PROXY, seed) for seed in (0, 1)] + [TrainJob(UNFIT, tiny.PROXY, 0)]
    found = dict(train_all(jobs, SOURCE, MACHINE))
    assert sorted(found) == [0, 1, 2]
    task = Task(
        parse_objectives("accuracy"), tiny.PROXY, reduce(load("drawn", None, 32), tiny.PROXY), torch.device("cpu")
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed in (0, 1):
            alone = evaluate(ATTO, task, seed)
            assert found[seed].curve[-1].train_loss == alone.curve[-1].train_loss
            assert list(found[seed].scores) == ["accuracy"]
    finally:
        torch.set_num_threads(threads)
    assert "leaves no channel" in found[2].error


@pytest.mark.slow
def test_side_by_side_in_a_process_each_is_trained_as_it_would_be_alone():
    """With what draws from torch's generator (stochastic depth), whose numbers are a process's."""
    proxy = dataclasses.replace(tiny.PROXY, epochs=2, drop_path_rate=0.3, ema=0.9)
    jobs = [TrainJob(ATTO, proxy, seed) for seed in range(3)]
    alone, beside = (
        dict(train_all(jobs, SOURCE, dataclasses.replace(Machine.here(["cpu"], 3, threads=1), beside=together)))
        for together in (1, 3)
    )
    for place in range(3):
        numbers = [[(e.train_loss, e.accuracy) for e in found[place].curve] for found in (alone, beside)]
        assert numbers[0] == numbers[1]


@pytest.mark.slow
def test_a_process_in_which_a_capture_failed_is_replaced(monkeypatch):
    monkeypatch.setattr(train_jobs, "TrainWork", Worn)
    jobs = [TrainJob(ATTO, tiny.PROXY, seed) for seed in range(3)]
    one = Machine.here(["cpu"], 1, threads=1)
    found = dict(train_all(jobs, SOURCE, one))
    processes = [found[place].reused["process"] for place in range(3)]
    assert len(set(processes)) == 3, "each was the last of its process"
    assert {evaluation.error for evaluation in found.values()} == {None}
    here = dict(train_all(jobs[:1], SOURCE, dataclasses.replace(one, workers=0)))
    assert here[0].error is None, "without workers, this process goes on"


class Worn(TrainWork):
    """Work in a process in which a capture fails with every job; its evaluations name the process."""

    def __call__(self, indices):
        works = super().__call__(indices)

        def wearing(job, say):
            with mock.patch.object(capture, "_failed", ["in a test"]):
                done = works[0](job, say)
            assert isinstance(done, Last)
            return Last(dataclasses.replace(done.result, reused={"process": str(os.getpid())}))

        return [wearing]


def kill(times):
    """Kills a worker in the middle of its training, so many times."""
    known = set()
    while len(known) < times:
        for child in multiprocessing.active_children():
            if child.pid not in known and trains(child.pid) and len(known) < times:
                known.add(child.pid)
                os.kill(child.pid, signal.SIGKILL)
        time.sleep(0.02)


def trains(pid):
    """Whether a process has worked for a while: it has its data and is at its job."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") > 0.5


@pytest.mark.slow
def test_a_worker_that_dies_costs_no_training():
    killer = threading.Thread(target=kill, args=(1,))
    killer.start()
    found = dict(train_all([TrainJob(ATTO, tiny.PROXY, seed) for seed in range(4)], SOURCE, MACHINE))
    killer.join()
    assert sorted(found) == [0, 1, 2, 3]
    assert all(evaluation.error is None for evaluation in found.values())


@pytest.mark.slow
def test_a_training_that_kills_its_workers_is_told_with_what_to_do():
    one = Machine.here(["cpu"], 1, threads=1)
    killer = threading.Thread(target=kill, args=(2,))
    killer.start()
    with pytest.raises(ArchsearchError, match="run the same command again, with fewer --workers"):
        list(train_all([TrainJob(ATTO, tiny.PROXY, 0)], SOURCE, one))
    killer.join()
