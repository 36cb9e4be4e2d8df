"""The deploy form computes what the train form does at inference, with no more multiply-adds."""

import random

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lively import drawn, enliven, small
from timm.utils.model import reparameterize_model
from torch import nn

from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import MIXER_TYPES
from archsearch.arch.networks import TimmModel, network
from archsearch.complexity.counts import count
from archsearch.nn import build_network, deploy_form, has_deploy_form
from archsearch.nn.mixers import LargeBandDWConv2d, build_mixer

TINY = network("inceptionnext_tiny")
BUILT_IN = [name for name, kind in MIXER_TYPES.items() if kind.source is None]


def off(model, deployed, seed=0):
    """Largest difference of the logits in float64, as a share of the largest."""
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    with torch.no_grad():
        ours, theirs = deployed(images), model(images)
    assert theirs.abs().max() > 0.1, "logits so small agree whatever was computed"
    return float((ours - theirs).abs().max() / theirs.abs().max())


def kinds(model):
    return [type(module) for module in model.modules()]


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("block", ["metanext", "metaformer"])
@pytest.mark.parametrize("name", BUILT_IN)
def test_every_mixer_block_and_norm(name, block, norm):
    model = small(TINY, mixers=(Mixer.of(name),) * 4, block=block, norm=norm)
    assert count(deploy_form(model), 32).macs <= count(model, 32).macs
    model.double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    deployed = deploy_form(model)
    assert off(model, deployed) < 1e-9
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    left = [path for path, module in deployed.named_modules() if isinstance(module, nn.BatchNorm2d)]
    may_stay = block == "metaformer" and name != "attention" and norm == "batch"
    assert all(path.endswith("norm1") for path in left)
    assert bool(left) == may_stay
    gammas = {path.rpartition(".")[2] for path, _ in deployed.named_parameters() if "gamma" in path}
    passes = name in ("identity", "pooling", "inception", "partial_depthwise")
    assert gammas == ({"gamma1"} if block == "metaformer" and passes else set())


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["convnext_dw", "inception_dw", "macro", "metanext", "token_mixers"]), st.integers(0, 2**20))
def test_architectures_of_the_shipped_spaces(name, seed):
    space, rng = tiny.shipped_space(name), random.Random(seed)
    model = enliven(small(drawn(space, rng), space), seed)
    assert off(model.double(), deploy_form(model), seed) < 1e-5


def test_float32_stays_close_and_training_mode_is_left():
    model = small(TINY).train()
    deployed = deploy_form(model)
    assert model.training
    assert not deployed.training
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(deployed(images), model.eval()(images), atol=1e-5)


def test_timms_function_gives_the_same():
    model = small(TINY, block="metaformer", mixers=(Mixer.of("attention"),) * 4)
    theirs, ours = reparameterize_model(model).state_dict(), deploy_form(model).state_dict()
    assert list(theirs) == list(ours)
    assert all(torch.equal(theirs[name], value) for name, value in ours.items())


def test_names_of_weights_are_what_they_were():
    names = set(small(TINY).state_dict())
    assert {
        "stem.0.weight",
        "stem.1.running_mean",
        "stages.1.downsample.0.weight",
        "stages.1.downsample.1.bias",
    } <= names


def test_a_second_time_changes_nothing():
    model = small(TINY, mixers=(Mixer.of("large_band", long_kernel_size=7, short_kernel_size=5),) * 4)
    once = deploy_form(model)
    assert deploy_form(once).state_dict().keys() == once.state_dict().keys()
    assert off(once.double(), deploy_form(once)) < 1e-12


@pytest.mark.parametrize(("long", "short", "merged"), [(3, 3, True), (7, 5, True), (9, 5, True), (11, 5, False)])
def test_bands_merge_where_it_costs_no_more(long, short, merged):
    mixer = build_mixer(Mixer.of("large_band", long_kernel_size=long, short_kernel_size=short), 4)
    assert isinstance(mixer, LargeBandDWConv2d)
    net = nn.Sequential(mixer).double()
    x = torch.randn(2, 4, 12, 9, dtype=torch.float64)
    deployed = deploy_form(net)
    assert torch.allclose(deployed(x), net(x), atol=1e-12)
    weights = sum(w.numel() for name, w in deployed.named_parameters() if name.endswith("weight"))
    assert weights == 4 * (long * long if merged else 2 * long * short)
    assert merged == (long * long <= 2 * long * short)


@pytest.mark.parametrize("mixer", ["inception", "partial_depthwise"])
def test_a_scale_folds_where_all_channels_are_convolved(mixer):
    shares = {"inception": {"branch_ratio": 1 / 3}, "partial_depthwise": {"conv_ratio": 1.0}}
    mixers = (Mixer.of(mixer, **shares[mixer]),) * 4
    model = small(TINY, dims=(96, 288, 288, 96), block="metaformer", mixers=mixers)
    whole = [not block.token_mixer.split_sizes[0] for stage in model.stages for block in stage.blocks]
    deployed = deploy_form(model)
    gone = [block.gamma1 is None for stage in deployed.stages for block in stage.blocks]
    assert gone == whole
    assert whole == ([False, True, True, False] if mixer == "inception" else [True] * 4)  # of 16 and 48 channels
    assert off(model.double(), deploy_form(model)) < 1e-9


class Halves(nn.Module):
    """A user's mixer of two branches, which says how they merge."""

    def __init__(self, dim):
        super().__init__()
        self.one, self.two = (nn.Conv2d(dim, dim, 1, groups=dim) for _ in range(2))

    def forward(self, x):
        return self.one(x) + self.two(x)

    def fuse(self):
        with torch.no_grad():
            self.one.weight += self.two.weight
            self.one.bias += self.two.bias
        return self.one


def test_users_mixers_are_merged_too():
    model = small(TINY)
    for stage in model.stages:
        for block in stage.blocks:
            block.token_mixer = enliven(Halves(block.gamma.numel()))
    deployed = deploy_form(model.double())
    assert off(model, deployed) < 1e-9
    assert Halves not in kinds(deployed)
    assert Halves in kinds(model)


def test_which_networks_have_another_form():
    assert has_deploy_form(small(TINY))
    assert has_deploy_form(build_network(TimmModel("mobileone_s0", 64))[0])
    assert not has_deploy_form(build_network(TimmModel("resnet18", 64))[0])
