"""Networks from timm, made with arguments and with their branches merged."""

import pytest
import torch

from archsearch.arch.networks import TimmModel, network, varied
from archsearch.complexity.counts import count_params
from archsearch.errors import ArchError
from archsearch.nn import build_network, deploy_form


def built(name, **options):
    torch.manual_seed(0)
    return build_network(TimmModel(name, **options))


def modules(model):
    return sum(1 for _ in model.modules())


@pytest.mark.parametrize("name", ["repvgg_a0", "mobileone_s0"])
def test_merged_branches_compute_the_same_with_less(name):
    plain, size = built(name)
    merged = deploy_form(plain)
    assert size == 224
    assert count_params(merged) < count_params(plain)
    assert modules(merged) < modules(plain) / 2
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours, theirs = merged(images), plain(images)
    assert not merged.training
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


def test_every_weight_of_merged_branches_is_counted_and_trained():
    """timm freezes the squeeze-and-excitation of such blocks, as it takes it for one of their branches."""
    merged = deploy_form(built("fastvit_t8")[0])
    assert count_params(merged) == sum(weight.numel() for weight in merged.parameters())
    merged.train()(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(weight.grad is not None for weight in merged.parameters())


def test_a_network_without_branches_stays_what_it_is():
    plain, _ = built("resnet18")
    assert modules(deploy_form(plain)) == modules(plain)


def test_arguments_reach_timm():
    model, size = built("resnet18", img_size=64, kwargs={"num_classes": 7, "act_layer": "silu"})
    assert size == 64
    assert model.fc.out_features == 7
    assert isinstance(model.act1, torch.nn.SiLU)


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"depht": 3}, r"timm:resnet18 \(depht=3\) cannot be built for images of 224 px: .*depht"),
        ({"pretrained": True}, "timm:resnet18: pretrained is not for choice here: networks are built without weights"),
        ({"img_size": 96}, "img_size is not for choice here: --img-size says it"),
        ({"in_chans": 1}, "in_chans is not for choice here: images have 3 channels"),
        ({"width": 1j}, "width=1j is no number, text, truth value, list or mapping"),
    ],
)
def test_arguments_that_timm_cannot_have(kwargs, says):
    with pytest.raises(ArchError, match=says):
        built("resnet18", kwargs=kwargs)


def test_arguments_of_ours_are_fields():
    tiny = network("inceptionnext_tiny")
    assert varied(tiny, {"act": "relu", "depths": (2, 2, 6, 2)}) == tiny.replace(act="relu", depths=(2, 2, 6, 2))
    with pytest.raises(ArchError, match="unknown field of an architecture 'atc': did you mean 'act'"):
        varied(tiny, {"atc": "relu"})
