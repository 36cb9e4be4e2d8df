"""Which architectures timm's own classes can be, held against timm itself."""

import pytest
import timm
import torch

from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import NETWORKS, network
from archsearch.handover.timm_shapes import BeyondTimm, timm_shape
from archsearch.nn import build
from archsearch.recipes import PROXIES

SMALL = {"dims": (16, 24, 32, 40), "depths": (1, 2, 1, 1), "img_size": 64, "num_classes": 7}
INCEPTION = network("inceptionnext_tiny").replace(**SMALL, layer_scale_init_value=0.5)
CONVNEXT = network("convnext_tiny").replace(**SMALL, layer_scale_init_value=0.5)


def same(arch) -> bool:
    """Whether timm's network of the shape has our logits."""
    shape = timm_shape(arch)
    theirs = timm.models.model_entrypoint(shape.entry)(num_classes=arch.num_classes, **shape.args).eval()
    ours = build(arch).eval()
    theirs.load_state_dict(shape.rename(ours.state_dict()))
    assert theirs.get_classifier() is theirs.get_submodule(shape.classifier)
    images = torch.randn(2, 3, arch.img_size, arch.img_size)
    with torch.no_grad():
        return torch.allclose(theirs(images), ours(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "arch",
    [
        INCEPTION,
        INCEPTION.replace(mlp_ratios=(2, 3.5, 4, 1), layer_scale_init_value=0, drop_path_rate=0.2),
        INCEPTION.replace(mixers=(Mixer.of("inception", band_kernel_size=9, branch_ratio=0.25),) * 4),
        CONVNEXT,
        CONVNEXT.replace(mixers=tuple(Mixer.of("depthwise", kernel_size=k) for k in (1, 3, 5, 9)), act="silu"),
        CONVNEXT.replace(layer_scale_init_value=0, act="relu", stem_patch_size=1, img_size=16),
        CONVNEXT.replace(stem_patch_size=7),
    ],
)
def test_timms_own_classes_have_our_logits(arch):
    assert same(arch)


@pytest.mark.parametrize(
    ("arch", "why"),
    [
        (INCEPTION.replace(block="metaformer"), "metaformer blocks"),
        (network("inceptionnext_small_iso"), "4 stages, not 1"),
        (INCEPTION.replace(norm="layer"), "norm batch, not layer"),
        (INCEPTION.replace(act="relu"), "activation gelu, not relu"),
        (INCEPTION.replace(stem_patch_size=2), "stem_patch_size 4, not 2"),
        (INCEPTION.replace(mixers=(*INCEPTION.mixers[:3], Mixer.of("identity"))), r"than identity\(\)"),
        (CONVNEXT.replace(norm="batch"), "norm layer, not batch"),
        (CONVNEXT.replace(mixers=(*CONVNEXT.mixers[:3], Mixer.of("attention"))), r"than attention\(num_heads=4\)"),
        (CONVNEXT.replace(mlp_ratios=(4, 4, 4, 3)), "mlp_ratio 4, not 4, 4, 4, 3"),
        (CONVNEXT.replace(stem_patch_size=2), "other strides"),
        (CONVNEXT.replace(stem_patch_size=8), "other strides"),
    ],
)
def test_what_timm_cannot_be_is_said(arch, why):
    with pytest.raises(BeyondTimm, match=why):
        timm_shape(arch)


def test_a_mix_of_timms_two_inceptions_is_neither():
    mixers = (INCEPTION.mixers[0], Mixer.of("inception", band_kernel_size=9, branch_ratio=0.25)) * 2
    with pytest.raises(BeyondTimm, match=r"than inception\(.*11.*\), inception\(.*9.*\)"):
        timm_shape(INCEPTION.replace(mixers=mixers))


def test_named_networks_of_timms_keep_their_names():
    names = {name: name.replace("inceptionnext", "inception_next") for name in NETWORKS}
    shared = {ours: theirs for ours, theirs in names.items() if timm.is_model(theirs)}
    assert len(shared) == 13
    assert {timm_shape(network(ours)).entry for ours in shared} == set(shared.values())


def test_proxies_differ_by_their_stem():
    proxy = PROXIES["smoke"].shrink(network("convnext_tiny"), 10)
    assert proxy.stem_patch_size == 2
    with pytest.raises(BeyondTimm):
        timm_shape(proxy)
    assert timm_shape(proxy.replace(stem_patch_size=4)).args["dims"] == list(proxy.dims)
