import os
import signal
import threading
import time

import pytest
import tiny
import torch

from archsearch.data import load, reduce
from archsearch.errors import ArchsearchError
from archsearch.evaluate import Task, evaluate
from archsearch.mixer import Mixer
from archsearch.networks import network
from archsearch.objectives import parse_objectives
from archsearch.pool import Source, TrainJob, train_all

SOURCE = Source("drawn", None, "cpu", retrain=True)
ATTO = network("inceptionnext_atto")
#: A target that exists, with a stand-in that does not: a branch of an eighth of 8 channels is one, a sixteenth none.
UNFIT = ATTO.replace(mixers=(Mixer.of("inception", branch_ratio=1 / 32),) * 4)


@pytest.mark.slow
def test_each_job_is_trained_as_it_would_be_alone():
    jobs = [TrainJob(ATTO, tiny.PROXY, seed) for seed in (0, 1)] + [TrainJob(UNFIT, tiny.PROXY, 0)]
    found = dict(train_all(jobs, SOURCE, workers=2))
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
def test_a_worker_that_dies_is_told_with_what_to_do():
    import multiprocessing

    def kill_one():
        while not multiprocessing.active_children():
            time.sleep(0.05)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    threading.Thread(target=kill_one).start()
    with pytest.raises(ArchsearchError, match="run the same command again, with fewer --workers"):
        list(train_all([TrainJob(ATTO, tiny.PROXY, 0)] * 4, SOURCE, workers=2))
