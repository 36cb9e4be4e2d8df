"""Arithmetic of trainings, on the CPU, whose autocast converts what a GPU's does."""

import dataclasses

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import network
from archsearch.data import load, reduce
from archsearch.errors import UserError
from archsearch.nn import build, init_fan_in
from archsearch.recipes import PROXIES, PROXY_PRECISIONS, ProxyRecipe
from archsearch.train import Training
from archsearch.train.precision import ShadowWeights
from archsearch.train.steps import Step
from archsearch.train.training import channel_statistics

PROXY = ProxyRecipe(
    width=0.4, width_step=8, depth=0.1, epochs=2, train_samples=256, val_samples=64, batch_size=32, ema=0.9
)


@pytest.fixture(scope="module")
def data():
    return reduce(load("drawn", None, 32), PROXY)


@pytest.fixture
def bfloat16(monkeypatch):
    """Let every processor use autocast: it can, if slowly where it has no hardware for it."""
    monkeypatch.setattr("archsearch.train.precision.has_bfloat16", lambda device: True)


def run(data, proxy, shadow, name="inceptionnext_atto", steps=6):
    """Return weights, averages and losses after some plain steps."""
    torch.manual_seed(0)
    arch = network(name)
    model = build(proxy.shrink(arch, len(data.classes)))
    init_fan_in(model)
    step = Step(model.train().to(memory_format=torch.channels_last), proxy, *channel_statistics(data.train))
    step._shadow = ShadowWeights(model, proxy.precision) if shadow else None
    for number in range(steps):
        chosen = torch.arange(32) + 32 * number
        step(data.train.pixels(chosen), data.train.labels[chosen], 1e-3)
    return step, {**model.state_dict(), **{f"average {k}": v for k, v in step.average.model.state_dict().items()}}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", ["inceptionnext_atto", "convnext_atto"])
def test_copies_of_weights_give_the_numbers_of_autocast(data, bfloat16, name, accumulate):
    proxy = dataclasses.replace(PROXY, accumulate=accumulate)
    plain, with_copies = (run(data, proxy, shadow, name) for shadow in (False, True))
    assert len(with_copies[0]._shadow.copies) > 10
    assert plain[0].mean_loss() == with_copies[0].mean_loss()
    for name, value in plain[1].items():
        assert torch.equal(value, with_copies[1][name]), name


def test_copies_hold_what_autocast_converts_and_in_bf16_all_but_norms(data):
    model = build(PROXY.shrink(network("inceptionnext_atto"), 8))
    amp, whole = (set(ShadowWeights(model, precision).copies) for precision in ("amp_bf16", "bf16"))
    assert {"stem.0.weight", "head.fc2.bias"} <= amp < whole
    assert {name.rpartition(".")[2] for name in whole - amp} == {"gamma"}
    assert not [name for name in whole if "norm" in name]


def test_bf16_converts_no_map_between_layers(data, bfloat16):
    """With layer scale in bfloat16, residuals stay in it; autocast alone makes float32 of them."""
    seen = {}
    for precision in ("amp_bf16", "bf16"):
        proxy = dataclasses.replace(PROXY, precision=precision)
        step, _ = run(data, proxy, shadow=True, steps=0)
        seen[precision] = []
        for stage in step.model.stages:
            stage.blocks[-1].register_forward_hook(lambda m, x, y, into=seen[precision]: into.append(y.dtype))
        step(data.train.pixels(torch.arange(8)), data.train.labels[:8], 1e-3)
    assert set(seen["amp_bf16"]) == {torch.float32}
    assert set(seen["bf16"]) == {torch.bfloat16}


class Casts(TorchDispatchMode):
    """Counts conversions between types."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.count += operator.overloadpacket is torch.ops.aten._to_copy
        return operator(*args, **(kwargs or {}))


def test_a_step_converts_little(data, bfloat16):
    """Each conversion is a kernel of its own on a GPU."""
    images, labels, casts = data.train.pixels(torch.arange(8)), data.train.labels[:8], {}
    for shadow, precision in ((False, "amp_bf16"), (True, "amp_bf16"), (True, "bf16")):
        step, _ = run(data, dataclasses.replace(PROXY, precision=precision), shadow, steps=1)
        with Casts() as counted:
            step(images, labels, 1e-3)
        casts[shadow, precision] = counted.count
    assert casts[True, "amp_bf16"] < casts[False, "amp_bf16"] / 3
    assert casts[True, "bf16"] <= 4  # of the images, the logits, and their gradients


@pytest.mark.parametrize("precision", PROXY_PRECISIONS)
def test_every_precision_learns(data, precision):
    proxy = dataclasses.replace(PROXY, precision=precision, epochs=5, train_samples=0, val_samples=0, lr=4e-3)
    torch.manual_seed(0)
    arch = network("inceptionnext_atto").replace(mixers=(Mixer.of("inception"),) * 4)
    model = build(proxy.shrink(arch, 8))
    init_fan_in(model)
    epochs = list(Training(model, data, proxy, 0))
    assert epochs[-1].train_loss < 0.8 * epochs[0].train_loss
    assert {value.dtype for value in model.parameters()} == {torch.float32}


def test_an_unknown_precision_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="unknown precision 'bf61': did you mean 'bf16'"):
        ProxyRecipe(precision="bf61")


def test_the_cpu_recipes_compute_as_they_did():
    assert {PROXIES[name].precision for name in ("cpu", "cpu_long", "smoke")} == {"amp_bf16"}
