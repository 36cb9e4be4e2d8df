import dataclasses
import itertools
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest
import tiny
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from archsearch.arch.networks import network
from archsearch.data import load, reduce
from archsearch.data.images import Split
from archsearch.data.stream import batches
from archsearch.errors import DivergedError
from archsearch.nn import build, init_fan_in
from archsearch.recipes import PROXIES, ProxyRecipe
from archsearch.train import Training, capture
from archsearch.train.accuracy import Validation, _Counter, filled
from archsearch.train.optimizer import Schedule
from archsearch.train.precision import autocasts, forward
from archsearch.train.steps import GraphStep, Step
from archsearch.train.training import channel_statistics, repeatable

CPU = torch.device("cpu")
PROXY = ProxyRecipe(
    width=0.4, width_step=8, depth=0.1, epochs=2, train_samples=512, val_samples=256, batch_size=32, lr=4e-3
)


@pytest.fixture(scope="module")
def data():
    return reduce(load("drawn", None, 32), PROXY)


def curve(data, proxy=PROXY, seed=0, name="inceptionnext_atto"):
    torch.manual_seed(seed)
    model = build(proxy.shrink(network(name), len(data.classes)))
    init_fan_in(model)
    return list(Training(model, data, proxy, seed)), model


def judged(model, split, mean, std):
    return Validation(model, split, mean, std, autocasts("amp_bf16", mean.device))()


def test_same_seed_same_numbers_other_seed_others(data):
    a, b, c = (curve(data, seed=seed)[0] for seed in (0, 0, 1))
    assert [(e.epoch, e.train_loss, e.accuracy) for e in a] == [(e.epoch, e.train_loss, e.accuracy) for e in b]
    assert a[-1].train_loss != c[-1].train_loss


def test_it_learns(data):
    epochs, _ = curve(data, ProxyRecipe(**{**vars(PROXY), "epochs": 6}))
    assert [e.epoch for e in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[0].train_loss > 1.8
    assert epochs[-1].train_loss < 1.2  # few enough samples to be learned by heart


def test_the_recipe_for_a_gpu_takes_a_step(data):
    space = tiny.shipped_space("inception_dw")
    proxy = space.fitted(PROXIES["gpu"])
    few = reduce(data, dataclasses.replace(proxy, train_samples=16, val_samples=16))
    torch.manual_seed(0)
    model = build(proxy.shrink(space.baseline, len(few.classes)))
    init_fan_in(model)
    before = model.stem[0].weight.detach().clone()
    training = Training(model, few, proxy, 0)
    assert training.per_epoch == 1
    epoch = next(training)
    assert 0 < epoch.train_loss < 20
    assert 0 <= epoch.accuracy <= 1
    after = model.stem[0].weight
    assert after.shape == (48, 3, 1, 1)
    assert after.isfinite().all()
    assert not torch.equal(before, after)


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
        curve(data, ProxyRecipe(**{**vars(PROXY), "lr": 1e30, "warmup": 0.0}))


def test_accuracy_and_loss_are_those_of_evaluation_mode(data):
    _, model = curve(data)
    mean, std = channel_statistics(data.train)
    model.train()
    accuracy, loss = judged(model, data.val, mean, std)
    assert not model.training
    with torch.inference_mode():
        logits = [model(((image.float() - mean[0]) / std[0])[None]) for image in data.val.images]
    one_by_one = torch.cat(logits)
    correct = (one_by_one.argmax(1) == data.val.labels).float().mean().item()
    assert accuracy == pytest.approx(correct, abs=3 / len(data.val))  # bfloat16 may turn a near tie
    assert loss == pytest.approx(F.cross_entropy(one_by_one, data.val.labels).item(), rel=0.01)


def test_normalised_images_have_no_mean_and_unit_deviation(data):
    mean, std = channel_statistics(data.train)  # of all: there are few
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


RICH = dataclasses.replace(
    PROXY,
    epochs=3,
    accumulate=2,
    ema=0.9,
    mixup=0.4,
    cutmix=0.5,
    drop_path_rate=0.3,
    crop_padding=2,
    cutout=6,
    erasing=0.2,
)


def started(data, proxy, seed=3, name="inceptionnext_atto"):
    torch.manual_seed(seed)
    return Training(build(proxy.shrink(network(name), len(data.classes))), data, proxy, seed)


def numbers(epochs):
    return [(e.epoch, e.train_loss, e.accuracy) for e in epochs]


@pytest.mark.parametrize("stop", [1, 2])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(data, tmp_path, stop):
    whole = started(data, RICH)
    expected = numbers(whole)
    first = started(data, RICH)
    before = numbers(itertools.islice(first, stop))
    torch.save(first.state_dict(), tmp_path / "state.pt")
    torch.manual_seed(99)  # whatever else happens in between
    again = started(data, RICH, seed=3)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert before + numbers(again) == expected
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_parts_of_a_batch_add_up_to_it(data):
    """With layer norm, which sees one image at a time, parts make no difference but rounding."""
    proxy = dataclasses.replace(PROXY, epochs=1)
    runs = {}
    for parts in (1, 4):
        training = started(data, dataclasses.replace(proxy, accumulate=parts), name="convnext_atto")
        images, labels = next(batches(data, proxy, 0, 1, torch.device("cpu")))
        training.step(images, labels, 0.0)
        grads = [p.grad.flatten() for p in training.model.parameters()]
        runs[parts] = torch.cat(grads), training.step.mean_loss()
    assert runs[1][1] == pytest.approx(runs[4][1], rel=1e-2)
    assert torch.cosine_similarity(runs[1][0], runs[4][0], dim=0) > 0.999
    assert runs[1][0].norm().item() == pytest.approx(runs[4][0].norm().item(), rel=0.02)


@pytest.mark.parametrize("count", [9, 3])
def test_parts_may_be_unequal(data, count):
    """Where the data are fewer than a batch, its parts are weighted by their size."""
    training = started(data, dataclasses.replace(PROXY, accumulate=8), name="convnext_atto")
    images, labels = data.train.pixels(torch.arange(count)), data.train.labels[:count]
    with torch.no_grad():
        normal = (images.float() - training.mean) / training.std
        logits = forward(training.model, normal, autocasts("amp_bf16", CPU))
        expected = F.cross_entropy(logits, labels, label_smoothing=PROXY.label_smoothing).item()
    training.step(images, labels, 0.0)
    assert training.step.mean_loss() == pytest.approx(expected, rel=2e-2)


def test_the_average_is_what_is_evaluated(data):
    """And it has the numbers of torch's own class, which waits for the device at every update."""
    training = started(data, dataclasses.replace(PROXY, epochs=1, ema=0.8))
    theirs = AveragedModel(training.model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)
    step = training.step

    def stepped(*args):
        step(*args)
        theirs.update_parameters(training.model)

    stepped.mean_loss = step.mean_loss
    stepped.average = step.average
    training.step = stepped
    (epoch,) = training
    expected = {name: value for name, value in theirs.module.state_dict().items() if value.is_floating_point()}
    averaged = step.average.model.state_dict()
    assert len(expected) > 20
    assert all(torch.equal(averaged[name], value) for name, value in expected.items())
    assert not torch.equal(averaged["stem.0.weight"], training.model.state_dict()["stem.0.weight"])
    assert (epoch.accuracy, epoch.val_loss) == judged(theirs.module, data.val, training.mean, training.std)


def test_a_loss_worse_than_saying_nothing_is_divergence(data):
    training = started(data, PROXY)
    training._check(math.log(8) + 1.9, 2)
    training._check(4.2, 1)
    with pytest.raises(DivergedError, match=r"epoch 2 is 4\.2, that of a uniform guess 2\.08"):
        training._check(4.2, 2)


def test_attention_in_a_metanext_block_may_diverge_and_says_so(data):
    proxy = dataclasses.replace(PROXY, width=1 / 8, width_step=12, lr=3.0, warmup=0.0, layer_scale_init_value=1.0)
    with pytest.raises(DivergedError):
        list(started(data, proxy, name="metanext_attn_small_iso"))


@pytest.mark.gpu
def test_trains_on_a_gpu_the_same_every_time(data):
    device = torch.device("cuda:0")
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        model = build(PROXY.shrink(network("inceptionnext_atto"), 8)).to(device)
        training = Training(model, data.to(device), PROXY, 0)
        runs.append(numbers(training))
        assert training.step._graph is not None
    assert runs[0] == runs[1]


@pytest.mark.gpu
def test_the_recipe_for_a_gpu_trains_on_one():
    space, device = tiny.shipped_space("inception_dw"), torch.device("cuda:0")
    proxy = space.fitted(PROXIES["gpu"])
    every = reduce(load("drawn", None, 32), proxy)
    torch.manual_seed(0)
    model = build(proxy.shrink(space.baseline, len(every.classes)))
    init_fan_in(model)
    training = Training(model.to(device), every.to(device), proxy, 0)
    epochs = list(training)
    assert training.step._graph is not None
    assert epochs[-1].train_loss < epochs[0].train_loss
    assert epochs[-1].accuracy > 2 / len(every.classes)


@pytest.mark.gpu
def test_a_captured_step_is_the_plain_one(data):
    device = torch.device("cuda:0")
    ends = []
    for kind in (Step, partial(GraphStep, stream=torch.cuda.Stream(device))):
        torch.manual_seed(0)
        model = build(RICH.shrink(network("convnext_atto"), 8)).to(device, memory_format=torch.channels_last)
        proxy = dataclasses.replace(RICH, drop_path_rate=0.0)
        mean, std = (value.to(device) for value in channel_statistics(data.train))
        step = kind(model.train(), proxy, mean, std)
        with repeatable(device, proxy.precision):
            for number, (images, targets) in enumerate(batches(data, proxy, 0, 1, device)):
                step(images, targets, 1e-3 * (1 + number))
        values = itertools.chain(model.parameters(), step.average.model.parameters())
        ends.append((torch.cat([value.detach().flatten() for value in values]), step.mean_loss()))
    assert ends[0][1] == pytest.approx(ends[1][1], rel=1e-3)
    assert torch.allclose(ends[0][0], ends[1][0], atol=2e-3)


def test_a_batch_that_is_not_full_counts_its_own_images(data):
    """As a captured validation fills the last batch up."""
    torch.manual_seed(0)
    model = build(PROXY.shrink(network("inceptionnext_atto"), 8)).eval()
    mean, std = channel_statistics(data.train)
    counter = _Counter(model, mean, std, autocast=False)
    images, labels = data.val.pixels(torch.arange(40)), data.val.labels[:40]
    batch = data.train.pixels(torch.arange(64)).clone(), data.train.labels[:64].clone()
    with torch.no_grad():
        counter(images, labels)
        alone, loss = counter.correct.item(), counter.loss.item()
        filled(batch, images, labels)
        counter(*batch)
    assert alone > 0
    assert counter.correct.item() == 2 * alone
    assert counter.loss.item() == pytest.approx(2 * loss)


@pytest.mark.gpu
def test_a_captured_validation_counts_the_same(data):
    device = torch.device("cuda:0")
    torch.manual_seed(0)
    model = build(PROXY.shrink(network("inceptionnext_atto"), 8)).to(device)
    there = data.to(device).val
    mean, std = (value.to(device) for value in channel_statistics(data.train))
    plain, captured = (
        Validation(model, there, mean, std, autocast=False, most=100, stream=stream)  # the last batch is not full
        for stream in (None, torch.cuda.Stream(device))
    )
    with repeatable(device, "fp32"):
        counts = [captured() for _ in range(3)]
        assert captured._captured.graph is not None
        accuracy, loss = plain()
        assert counts == [(accuracy, pytest.approx(loss))] * 3


class Waits(torch.nn.Module):
    """A network that asks the device for a number, and draws one of its own."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 8)

    def forward(self, x):
        return self.fc(F.dropout(x.mean((2, 3)) * float(x.max() > -99), 0.1, self.training))


def train_what_waits():
    """Return the number of epochs, whether a graph was made, and whether the process is spent."""
    data = reduce(load("drawn", None, 32), PROXY).to(torch.device("cuda:0"))
    training = Training(Waits().cuda(), data, PROXY, 0)
    return len(list(training)), training.step._graph is not None, capture.failed()


@pytest.mark.gpu
def test_what_cannot_be_captured_is_trained_all_the_same():
    """In a process of its own, as a failed capture may outlast its end."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(train_what_waits).result() == (PROXY.epochs, False, True)


@pytest.mark.gpu
def test_steps_before_a_capture_warn_of_nothing(data, recwarn):
    device = torch.device("cuda:0")
    list(Training(build(PROXY.shrink(network("inceptionnext_atto"), 8)).to(device), data.to(device), PROXY, 0))
    assert not [str(warning.message) for warning in recwarn if "captur" in str(warning.message)]
