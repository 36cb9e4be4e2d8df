import inspect

import pytest
import timm
import torch

from archsearch.arch import MIXER_PARAMS, Arch, Mixer
from archsearch.networks import NETWORKS, network
from archsearch.nn import MIXERS, build, init_fan_in
from archsearch.nn.metanext import DropPath

#: Parameters as counted from the official code, at 1000 classes.
PARAMETERS = {
    "inceptionnext_atto": 4_156_520,
    "inceptionnext_tiny": 28_055_680,
    "inceptionnext_small": 49_374_016,
    "inceptionnext_base": 86_672_136,
    "convnext_tiny": 28_589_128,
}


def timm_twin(name: str) -> torch.nn.Module:
    return timm.create_model(name.replace("inceptionnext", "inception_next"))


def state_from_timm(
    name: str, state: dict[str, torch.Tensor], ours: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """timm's keys and shapes mapped to ours: ConvNeXt's linear layers are 1 x 1 convolutions here."""
    renamed = {key.replace("conv_dw", "token_mixer"): value for key, value in state.items()}
    return {key: value.reshape(ours[key].shape) if "mlp.fc" in key else value for key, value in renamed.items()}


def randomise(model: torch.nn.Module) -> None:
    """Weights, statistics and layer scales that make every part of the network count."""
    generator = torch.Generator().manual_seed(1)
    for key, value in model.state_dict().items():
        if value.dtype.is_floating_point:
            noise = torch.rand(value.shape, generator=generator)
            value.copy_(noise + 0.5 if key.endswith(("running_var", "gamma")) else (noise - 0.5) * 0.1)


@pytest.mark.parametrize("name", NETWORKS)
def test_same_state_gives_timms_logits(name):
    theirs, ours = timm_twin(name), build(network(name))
    randomise(theirs)
    ours.load_state_dict(state_from_timm(name, theirs.state_dict(), ours.state_dict()), strict=True)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, got = theirs.eval()(images), ours.eval()(images)
    assert expected.std() > 1e-3
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_same_number_of_parameters_as_timm(name):
    count = sum(p.numel() for p in build(network(name)).parameters())
    assert count == sum(p.numel() for p in timm_twin(name).parameters())
    assert count == PARAMETERS.get(name, count)


def test_the_two_mixer_tables_agree():
    assert list(MIXERS) == list(MIXER_PARAMS)
    for name, params in MIXER_PARAMS.items():
        signature = {p.name: p.default for p in inspect.signature(MIXERS[name]).parameters.values()}
        assert signature.pop("dim") is inspect.Parameter.empty
        assert signature == {key: param.default for key, param in params.items()}


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("size", [(8, 8), (5, 7), (1, 1)])
def test_mixers_keep_the_shape(name, size):
    x = torch.randn(2, 24, *size)
    assert MIXERS[name](24)(x).shape == x.shape


def test_inception_leaves_the_identity_channels_alone():
    x = torch.randn(1, 32, 6, 6)
    y = MIXERS["inception"](32, branch_ratio=0.125)(x)
    assert torch.equal(y[:, :20], x[:, :20])
    assert not torch.isclose(y[:, 20:], x[:, 20:]).all(dim=(0, 2, 3)).any()


def test_bands_reach_as_far_as_they_are_long():
    mixer = MIXERS["inception"](8, square_kernel_size=3, band_kernel_size=7, branch_ratio=0.125)
    for conv in (mixer.dwconv_hw, mixer.dwconv_w, mixer.dwconv_h):
        torch.nn.init.ones_(conv.weight)
        torch.nn.init.zeros_(conv.bias)
    x = torch.zeros(1, 8, 15, 15)
    x[:, :, 7, 7] = 1
    reach = [tuple(int((plane != 0).any(dim=d).sum()) for d in (1, 0)) for plane in mixer(x)[0]]
    assert reach == [(1, 1)] * 5 + [(3, 3), (1, 7), (7, 1)]


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


def test_stochastic_depth_matches_timm():
    ours = build(network("inceptionnext_tiny"))
    theirs = timm.create_model("inception_next_tiny", drop_path_rate=0.1)

    def rates(model):
        return [
            getattr(b.drop_path, "rate", getattr(b.drop_path, "drop_prob", 0)) for s in model.stages for b in s.blocks
        ]

    assert rates(ours) == pytest.approx(rates(theirs))


def test_fan_in_init_gives_every_layer_unit_gain():
    model = build(network("inceptionnext_atto"))
    torch.manual_seed(0)
    init_fan_in(model)
    for name, p in model.named_parameters():
        if p.ndim > 1 and p.numel() > 500:
            assert p.std().item() * p[0].numel() ** 0.5 == pytest.approx(0.98, abs=0.1), name
