import itertools

import pytest
import torch

from archsearch.data import load, reduce
from archsearch.data.images import Split
from archsearch.errors import DivergedError
from archsearch.networks import network
from archsearch.nn import build, init_fan_in
from archsearch.recipes import Proxy
from archsearch.train import Training
from archsearch.train.optimizer import Schedule
from archsearch.train.training import channel_statistics, evaluate_accuracy

PROXY = Proxy(width=0.4, width_step=8, depth=0.1, epochs=2, train_samples=512, val_samples=256, batch_size=32, lr=4e-3)


@pytest.fixture(scope="module")
def data():
    return reduce(load("drawn", None, 32), PROXY)


def curve(data, proxy=PROXY, seed=0, name="inceptionnext_atto"):
    torch.manual_seed(seed)
    model = build(proxy.shrink(network(name), len(data.classes)))
    init_fan_in(model)
    return list(Training(model, data, proxy, seed)), model


def test_same_seed_same_numbers_other_seed_others(data):
    a, b, c = (curve(data, seed=seed)[0] for seed in (0, 0, 1))
    assert [(e.epoch, e.train_loss, e.accuracy) for e in a] == [(e.epoch, e.train_loss, e.accuracy) for e in b]
    assert a[-1].train_loss != c[-1].train_loss


def test_it_learns(data):
    epochs, _ = curve(data, Proxy(**{**vars(PROXY), "epochs": 6}))
    assert [e.epoch for e in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[0].train_loss > 1.8
    assert epochs[-1].train_loss < 1.2  # few enough samples to be learned by heart


def test_the_caller_stops_it_by_not_asking(data):
    torch.manual_seed(0)
    model = build(PROXY.shrink(network("inceptionnext_atto"), 8))
    before = model.stem[0].weight.detach().clone()
    training = Training(model, data, PROXY, 0)
    assert torch.equal(before, model.stem[0].weight)
    first = list(itertools.islice(training, 1))
    assert first[0].epoch == 1
    after = model.stem[0].weight.detach().clone()
    assert not torch.equal(before, after)
    assert torch.equal(after, model.stem[0].weight)


def test_divergence_is_told_with_its_epoch(data):
    with pytest.raises(DivergedError, match="epoch 1"):
        curve(data, Proxy(**{**vars(PROXY), "lr": 1e30, "warmup": 0.0}))


def test_accuracy_is_counted_in_evaluation_mode(data):
    _, model = curve(data)
    mean, std = channel_statistics(data.train)
    model.train()
    accuracy = evaluate_accuracy(model, data.val, mean, std)
    assert not model.training
    with torch.inference_mode():
        logits = [model(((image.float() - mean[0]) / std[0])[None]) for image in data.val.images]
    one_by_one = (torch.cat(logits).argmax(1) == data.val.labels).float().mean().item()
    assert accuracy == pytest.approx(one_by_one, abs=3 / len(data.val))  # bfloat16 may turn a near tie


def test_normalised_images_have_no_mean_and_unit_deviation(data):
    mean, std = channel_statistics(data.train)
    normal = (data.train.images.float() - mean) / std
    assert normal.mean((0, 2, 3)).abs().max() < 1e-3
    assert (normal.std((0, 2, 3)) - 1).abs().max() < 1e-3


def test_sorted_images_are_normalised_all_the_same():
    black, white = (torch.full((2100, 3, 2, 2), value, dtype=torch.uint8) for value in (0, 255))
    mean, std = channel_statistics(Split(torch.cat([black, white]), torch.zeros(4200, dtype=torch.int64)))
    assert mean.flatten().tolist() == pytest.approx([127.5] * 3, abs=1)
    assert std.flatten().tolist() == pytest.approx([127.5] * 3, abs=1)


def test_schedule_rises_and_falls():
    factor = [Schedule(100, 0.1)(step) for step in range(101)]
    assert factor[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert factor[10] == 1
    assert factor[55] == pytest.approx(0.5)
    assert factor[100] == pytest.approx(0)
    assert all(a >= b for a, b in itertools.pairwise(factor[10:]))


@pytest.mark.gpu
def test_trains_on_a_gpu(data):
    model = build(PROXY.shrink(network("inceptionnext_atto"), 8)).cuda()
    epochs = list(Training(model, data.to(torch.device("cuda")), PROXY, 0))
    assert len(epochs) == PROXY.epochs
