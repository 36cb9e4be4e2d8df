"""The examples run, and show what they are for."""

import importlib.util
from pathlib import Path

import pytest
import torch

from archsearch.arch.networks import network
from archsearch.handover import Weights, save_weights
from archsearch.nn import build, build_features, init_fan_in
from archsearch.recipes import PROXIES

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def fpn():
    spec = importlib.util.spec_from_file_location("semantic_fpn", EXAMPLES / "semantic_fpn.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def proxy_weights(tmp_path_factory):
    """A file with the weights of a small network, as `confirm` writes them, but untrained."""
    arch = PROXIES["smoke"].shrink(network("inceptionnext_tiny"), 10)
    torch.manual_seed(0)
    model = build(arch)
    init_fan_in(model)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    facts = {"classes": list("abcdefghij"), "mean": [0.5] * 3, "std": [0.25] * 3}
    save_weights(path, Weights(arch, model.state_dict(), facts))
    return path


def test_semantic_fpn_beats_a_constant_guess(fpn, proxy_weights, capsys):
    constant, reached = fpn.main(
        [str(proxy_weights), "--steps", "80", "--batch-size", "8", "--images", "128", "--val-images", "64"]
    )
    assert 0.1 < constant < 0.3  # of four classes, one is right wherever it is
    assert reached > constant + 0.1
    out = capsys.readouterr().out
    assert f"{constant:.3f}" in out
    assert f"{reached:.3f}" in out


@pytest.mark.parametrize("side", [64, 50, 37])
def test_the_head_gives_a_map_of_the_images_size(fpn, side):
    backbone = build_features(PROXIES["smoke"].shrink(network("convnext_tiny"), 10), out_indices=(0, 2, 3))
    model = fpn.SemanticFPN(backbone, 5, 32)
    assert model(torch.randn(2, 3, side, side)).shape == (2, 5, side, side)


def test_an_isotropic_network_has_one_level(fpn):
    backbone = build_features(PROXIES["smoke"].shrink(network("inceptionnext_small_iso"), 10))
    assert fpn.SemanticFPN(backbone, 4, 32)(torch.randn(1, 3, 64, 64)).shape == (1, 4, 64, 64)


def test_mean_iou_of_a_constant_guess_in_closed_form(fpn):
    truth = torch.tensor([[0, 0, 0, 1]])
    assert fpn.mean_iou(fpn.confusion(truth, torch.zeros_like(truth))) == pytest.approx((3 / 4 + 0) / 2)
    assert fpn.mean_iou(fpn.confusion(truth, truth)) == 1


def test_scenes_are_those_of_their_seed(fpn):
    images, masks = fpn.draw_scenes(8, 3)
    again, _ = fpn.draw_scenes(8, 3)
    assert torch.equal(images, again)
    assert images.shape == (8, 3, fpn.SIZE, fpn.SIZE)
    assert 0 <= images.min() < images.max() <= 1
    assert {*masks.unique().tolist()} == {0, 1, 2, 3}
