"""Our networks against timm's: parameters to the unit, MACs to 0.1 %, the same logits from the same state."""

import pytest
import timm
import torch

from archsearch.arch.networks import NETWORKS, network
from archsearch.complexity.counts import count
from archsearch.nn import build
from archsearch.nn.timm_names import from_timm

#: Parameters as counted from the official code, at 1000 classes.
PARAMETERS = {
    "inceptionnext_atto": 4_156_520,
    "inceptionnext_tiny": 28_055_680,
    "inceptionnext_small": 49_374_016,
    "inceptionnext_base": 86_672_136,
    "convnext_tiny": 28_589_128,
}


def timms_name(name: str) -> str:
    return name.replace("inceptionnext", "inception_next")


SHARED = [name for name in NETWORKS if timm.is_model(timms_name(name))]


def pair(name: str, drop_path_rate: float = 0.0) -> tuple[torch.nn.Module, torch.nn.Module]:
    """timm's network and ours in the same state, in which every part of the network counts."""
    with torch.device("meta"):  # nothing is drawn twice
        theirs = timm.create_model(timms_name(name), drop_path_rate=drop_path_rate)
        ours = build(network(name).replace(drop_path_rate=drop_path_rate))
    theirs, ours = theirs.to_empty(device="cpu"), ours.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(1)
    for key, value in theirs.state_dict().items():
        if value.dtype.is_floating_point:
            value.uniform_(-0.05, 0.05, generator=generator)
            value += key.endswith(("running_var", "gamma"))
        else:
            value.zero_()
    ours.load_state_dict(from_timm(theirs.state_dict(), ours.state_dict()), strict=True)
    return theirs, ours


#: ConvNeXts of timm's that an ``Arch`` cannot say: overlapping stems (ols), root mean square norms (rms), a
#: hidden layer or another order in the head (mlp, hnf), another epsilon in the norms (xxlarge). ConvNeXt V2 has
#: a response norm in its MLPs.
BEYOND = {
    "atto_ols", "atto_rms", "femto_ols", "large_mlp", "nano_ols", "pico_ols", "tiny_hnf", "xxlarge", "zepto_rms",
    "zepto_rms_ols",
}  # fmt: skip


def test_no_network_of_timms_is_forgotten():
    theirs = {*timm.list_models("inception_next_*"), *timm.list_models("convnext_*")}
    ours = {timms_name(name) for name in SHARED}
    assert ours <= theirs
    # A later timm may have more; what it has today is either ours or named above.
    assert {name for name in theirs - ours if name.removeprefix("convnext_") in BEYOND} == theirs - ours
    assert len(ours) == 13


@pytest.mark.parametrize("name", SHARED)
def test_same_parameters_macs_and_logits(name):
    theirs, ours = pair(name)
    counts, expected = count(ours, 224), count(theirs, 224)
    assert counts.params == expected.params == PARAMETERS.get(name, counts.params)
    assert counts.macs == pytest.approx(expected.macs, rel=1e-3)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for training in (False, True):
        theirs.train(training)
        ours.train(training)
        with torch.no_grad():
            want, got = theirs(images), ours(images)
        assert want.std() > 1e-3
        torch.testing.assert_close(got, want, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("name", ["inceptionnext_tiny", "convnext_atto"])
def test_same_stochastic_depth_and_statistics_in_training(name):
    theirs, ours = pair(name, drop_path_rate=0.5)
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    outputs = []
    for model in (theirs.train(), ours.train()):
        torch.manual_seed(5)
        with torch.no_grad():
            outputs.append(model(images))
    torch.testing.assert_close(outputs[1], outputs[0], atol=2e-5, rtol=2e-5)
    statistics = [[value for key, value in model.state_dict().items() if "running" in key] for model in (theirs, ours)]
    torch.testing.assert_close(statistics[1], statistics[0])


@pytest.mark.parametrize("name", ["inceptionnext_atto", "convnext_atto"])
def test_same_gradients(name):
    theirs, ours = pair(name)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([3, 700])
    for model in (theirs.train(), ours.train()):
        torch.nn.functional.cross_entropy(model(images), labels).backward()
    want = from_timm({key: p.grad for key, p in theirs.named_parameters()}, ours.state_dict())
    got = {key: p.grad for key, p in ours.named_parameters()}
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-3)
