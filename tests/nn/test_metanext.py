import pytest
import torch
import torch.nn.functional as F

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import network
from archsearch.nn import build, init_fan_in
from archsearch.nn.blocks import DropPath


def test_mixers_may_differ_by_stage():
    mixers = (Mixer.of("inception"), Mixer.of("depthwise", kernel_size=5), Mixer.of("pooling"), Mixer.of("identity"))
    arch = Arch(depths=(1, 2, 1, 1), dims=(16, 24, 32, 40), mixers=mixers, mlp_ratios=(2, 3, 4, 1.5), num_classes=7)
    model = build(arch)
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 7)
    kinds = [type(stage.blocks[0].token_mixer).__name__ for stage in model.stages]
    assert kinds == ["InceptionDWConv2d", "Conv2d", "Pooling", "Identity"]
    assert model.stages[3].blocks[0].mlp.fc1.out_channels == 60


def test_no_layer_scale():
    arch = network("inceptionnext_atto").replace(layer_scale_init_value=0)
    assert not any(name.endswith("gamma") for name, _ in build(arch).named_parameters())


def test_drop_path_keeps_the_mean_and_rests_in_evaluation():
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(4000, 2, 1, 1)
    y = drop(x)
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (y[:, 0] == y[:, 1]).all()
    assert y.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(drop.eval()(x), x)


def test_fan_in_init_gives_every_layer_unit_gain():
    model = build(network("inceptionnext_atto"))
    torch.manual_seed(0)
    init_fan_in(model)
    for name, p in model.named_parameters():
        if p.ndim > 1 and p.numel() > 500:
            assert p.std().item() * p[0].numel() ** 0.5 == pytest.approx(0.98, abs=0.1), name


def test_metanext_has_one_residual_and_metaformer_two():
    arch = Arch(
        depths=(1,),
        dims=(24,),
        mixers=(Mixer.of("inception"),),
        mlp_ratios=(2,),
        norm="layer",
        layer_scale_init_value=0.5,
        stem_patch_size=2,
    )
    x = torch.randn(2, 24, 6, 6)
    block = build(arch).stages[0].blocks[0]
    torch.testing.assert_close(block(x), x + 0.5 * block.mlp(block.norm(block.token_mixer(x))))
    block = build(arch.replace(block="metaformer")).stages[0].blocks[0]
    y = x + 0.5 * block.token_mixer(block.norm1(x))
    torch.testing.assert_close(block(x), y + 0.5 * block.mlp(block.norm2(y)))


def test_metaformer_drops_both_branches():
    arch = network("inceptionnext_atto").replace(block="metaformer", drop_path_rate=0.5)
    block = build(arch).train().stages[3].blocks[1]
    torch.manual_seed(0)
    x = torch.randn(64, 320, 2, 2)
    kept = (block(x) != x).flatten(1).any(1).float().mean().item()
    assert 0.5 < kept < 0.95  # 1 - 0.5 * 0.5


@pytest.mark.parametrize("block", ["metanext", "metaformer"])
def test_isotropic_networks_keep_their_map(block):
    arch = network("inceptionnext_small_iso").replace(block=block, img_size=64, num_classes=5)
    model = build(arch)
    assert model.stages(model.stem(torch.randn(1, 3, 64, 64))).shape == (1, 384, 4, 4)
    assert (arch.stride, arch.side(0)) == (16, 4)


@pytest.mark.parametrize("act", ["gelu", "relu", "silu"])
def test_activations_are_the_named_ones(act):
    model = build(network("inceptionnext_atto").replace(act=act))
    x = torch.linspace(-3, 3, 13)
    torch.testing.assert_close(model.stages[0].blocks[0].mlp.act(x), getattr(F, act)(x))


def test_maps_have_the_sides_that_an_arch_says():
    arch = network("convnext_atto").replace(img_size=100)
    sides = []
    x = (model := build(arch)).stem(torch.randn(1, 3, 100, 100))
    for stage in model.stages:
        x = stage(x)
        sides.append(x.shape[-1])
    assert sides == [arch.side(stage) for stage in range(4)] == [25, 12, 6, 3]
