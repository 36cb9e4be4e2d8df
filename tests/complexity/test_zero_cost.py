import copy

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from archsearch.complexity.zero_cost import naswot, synflow
from archsearch.nn import build, init_fan_in


def small(norm="batch"):
    torch.manual_seed(0)
    model = build(tiny.PLAIN.replace(norm=norm))
    init_fan_in(model)
    return model


def test_synflow_of_linear_layers_has_a_closed_form():
    torch.manual_seed(0)
    first, second = nn.Linear(12, 5, bias=False), nn.Linear(5, 3, bias=False)
    model = nn.Sequential(nn.Flatten(), first, second)
    through = torch.ones(3) @ second.weight.abs() @ first.weight.abs() @ torch.ones(12)
    assert synflow(model, 2) == pytest.approx(float((2 * through).detach().log()))  # each layer has all of it


@pytest.mark.parametrize("score", [lambda m: synflow(m, 32), lambda m: naswot(m, torch.randn(8, 3, 32, 32))])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_scored_network_is_as_it_was(score, norm):
    model = small(norm)
    before, forwards = copy.deepcopy(model.state_dict()), [dict(vars(m)).get("forward") for m in model.modules()]
    assert np.isfinite(score(model))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.dtype == before[name].dtype for name, value in model.state_dict().items())
    assert [dict(vars(m)).get("forward") for m in model.modules()] == forwards
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_naswot_is_the_slow_one():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 9), nn.GELU())
    images = torch.randn(6, 3, 2, 2)
    with torch.no_grad():
        hidden = model[1](model[0](images))
        codes = torch.cat([hidden, model[3](model[2](hidden))], dim=1) > 0
    agree = np.array([[float((a == b).sum()) for b in codes] for a in codes])
    assert naswot(model, images) == pytest.approx(np.linalg.slogdet(agree)[1], rel=1e-5)


def test_images_that_are_told_apart_score_more():
    torch.manual_seed(2)
    model = small()
    images = torch.randn(16, 3, 32, 32)
    assert naswot(model, images) > naswot(model, images[:1] + 0.01 * images)


def test_wider_is_more():
    torch.manual_seed(0)
    wide = build(tiny.PLAIN.replace(dims=(32, 48, 64, 80)))
    init_fan_in(wide)
    assert synflow(wide, 32) > synflow(small(), 32)
