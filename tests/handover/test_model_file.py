"""The generated file of a network: what it holds, and that timm makes our network of it."""

import importlib.util
import random
import subprocess
import sys
import textwrap

import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lively import enliven
from timm.utils import reparameterize_model

from archsearch.arch import Arch, Mixer
from archsearch.arch.mixer_types import MIXER_TYPES
from archsearch.arch.networks import network
from archsearch.errors import MixerError
from archsearch.handover.model_file import CLASSIFIERS, identifier, model_source
from archsearch.nn import build, load_mixers
from archsearch.nn.deploy import deploy_form
from archsearch.recipes import PROXIES
from archsearch.space.yaml import load_space
from archsearch.utils.package_data import shipped

SPACES = sorted(path.stem for path in shipped("search_spaces").glob("*.yaml"))
SMALL = PROXIES["smoke"].shrink(network("inceptionnext_tiny"), 10)


def cfg(arch: Arch) -> dict:
    return {
        "input_size": (3, arch.img_size, arch.img_size),
        "num_classes": arch.num_classes,
        "first_conv": "stem.0",
        "classifier": CLASSIFIERS[arch.head],
    }


def registered(arch: Arch, name: str, tmp_path) -> None:
    """Write the file of a network and import it."""
    path = tmp_path / f"{name}.py"
    path.write_text(model_source(arch, name, cfg(arch)))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


@pytest.fixture
def model_of(tmp_path, recwarn):
    """Function that makes timm's model of an architecture by its file, with our weights, and returns both."""

    def make(arch: Arch, **kwargs):
        registered(arch, "generated_for_tests", tmp_path)
        ours = build(arch).eval()
        theirs = timm.create_model("generated_for_tests", **kwargs).eval()
        if not kwargs:
            theirs.load_state_dict(ours.state_dict())
        return theirs, ours

    return make


def check_same(theirs, ours, arch: Arch, dtype: torch.dtype = torch.float32) -> None:
    images = torch.randn(2, 3, arch.img_size, arch.img_size, dtype=dtype)
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), ours(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("block", ["metanext", "metaformer"])
@pytest.mark.parametrize("kind", sorted(MIXER_TYPES))
def test_every_mixer_and_block_has_our_logits(kind, block, model_of):
    arch = SMALL.replace(mixers=(Mixer.of(kind),) * 4, block=block, layer_scale_init_value=0.5)
    check_same(*model_of(arch), arch)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "layer", "head": "linear", "act": "silu"},
        {"layer_scale_init_value": 0.0, "act": "relu", "stem_patch_size": 3, "drop_path_rate": 0.3},
        {"depths": (2,), "dims": (16,), "mixers": SMALL.mixers[:1], "mlp_ratios": (2.5,), "stem_patch_size": 16},
        {"mixers": tuple(Mixer.of("inception", bands="sequential", dilation=2, band_kernel_size=5) for _ in "1234")},
    ],
)
def test_other_parts_have_our_logits(changes, model_of):
    arch = SMALL.replace(**changes)
    check_same(*model_of(arch), arch)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(SPACES), seed=st.integers(0, 2**31))
def test_candidates_of_shipped_spaces_have_our_logits(name, seed, model_of):
    space = load_space(name)
    params = space.sample(random.Random(seed))
    arch = space.fitted(PROXIES["smoke"]).shrink(space.arch(params), 10)
    check_same(*model_of(arch), arch)


@pytest.mark.parametrize("block", ["metanext", "metaformer"])
@pytest.mark.parametrize("kind", sorted(MIXER_TYPES))
def test_the_deploy_form_by_file_and_by_timm(kind, block, model_of, tmp_path):
    params = {"long_kernel_size": 7, "short_kernel_size": 5} if kind == "large_band" else {}
    arch = SMALL.replace(mixers=(Mixer.of(kind, **params),) * 4, block=block, layer_scale_init_value=0.5)
    theirs, ours = model_of(arch)
    enliven(ours)
    theirs.load_state_dict(ours.state_dict())
    deploy = deploy_form(ours)
    assert deploy.state_dict().keys() < ours.state_dict().keys() or kind == "large_band"
    by_timm = reparameterize_model(theirs)
    written, _ = model_of(arch, deploy=True)
    written.load_state_dict(deploy.state_dict())
    for model in (by_timm, written):
        check_same(model.double(), deploy.double(), arch, torch.float64)
        check_same(model, ours.double(), arch, torch.float64)


def test_the_same_draws_in_training(model_of):
    arch = SMALL.replace(drop_path_rate=0.5, depths=(2, 2, 2, 2))
    theirs, ours = model_of(arch)
    rates = [module.drop_prob for name, module in theirs.named_modules() if type(module).__name__ == "DropPath"]
    assert rates == pytest.approx([0.5 * i / 7 for i in range(1, 8)])
    assert timm.create_model("generated_for_tests", drop_path_rate=0.0).state_dict().keys() == ours.state_dict().keys()
    assert not any(
        type(module).__name__ == "DropPath"
        for module in timm.create_model("generated_for_tests", drop_path_rate=0.0).modules()
    )


def test_what_timm_asks_of_its_models(model_of):
    theirs, _ = model_of(SMALL)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(theirs.forward_head(theirs.forward_features(images)), theirs(images))
    assert theirs.forward_head(theirs.forward_features(images), pre_logits=True).shape == (2, theirs.head_hidden_size)
    assert theirs.get_classifier() is theirs.get_submodule(cfg(SMALL)["classifier"])
    theirs.reset_classifier(3)
    assert theirs(images).shape == (2, 3)
    theirs.reset_classifier(0)
    assert theirs(images).shape == (2, theirs.head_hidden_size)
    last, maps = theirs.forward_intermediates(images, indices=[1, 3])
    assert torch.equal(last, maps[1])
    assert torch.equal(maps[0], theirs.forward_intermediates(images, [1], stop_early=True, intermediates_only=True)[0])
    assert theirs.prune_intermediate_layers([0, 1]) == [0, 1]
    assert len(theirs.stages) == 2


def test_options_of_create_model(model_of):
    grey, _ = model_of(SMALL, in_chans=1, num_classes=4, drop_rate=0.1, global_pool="max")
    assert grey(torch.randn(2, 1, 32, 32)).shape == (2, 4)
    grey.reset_classifier(6, "avg")
    assert grey(torch.randn(2, 1, 32, 32)).shape == (2, 6)
    double, _ = model_of(SMALL, global_pool="catavgmax")
    double.reset_classifier(7)
    assert double(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    backbone, _ = model_of(SMALL, features_only=True, out_indices=(0, 2))
    maps = backbone(torch.randn(1, 3, 64, 64))
    assert [tuple(map.shape) for map in maps] == [(1, 16, 32, 32), (1, 64, 8, 8)]
    assert backbone.feature_info.reduction() == [2, 8]
    assert len(model_of(SMALL, features_only=True)[0](torch.randn(1, 3, 64, 64))) == 4
    getter, _ = model_of(SMALL, features_only=True, feature_cls="getter", out_indices=(-2, -1))
    assert [map.shape[1] for map in getter(torch.randn(1, 3, 64, 64))] == [64, 128]


def test_gradient_checkpointing_changes_nothing(model_of):
    theirs, _ = model_of(SMALL)
    images = torch.randn(2, 3, 32, 32)
    gradients = []
    for enable in (False, True):
        theirs.set_grad_checkpointing(enable)
        theirs.zero_grad()
        theirs(images).square().sum().backward()
        gradients.append([p.grad.clone() for p in theirs.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])


def test_parameters_fall_into_layers_for_timms_optimizer(model_of):
    from timm.models import group_parameters
    from timm.optim import create_optimizer_v2

    theirs, _ = model_of(SMALL.replace(depths=(1, 2, 1, 1)))
    groups = group_parameters(theirs, theirs.group_matcher(), reverse=True)
    assert len(groups) == len(list(theirs.parameters()))
    optimizer = create_optimizer_v2(theirs, "adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.9)
    assert len({group["lr_scale"] for group in optimizer.param_groups}) == 7  # stem, 5 blocks, head
    assert all(p.ndim > 1 for group in optimizer.param_groups if group["weight_decay"] for p in group["params"])


def test_the_file_holds_only_what_its_network_needs():
    source = model_source(SMALL, "net", cfg(SMALL))
    assert "class InceptionDWConv2d" in source
    for other in ("Attention", "MixedDWConv2d", "MetaFormerBlock", "LinearHead", "LayerNorm2d"):
        assert other not in source
    source = model_source(SMALL.replace(mixers=(Mixer.of("identity"),) * 4, head="linear", norm="layer"), "net", {})
    assert "LayerNorm2d" in source
    for other in ("depthwise_conv", "inception_groups", "MlpHead", "partial", "noqa"):
        assert other not in source


@pytest.mark.parametrize(
    "changes", [{}, {"mixers": tuple(map(Mixer.of, ("attention", "mixed_depthwise", "large_band", "depthwise")))}]
)
def test_the_file_is_formatted_and_has_no_defects(changes, tmp_path):
    long = Mixer.of("inception", square_kernel_size=5, band_kernel_size=5, branch_ratio=1 / 3, bands="sequential")
    arch = SMALL.replace(**{"mixers": (*SMALL.mixers[:2], long, long)} | changes)
    path = tmp_path / "net.py"
    path.write_text(model_source(arch, "net", cfg(arch)))
    line = ("--line-length", "120", "--isolated")
    checks = ("check", "--select", "E,F,W,I,UP,B,C4,RET,SIM,RUF", "--target-version", "py311")
    for words in (checks, ("format", "--check")):
        done = subprocess.run([sys.executable, "-m", "ruff", *words, *line, path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "name"), [("Äpfel & Birnen#12", "pfel_birnen_12"), ("json", "net_json"), ("#", "net")]
)
def test_names_are_those_of_modules(text, name):
    assert identifier(text) == name


# A user's own mixers

OWN = """
import math
from torch import nn
import torch.nn.functional as F
from archsearch.nn.mixers import depthwise_conv

SCALE = {}
SCALE["half"] = math.sqrt(0.25)  # filled later


# Twice the identity.
def twice(x):
    return 2 * x


class Own(nn.Module):
    def __init__(self, dim, kernel_size=3):
        super().__init__()
        self.conv = depthwise_conv(dim, kernel_size)

    def forward(self, x):
        return F.relu(twice(self.conv(x))) * SCALE["half"]


class Unused(nn.Module):
    pass


MIXERS = {"own": Own}
"""

#: A function that makes a class, which has no name of its own at the top level.
MADE = """
def made():
    class Hidden(Own):
        pass
    return Hidden
"""


def own_arch(tmp_path, source: str) -> Arch:
    path = tmp_path / "own.py"
    path.write_text(textwrap.dedent(source))
    load_mixers(path)
    return SMALL.replace(mixers=(Mixer.of("own"), *SMALL.mixers[1:]))


def test_annotations_that_are_texts_stay_texts(tmp_path, model_of):
    late = OWN.replace("def twice(x):", "def twice(x: Later) -> Later:") + "\nLater = nn.Module\n"
    arch = own_arch(tmp_path, "from __future__ import annotations\n" + late)
    check_same(*model_of(arch), arch)


def test_a_users_mixer_is_copied_with_what_it_needs(tmp_path, model_of):
    arch = own_arch(tmp_path, OWN)
    check_same(*model_of(arch), arch)
    source = model_source(arch, "net", cfg(arch))
    assert "# Twice the identity." in source
    assert "archsearch" not in source.replace("Written by archsearch", "")
    assert "Unused" not in source
    assert source.count("def depthwise_conv") == 1


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import beside\n" + OWN.replace("2 * x", "beside.TWO * x"), "beside is no installed package"),
        ("import archsearch.nn.mixers as m\n" + OWN.replace("= depthwise", "= m.depthwise"), "imported as a whole"),
        ("from archsearch.nn import mixers\n" + OWN.replace("= depthwise", "= mixers.depthwise"), "can be copied"),
        (OWN.replace("depthwise_conv\n", "depthwise_conv as dw\n").replace("= depthwise_conv", "= dw"), "its own name"),
        (OWN.replace("return 2 * x", "from archsearch.nn import build\n    return 2 * x"), "imported as a whole"),
        (OWN.replace("twice(", "scaled("), "scaled is defined twice"),
        ("from math import *\n" + OWN.replace("2 * x", "e * x"), "import of \\*"),
        (OWN.replace('{"own": Own}', '{"own": made()}'), "top level"),
    ],
)
def test_what_cannot_be_copied_is_said_in_a_line(tmp_path, source, why):
    (tmp_path / "beside.py").write_text("TWO = 2\n")
    arch = own_arch(tmp_path, source.replace("\nMIXERS", MADE + "\nMIXERS"))
    with pytest.raises(MixerError, match=why) as raised:
        model_source(arch, "net", cfg(arch))
    assert "\n" not in str(raised.value)
