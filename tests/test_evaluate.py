import dataclasses
import gc
import os
import threading
import time
import weakref

import pytest
import tiny
import torch

from archsearch.data import load, reduce
from archsearch.data.images import Split
from archsearch.evaluate import Task, evaluate
from archsearch.networks import network
from archsearch.objectives import parse_objectives
from archsearch.speed.exclusive import alone
from archsearch.speed.timing import Setting, Timing
from archsearch.train import Training

ATTO = network("inceptionnext_atto")


@pytest.fixture(scope="module")
def data():
    return reduce(load("drawn", None, 32), tiny.PROXY)


def timed(arch, kinds):
    """Instead of a process that times; ``tests/speed`` has the real one."""
    settings = [Setting(kind, "eager", "channels_last", "fp32", 1 + (kind != "latency"), 64) for kind in kinds]
    return {s.kind: Timing(s, (0.2, 0.1, 0.3), (0.1, 0.1, 0.1), settled=True) for s in settings}


def task(data, objectives="pareto", **changes):
    plain = Task(parse_objectives(objectives), tiny.PROXY, data, torch.device("cpu"), timed)
    return dataclasses.replace(plain, **changes)


def listener(heard):
    """Keeps what is reported, and lets the training go on."""

    def listen(known):
        heard.append(known.curve[-1])
        return True

    return listen


def test_scores_come_cheapest_first(data):
    epochs = []
    wanted = "accuracy,latency_ms,macs,train_throughput,activations"
    done = evaluate(ATTO, task(data, wanted), 0, listener(epochs))
    assert done.error is None
    assert list(done.scores) == ["params", "macs", "activations", "latency_ms", "train_throughput", "accuracy"]
    assert list(done.seconds) == ["count", "measure", "train"]
    assert done.scores["params"] == 4_156_520
    assert done.curve == tuple(epochs)
    assert done.scores["accuracy"] == done.curve[-1].accuracy
    assert done.details["latency_ms"]["batch_size"] == 1
    assert done.scores["latency_ms"] == 1e3 * done.details["latency_ms"]["step_s"] == 200.0
    assert done.scores["train_throughput"] == done.details["train_throughput"]["throughput"] == 10.0
    assert done.details["train_throughput"]["ratio"] == pytest.approx(0.5)
    assert len(done.details["train_throughput"]["blocks_s"]) == 3


def test_a_training_that_is_stopped_keeps_what_is_known(data):
    longer = dataclasses.replace(tiny.PROXY, epochs=3)
    heard = []

    def stop_at_two(known):
        heard.append(known)
        return len(known.curve) < 2

    done = evaluate(ATTO, task(data, "accuracy,latency_ms,macs", proxy=longer), 0, stop_at_two)
    assert done.stopped
    assert done.error is None
    assert [epoch.epoch for epoch in done.curve] == [1, 2]
    assert list(done.scores) == ["params", "macs", "latency_ms"]
    assert done.seconds["train"] >= heard[1].seconds["train"] > heard[0].seconds["train"] > 0
    assert heard[1].curve == done.curve
    assert len(heard[0].curve) == 1, "what was reported does not change afterwards"
    whole = evaluate(ATTO, task(data, "accuracy,macs", proxy=longer), 0, lambda known: len(known.curve) < 3)
    assert not whole.stopped, "there was nothing left to stop"
    assert whole.scores["accuracy"] == whole.curve[-1].accuracy


def test_peak_memory_is_that_of_a_training_step(data):
    def timed_on_a_gpu(arch, kinds):
        assert kinds == ("train",)
        return {"train": dataclasses.replace(timed(arch, kinds)["train"], peak_memory_mb=512.0)}

    done = evaluate(ATTO, task(data, "peak_memory_mb,train_throughput", time=timed_on_a_gpu), 0)
    assert (done.scores["peak_memory_mb"], done.scores["train_throughput"]) == (512.0, 10.0)
    assert "read from a GPU's allocator" in evaluate(ATTO, task(data, "peak_memory_mb"), 0).error


def test_only_what_is_asked_for_is_paid_for(data):
    assert list(evaluate(ATTO, task(data, "macs,params"), 0).seconds) == ["count"]
    assert list(evaluate(ATTO, task(data, "accuracy"), 0).seconds) == ["count", "train"]


def test_the_seed_decides(data):
    runs = [evaluate(ATTO, task(data, "accuracy"), seed).curve[-1].train_loss for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_divergence_keeps_what_was_known(data):
    wild = dataclasses.replace(tiny.PROXY, lr=1e30, warmup=0.0)
    done = evaluate(ATTO, task(data, proxy=wild), 0)
    assert done.error is not None
    assert done.error.startswith("diverged")
    assert done.traceback is None
    assert {"macs", "infer_throughput"} <= set(done.scores)
    assert "accuracy" not in done.scores


def test_divergence_keeps_the_curve_so_far_and_frees_the_network(data, monkeypatch):
    models = []

    class Doomed(Training):
        def __init__(self, model, *args):
            super().__init__(model, *args)
            models.append(weakref.ref(model))

        def _check(self, train_loss, epoch):
            super()._check(float("nan") if epoch == 3 else train_loss, epoch)

    monkeypatch.setattr("archsearch.evaluate.Training", Doomed)
    proxy = dataclasses.replace(tiny.PROXY, epochs=5)
    done = evaluate(ATTO, task(data, "accuracy", proxy=proxy), 0)
    assert done.error == "diverged: the training loss of epoch 3 is nan"
    assert [epoch.epoch for epoch in done.curve] == [1, 2]
    assert "accuracy" not in done.scores
    gc.collect()
    assert models[0]() is None


def test_the_hosts_memory_can_run_out_too(data):
    images = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(256, 3, 2**17, 2**17)  # 13 TB, if it had to be copied
    split = Split(images, torch.zeros(256, dtype=torch.int64))
    done = evaluate(ATTO, task(dataclasses.replace(data, train=split, val=split), "accuracy"), 0)
    assert done.error is not None
    assert done.error.startswith("out of memory: ")
    assert done.traceback is None
    assert evaluate(ATTO, task(data, "accuracy"), 0).error is None


def test_out_of_memory_is_one_candidates_end(data):
    def exhausted(arch, kinds):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nmore")

    done = evaluate(ATTO, task(data, time=exhausted), 0)
    assert done.error == "out of memory: CUDA out of memory. Tried to allocate 20 GiB."
    assert "macs" in done.scores


def test_training_waits_while_somebody_times_on_the_device(data):
    words, seen = [], []
    holding = threading.Event()

    def hold():
        with alone("cpu"):
            holding.set()
            while not words:
                time.sleep(0.05)
            seen.append(done_epochs())

    epochs = []
    done_epochs = lambda: len(epochs)  # noqa: E731
    holder = threading.Thread(target=hold)
    holder.start()
    holding.wait()
    done = evaluate(ATTO, task(data, "accuracy", on_wait=words.append), 0, listener(epochs))
    holder.join()
    assert done.error is None
    assert seen == [0]
    assert f"process {os.getpid()} is timing" in words[0]


def test_whatever_happens_is_recorded_with_its_traceback(data):
    mismatched = dataclasses.replace(data, classes=data.classes[:2])
    done = evaluate(ATTO, task(mismatched), 0)
    assert done.error.startswith("IndexError")
    assert "\n" not in done.error
    assert "cross_entropy" in done.traceback
    assert "macs" in done.scores


def test_ctrl_c_is_not_a_candidates_fault(data):
    def interrupted(epoch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(ATTO, task(data), 0, interrupted)
