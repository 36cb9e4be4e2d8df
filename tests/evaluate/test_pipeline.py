import dataclasses
import gc
import os
import threading
import time
import weakref

import pytest
import tiny
import torch

from archsearch.arch.networks import network
from archsearch.benchmark.exclusive import timing_lock
from archsearch.benchmark.timing import Setting, Timing
from archsearch.data import load, reduce
from archsearch.data.images import Split
from archsearch.errors import ArchsearchError, DivergedError
from archsearch.evaluate.constraint import parse_constraints
from archsearch.evaluate.costs import Limits
from archsearch.evaluate.pipeline import Task, evaluate, in_turn
from archsearch.objectives import parse_objectives
from archsearch.train import Training
from archsearch.train.cache import Trainings
from archsearch.train.turns import Line, SharedTurn, Turn
from archsearch.trial import Epoch, EpochDone, Evaluation, SeedDone

ATTO = network("inceptionnext_atto")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data():
    return reduce(load("drawn", None, 32), tiny.PROXY)


def timed(arch, kinds):
    """Instead of a process that times; ``tests/benchmark`` has the real one."""
    settings = [Setting(kind, "eager", "channels_last", "fp32", 1 + (kind != "latency"), 64) for kind in kinds]
    return {s.kind: Timing(s, (0.2, 0.1, 0.3), (0.1, 0.1, 0.1), settled=True) for s in settings}


def task(data, objectives="pareto", **changes):
    plain = Task(parse_objectives(objectives), tiny.PROXY, data, torch.device("cpu"), timed)
    return dataclasses.replace(plain, **changes)


def listener(heard):
    """Keeps what is reported, and lets the training go on."""

    def listen(event):
        heard.append(event.epoch)
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


def test_a_training_that_is_pruned_keeps_what_is_known(data):
    longer = dataclasses.replace(tiny.PROXY, epochs=3)
    heard = []

    def stop_at_two(event):
        heard.append(event.known)
        return event.epoch.epoch < 2

    done = evaluate(ATTO, task(data, "accuracy,latency_ms,macs", proxy=longer), 0, stop_at_two)
    assert done.pruned
    assert done.error is None
    assert [epoch.epoch for epoch in done.curve] == [1, 2]
    assert list(done.scores) == ["params", "macs", "latency_ms"]
    assert done.seconds["train"] >= heard[1].seconds["train"] > heard[0].seconds["train"] > 0
    assert heard[1].curve == done.curve
    assert len(heard[0].curve) == 1, "what was reported does not change afterwards"
    whole = evaluate(ATTO, task(data, "accuracy,macs", proxy=longer), 0, lambda event: event.epoch.epoch < 3)
    assert not whole.pruned, "there was nothing left to stop"
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


def test_what_is_known_is_neither_counted_nor_timed_nor_trained(data, monkeypatch):
    wanted = "accuracy,latency_ms,macs,train_throughput,peak_memory_mb"
    kinds = []

    def noting(arch, wanted_kinds):
        kinds.append(wanted_kinds)
        return {
            kind: dataclasses.replace(timing, peak_memory_mb=5.0) for kind, timing in timed(arch, wanted_kinds).items()
        }

    curve = (Epoch(1, 1.0, 0.25, 1.0),)
    known = Evaluation(
        {"params": 1.0, "macs": 2.0, "accuracy": 0.25, "train_throughput": 3.0},
        {"train_throughput": {"batch_size": 7}},
        curve,
        reused={"accuracy": "a#1", "train_throughput": "a#1"},
    )
    monkeypatch.setattr("archsearch.evaluate.costs._counter", lambda activations: pytest.fail("counted"))
    monkeypatch.setattr("archsearch.evaluate.pipeline.Training", lambda *a: pytest.fail("trained"))
    done = evaluate(ATTO, task(data, wanted, time=noting), 0, known=known)
    assert done.error is None
    assert kinds == [("latency", "train")]
    assert done.scores == {**known.scores, "latency_ms": 200.0, "peak_memory_mb": 5.0}
    assert done.details["train_throughput"] == {"batch_size": 7}
    assert (done.curve, done.reused) == (curve, known.reused)
    assert list(done.seconds) == ["measure"]
    assert known.scores.keys() == {"params", "macs", "accuracy", "train_throughput"}, "it is not changed"


def test_of_what_is_known_in_part_the_rest_is_found_out(data):
    known = Evaluation({"params": 1.0, "macs": 2.0}, reused={})
    done = evaluate(ATTO, task(data, "accuracy,macs,activations"), 0, known=known)
    assert done.scores["params"] == 4_156_520, "counted together"
    assert list(done.seconds) == ["count", "train"]
    assert done.reused == {}


def test_what_this_machine_knew_is_told(data, tmp_path):
    def kept(arch, kinds):
        return {
            kind: dataclasses.replace(timing, recalled=kind == "infer") for kind, timing in timed(arch, kinds).items()
        }

    records = Trainings(tmp_path, {"device_name": "here"})
    wanted = task(data, "accuracy,infer_throughput,latency_ms", time=kept, trainings=records)
    first, again = (evaluate(ATTO, wanted, 0).reused for _ in range(2))
    assert first == {"infer_throughput": "an earlier timing on this machine"}
    assert again == {**first, "accuracy": "an earlier training on this machine"}


def test_a_training_that_was_pruned_leaves_no_state_behind(data, tmp_path):
    records = Trainings(tmp_path, {"device_name": "here"}, save_every_s=0)
    left = []

    def stop_at_two(event):
        left.append(len(list(tmp_path.glob("*.pt"))))
        return event.epoch.epoch < 2

    longer = dataclasses.replace(tiny.PROXY, epochs=3)
    assert evaluate(ATTO, task(data, "accuracy", proxy=longer, trainings=records), 0, stop_at_two).pruned
    assert left == [1, 1], "it could have been gone on with until then"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device, and it answers")
def test_a_device_that_does_not_answer_is_not_the_candidates_fault(data):
    with pytest.raises(ArchsearchError, match="the device was lost: "):
        evaluate(ATTO, task(data, "accuracy", device=torch.device("cuda")), 0)


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

    monkeypatch.setattr("archsearch.evaluate.pipeline.Training", Doomed)
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
        with timing_lock("cpu"):
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
    def interrupted(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(ATTO, task(data), 0, interrupted)


def limits(*texts):
    return Limits(parse_constraints(texts), ATTO, timed)


def test_what_breaks_a_counted_constraint_is_neither_timed_nor_trained(data, monkeypatch):
    monkeypatch.setattr("archsearch.evaluate.pipeline.Training", lambda *a: pytest.fail("trained"))
    bound = limits("params <= 1M", "infer_throughput >= 1")
    done = evaluate(ATTO, task(data, limits=bound, time=lambda *a: pytest.fail("timed")), 0)
    assert done.infeasible
    assert done.error is None
    assert done.excess == {"params <= 1000000": pytest.approx(3.15652)}
    assert list(done.scores) == ["params", "macs"]


def test_what_breaks_a_measured_constraint_is_not_trained(data, monkeypatch):
    monkeypatch.setattr("archsearch.evaluate.pipeline.Training", lambda *a: pytest.fail("trained"))
    done = evaluate(ATTO, task(data, limits=limits("macs <= 1e12", "infer_throughput >= 25")), 0)
    assert done.infeasible
    assert done.excess["infer_throughput >= 25"] == pytest.approx(0.6)
    assert done.excess["macs <= 1000000000000"] < 0
    assert done.scores["infer_throughput"] == 10.0


def test_what_keeps_all_constraints_is_trained(data):
    bound = limits("params <= baseline", "latency_ms <= 1 * baseline")
    done = evaluate(ATTO, task(data, "accuracy,macs", limits=bound), 0)
    assert not done.infeasible
    assert list(done.excess.values()) == [0.0, 0.0]
    assert {"accuracy", "latency_ms"} <= done.scores.keys()  # what was measured for a constraint is kept too


def test_seeds_are_trained_as_long_as_they_are_asked_for(data):
    def alone(seed):
        return evaluate(ATTO, task(data, "accuracy,macs"), seed).scores["accuracy"]

    heard = []

    def two(event):
        heard.append(event)
        return len(event.known.accuracies) < 2

    done = evaluate(ATTO, task(data, "accuracy,macs", seeds=3), 5, two)
    assert done.accuracies == {5: alone(5), 6: alone(6)}
    assert done.scores["accuracy"] == pytest.approx((alone(5) + alone(6)) / 2)
    assert [type(event) for event in heard] == [EpochDone, SeedDone, SeedDone]
    assert [len(event.known.accuracies) for event in heard] == [0, 1, 2]
    assert not done.pruned
    assert len(done.curve) == tiny.PROXY.epochs
    assert len(evaluate(ATTO, task(data, "accuracy,macs", seeds=3), 5).accuracies) == 3


def test_seeds_that_are_known_are_not_trained_again(data, monkeypatch):
    first = evaluate(ATTO, task(data, "accuracy,macs", seeds=2), 0, lambda event: not isinstance(event, SeedDone))
    assert [*first.accuracies] == [0]
    trained = []
    monkeypatch.setattr(
        "archsearch.evaluate.pipeline.train", lambda arch, task, seed: trained.append(seed) or iter(first.curve)
    )
    done = evaluate(ATTO, task(data, "accuracy,macs", seeds=2), 0, known=first)
    assert trained == [1]
    assert [*done.accuracies] == [0, 1]


def test_a_further_seed_that_fails_takes_nothing_from_the_first(data, monkeypatch):
    whole = evaluate(ATTO, task(data, "accuracy,macs"), 0)

    def failing(arch, task, seed):
        if seed:
            raise DivergedError("diverged: the training loss of epoch 2 is nan")
        return iter(whole.curve)

    monkeypatch.setattr("archsearch.evaluate.pipeline.train", failing)
    done = evaluate(ATTO, task(data, "accuracy,macs", seeds=3), 0)
    assert done.error is None
    assert done.scores["accuracy"] == whole.scores["accuracy"]
    assert [*done.accuracies] == [0]
    assert done.seed_error == "seed 1: diverged: the training loss of epoch 2 is nan"


class Busy:
    """Times with so much scatter that nothing is known, a number of times."""

    def __init__(self, times):
        self.times, self.calls = times, 0

    def __call__(self, arch, kinds):
        self.calls += 1
        own = (0.1, 0.9, 0.2, 0.1, 0.7) if self.calls <= self.times else (0.1,) * 9
        settings = [Setting(kind, "eager", "channels_last", "fp32", 2, 64) for kind in kinds]
        return {s.kind: Timing(s, own, (0.1,) * len(own), settled=True, fixed_s=0.1) for s in settings}


def test_a_speed_that_is_not_known_well_enough_is_put_off_and_not_made_up(data):
    busy = Busy(1)
    bound = task(data, time=busy, known_within=0.1)
    first = evaluate(ATTO, bound, 0)
    assert "infer_throughput: after 5 rounds its relative throughput is between 0." in first.put_off
    assert "infer_throughput" not in first.scores
    assert {"accuracy", "macs"} <= first.scores.keys()  # which do not wait for it
    again = evaluate(
        ATTO, dataclasses.replace(bound, trainings=None), 0, known=dataclasses.replace(first, put_off=None)
    )
    assert again.put_off is None
    assert again.scores["infer_throughput"] == pytest.approx(20.0)
    assert len(again.details["infer_throughput"]["blocks_s"]) == 5 + 9  # of both minutes
    assert again.curve == first.curve
    assert again.seconds["train"] == first.seconds["train"]
    assert again.seconds["measure"] >= first.seconds["measure"]


def test_a_recipe_that_asks_for_nothing_takes_any_speed(data):
    done = evaluate(ATTO, task(data, time=Busy(9)), 0)
    assert done.put_off is None
    assert done.scores["infer_throughput"] > 0


def test_nothing_is_trained_before_a_speed_is_known_that_a_constraint_is_on(data, monkeypatch):
    monkeypatch.setattr("archsearch.evaluate.pipeline.Training", lambda *a: pytest.fail("trained"))
    busy = Busy(9)
    for text in ("infer_throughput >= 1", "latency_ms <= 2 * baseline"):
        bound = Limits(parse_constraints([text]), ATTO, busy, 0.1)
        done = evaluate(ATTO, task(data, "accuracy,macs", time=busy, limits=bound, known_within=0.1), 0)
        assert "relative throughput is between" in done.put_off
        assert done.error is None
        assert not done.excess


def test_a_baseline_that_is_not_known_well_enough_puts_its_candidates_off(data):
    busy = Busy(1)
    bound = Limits(parse_constraints(["infer_throughput >= 0.5 * baseline"]), tiny.PLAIN, busy, 0.1)
    quiet = task(data, "accuracy,macs", time=Busy(0), limits=bound, known_within=0.1)
    first = evaluate(ATTO, quiet, 0)
    assert first.put_off.startswith("the baseline that a constraint refers to: infer_throughput: after 5 rounds")
    again = evaluate(ATTO, quiet, 0, known=dataclasses.replace(first, put_off=None))
    assert again.put_off is None
    assert again.excess == {"infer_throughput >= 0.5 * baseline": pytest.approx(-1.0)}


def test_what_did_not_fit_beside_others_is_tried_alone():
    shared, tried = SharedTurn(Line(), CPU), []

    def run(turn):
        tried.append(turn.shared)
        return Evaluation(error="out of memory: 3 GiB" if turn.shared else None)

    assert in_turn(shared, run).error is None
    assert tried == [True, False]
    assert in_turn(Turn(), lambda turn: Evaluation(error="out of memory")).error == "out of memory"
    assert in_turn(shared, lambda turn: Evaluation(error="diverged: nan")).error == "diverged: nan"
