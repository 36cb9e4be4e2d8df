"""Backbones: the maps of a network's stages, under timm's conventions."""

import pytest
import timm
import torch
from torch import nn

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import MIXER_TYPES
from archsearch.arch.networks import network
from archsearch.errors import OptionError
from archsearch.handover import Weights
from archsearch.nn import Backbone, build, build_features
from archsearch.nn.backbone import stage_indices
from archsearch.recipes import PROXIES


def small(name="inceptionnext_tiny"):
    return PROXIES["smoke"].shrink(network(name), 10)


def images(side, height=None):
    return torch.randn(2, 3, height or side, side, generator=torch.Generator().manual_seed(0))


def draw(model):
    """Draw every parameter and statistic anew, so that each part of the network counts."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                value.uniform_(-0.2, 0.2, generator=generator)
                value += key.endswith(("running_var", "gamma", "gamma1", "gamma2"))
    return model.eval()


def hooked(model, x):
    """What hooks on the stages of a whole network see."""
    maps = []
    handles = [stage.register_forward_hook(lambda _, __, y: maps.append(y)) for stage in model.stages]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return maps


def with_mixer(kind):
    arch = small()
    return arch.replace(mixers=(Mixer.of(kind),) * 4, dims=tuple(48 for _ in arch.dims))


@pytest.mark.parametrize("kind", MIXER_TYPES)
def test_maps_are_those_that_hooks_on_the_network_see(kind):
    model = draw(build(with_mixer(kind)))
    backbone = Backbone(model)
    with torch.no_grad():
        maps, x = backbone(images(64)), images(64)
    torch.testing.assert_close(maps, hooked(model, x), atol=0, rtol=0)
    assert [m.shape[-1] for m in maps] == [64 // stride for stride in backbone.feature_info.reduction()]
    assert maps[-1].std() > 1e-3


@pytest.mark.parametrize(("side", "height"), [(64, 64), (70, 45), (63, 100), (33, 32)])
def test_sides_that_are_no_multiple_of_the_stride_are_those_of_the_network(side, height):
    model = draw(build(small()))
    x = images(side, height)
    with torch.no_grad():
        torch.testing.assert_close(Backbone(model)(x), hooked(model, x), atol=0, rtol=0)


@pytest.mark.parametrize("name", ["inceptionnext_tiny", "inceptionnext_atto", "convnext_tiny"])
@pytest.mark.parametrize("out_indices", [(0, 1, 2, 3), (1, 3), (0, -2), 2])
def test_maps_and_info_are_those_of_timms_features_only(name, out_indices):
    with torch.device("meta"):  # nothing is drawn twice
        theirs = timm.create_model(
            name.replace("inceptionnext", "inception_next"), features_only=True, out_indices=out_indices
        )
        ours = build_features(network(name), out_indices)
    theirs, ours = draw(theirs.to_empty(device="cpu")), ours.to_empty(device="cpu").eval()
    ours.load_state_dict(mapped(theirs.state_dict(), ours.state_dict()))
    with torch.no_grad():
        want, got = theirs(images(96, 70)), ours(images(96, 70))
    assert len(got) == len(want)
    for ours_map, theirs_map in zip(got, want, strict=True):
        torch.testing.assert_close(ours_map, theirs_map, atol=2e-4, rtol=2e-4)
    for fact in ("channels", "reduction"):
        assert getattr(ours.feature_info, fact)() == getattr(theirs.feature_info, fact)()
    assert ours.feature_info.module_name() == theirs.feature_info.module_name()


def mapped(state, ours):
    """timm's state under our names; its wrapper joins the names of the modules that it takes out by underscores."""
    renamed = {
        key.replace("conv_dw", "token_mixer").replace("stem_", "stem.").replace("stages_", "stages."): value
        for key, value in state.items()
    }
    return {key: value.reshape(ours[key].shape) if "mlp.fc" in key else value for key, value in renamed.items()}


def test_an_isotropic_network_gives_one_map_at_the_stride_of_its_stem():
    backbone = build_features(PROXIES["smoke"].shrink(network("inceptionnext_small_iso"), 10))
    info = backbone.feature_info
    assert (info.channels(), info.reduction(), info.module_name()) == (
        list(backbone.arch.dims),
        [backbone.arch.stem_patch_size],
        ["stages.0"],
    )
    (only,) = backbone(images(96))
    assert only.shape == (2, backbone.arch.dims[0], *(96 // backbone.arch.stem_patch_size,) * 2)


@pytest.mark.parametrize("patch", [1, 2, 3, 7])
def test_strides_follow_the_stem(patch):
    mixers = (Mixer.of("pooling"),) * 3
    arch = Arch(
        depths=(1, 1, 1), dims=(8, 16, 24), mixers=mixers, mlp_ratios=(2, 2, 2), stem_patch_size=patch, img_size=64
    )
    backbone = build_features(arch)
    assert backbone.feature_info.reduction() == [patch, 2 * patch, 4 * patch]
    side = 12 * patch
    assert [m.shape[-1] for m in backbone(images(side))] == [side // r for r in backbone.feature_info.reduction()]


def test_stages_behind_the_last_one_are_left_out_and_weights_are_shared():
    model = build(small())
    backbone = Backbone(model, (0, 1))
    assert {name.split(".")[0] for name in backbone.state_dict()} == {"stem", "stages"}
    assert {*backbone.state_dict()} == {
        name for name in model.state_dict() if name.startswith(("stem.", "stages.0.", "stages.1."))
    }
    assert backbone.stem[0].weight is model.stem[0].weight


def test_weights_of_a_trained_network_load_without_the_head():
    model = draw(build(small()))
    weights = Weights(small(), model.state_dict())
    backbone = weights.build_features((1, -1))
    assert not backbone.training
    with torch.no_grad():
        want = hooked(model, images(64))
        torch.testing.assert_close(backbone(images(64)), [want[1], want[3]], atol=0, rtol=0)
    assert backbone.feature_info.channels() == [small().dims[1], small().dims[3]]


def test_a_backbone_trains_with_what_is_behind_it():
    torch.manual_seed(0)
    backbone = build_features(small(), (0, 3))
    assert backbone.training
    head = nn.Conv2d(small().dims[3], 2, 1)
    head(backbone(images(64))[-1]).mean().backward()
    assert all(p.grad is not None for p in backbone.parameters())


@pytest.mark.parametrize("wrong", [(4,), (-5, 0), (), (0, 0), (3, -1), 5, 0, -1, (0.5,), (True,), "01"])
def test_unknown_stages_are_refused_in_one_line(wrong):
    with pytest.raises(OptionError) as refused:
        stage_indices(wrong, 4)
    assert "\n" not in str(refused.value)
    assert "out_indices" in str(refused.value)
