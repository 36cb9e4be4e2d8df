"""Several trainings in threads of one process."""

import dataclasses
import gc
import threading
import time
import weakref

import pytest
import torch

from archsearch.arch.networks import network
from archsearch.data import load, reduce
from archsearch.nn import build, init_fan_in
from archsearch.recipes import ProxyRecipe
from archsearch.train import Training
from archsearch.train.turns import Line, SharedTurn, Turn

CPU = torch.device("cpu")
PROXY = ProxyRecipe(
    width=0.4,
    width_step=8,
    depth=0.1,
    epochs=2,
    train_samples=256,
    val_samples=64,
    batch_size=32,
    ema=0.9,
    drop_path_rate=0.4,  # draws from torch's generator of the process
    cutmix=0.5,
)


@pytest.fixture(scope="module")
def data():
    return reduce(load("drawn", None, 32), PROXY)


def train(data, seed, turn, log=None):
    """Return the numbers of each epoch, and the weights at the end."""
    with turn.taken():
        torch.manual_seed(seed)
        model = build(PROXY.shrink(network("inceptionnext_atto"), len(data.classes)))
        init_fan_in(model)
        training = Training(model, data, PROXY, seed, turn)
        step = training.step

        def stepped(*args):
            if log is not None:
                log.append(seed)
            step(*args)

        stepped.mean_loss, stepped.average = step.mean_loss, step.average
        training.step = stepped
        epochs = [(e.train_loss, e.accuracy) for e in training]
        return epochs, torch.cat([p.detach().flatten() for p in model.parameters()])


def test_trainings_side_by_side_give_the_numbers_of_each_alone(data):
    alone = {seed: train(data, seed, Turn()) for seed in range(3)}
    line, log, beside = Line(), [], {}
    line.enter()  # all stand in line before the first one begins

    def run(seed):
        beside[seed] = train(data, seed, SharedTurn(line, CPU), log)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    while len(line._waiting) < 3:
        time.sleep(0.01)
    line.leave()
    for thread in threads:
        thread.join()
    for seed, (epochs, weights) in alone.items():
        assert beside[seed][0] == epochs
        assert torch.equal(beside[seed][1], weights)
    assert len(set(log[:3])) == len(set(log[3:6])) == 3, "they take turns, a step each"


def test_each_has_its_own_settings_of_torch_s_libraries():
    line, cudnn = Line(), torch.backends.cudnn
    one, other = SharedTurn(line, CPU), SharedTurn(line, CPU)
    seen = []

    def set_mine():
        with other.taken():
            cudnn.deterministic = True
            torch.set_float32_matmul_precision("high")
            seen.append("other")

    before = cudnn.deterministic, torch.get_float32_matmul_precision()
    try:
        with one.taken():
            cudnn.deterministic = False
            thread = threading.Thread(target=set_mine)
            thread.start()
            while not line.wanted:
                time.sleep(0.01)
            one.pass_on()
            assert seen == ["other"]
            assert not cudnn.deterministic
            assert torch.get_float32_matmul_precision() == before[1]
        thread.join()
    finally:
        cudnn.deterministic = before[0]
        torch.set_float32_matmul_precision(before[1])


def test_who_waits_for_something_is_not_waited_for():
    line, gone_on = Line(), threading.Event()
    one, other = SharedTurn(line, CPU), SharedTurn(line, CPU)

    def go_on():
        with other.taken():
            gone_on.set()

    with one.taken():
        threading.Thread(target=go_on).start()
        with one.apart():
            assert gone_on.wait(10)


def test_a_training_that_fails_gives_its_turn_away():
    line = Line()
    with pytest.raises(ValueError, match="broken"), SharedTurn(line, CPU).taken():
        raise ValueError("broken")
    turn = SharedTurn(line, CPU)

    def lose_the_device():
        with turn.taken(), turn.apart():
            raise OSError("away")

    with pytest.raises(OSError, match="away"):
        lose_the_device()
    line.enter()  # nobody holds it


def test_one_may_wait_until_it_is_alone():
    line, log = Line(), []
    one, other = SharedTurn(line, CPU), SharedTurn(line, CPU)
    begun, may_end = threading.Event(), threading.Event()

    def long():
        with other.taken(), other.apart():
            begun.set()
            may_end.wait(10)
        log.append("other has ended")
        with other.taken():
            log.append("other again")

    thread = threading.Thread(target=long)
    thread.start()
    begun.wait(10)
    threading.Timer(0.3, may_end.set).start()
    with one.alone(log.append) as turn:
        time.sleep(0.3)
        assert log == ["", "other has ended", None], "the wait is told, as no part of one's own time"
        assert not turn.shared
    thread.join(10)
    assert log[3:] == ["other again"]


def test_a_training_leaves_no_cycle_behind(data):
    """What it holds on a device is free as soon as nobody wants it, and not when Python next looks for cycles."""
    torch.manual_seed(0)
    training = Training(build(PROXY.shrink(network("inceptionnext_atto"), 8)), data, PROXY, 0)
    next(training)
    model = weakref.ref(training.model)
    gc.disable()
    try:
        del training
        assert model() is None
    finally:
        gc.enable()


@pytest.mark.gpu
def test_on_a_gpu_they_give_the_numbers_of_each_alone(data):
    device = torch.device("cuda:0")
    there = data.to(device)
    proxy = dataclasses.replace(PROXY, epochs=3)

    def trained(seed, turn):
        with turn.taken():
            torch.manual_seed(seed)
            model = build(proxy.shrink(network("inceptionnext_atto"), 8)).to(device)
            training = Training(model, there, proxy, seed, turn)
            epochs = [(e.train_loss, e.accuracy) for e in training]
            assert training.step._graph is not None
            return epochs

    alone = [trained(seed, Turn()) for seed in range(4)]
    line, beside = Line(), {}
    torch.cuda.synchronize()
    threads = [
        threading.Thread(target=lambda seed=seed: beside.update({seed: trained(seed, SharedTurn(line, device))}))
        for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [beside[seed] for seed in range(4)] == alone
