import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.arch.mixer import Mixer, declarations
from archsearch.arch.mixer_types import BRANCHES, MIXER_TYPES
from archsearch.errors import ArchError
from archsearch.nn.mixers import MIXERS, build_mixer


def test_the_two_mixer_tables_agree():
    assert list(MIXERS) == list(MIXER_TYPES)
    for name, kind in MIXER_TYPES.items():
        signature = {p.name: p.default for p in inspect.signature(MIXERS[name]).parameters.values()}
        assert signature.pop("dim") is inspect.Parameter.empty
        assert signature == {key: param.default for key, param in kind.params.items()}


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


def params(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("branches", ["square", "horizontal+vertical", "square+vertical"])
def test_channels_of_a_removed_branch_pass_untouched(branches):
    x = torch.randn(1, 32, 6, 6)
    y = MIXERS["inception"](32, branch_ratio=0.25, branches=branches)(x)
    untouched = 32 - 8 * len(branches.split("+"))
    assert torch.equal(y[:, :untouched], x[:, :untouched])
    assert not torch.isclose(y[:, untouched:], x[:, untouched:]).all(dim=(0, 2, 3)).any()


def test_bands_in_sequence_have_the_parameters_of_parallel_ones_and_share_a_group():
    parallel, sequential = (MIXERS["inception"](64, bands=bands) for bands in ("parallel", "sequential"))
    assert params(parallel) == params(sequential)
    sequential.load_state_dict(parallel.state_dict())
    x = torch.randn(1, 64, 9, 9)
    y = sequential(x)
    assert torch.equal(y[:, :48], x[:, :48])
    torch.testing.assert_close(y[:, 48:56], sequential.dwconv_hw(x[:, 48:56]))
    torch.testing.assert_close(y[:, 56:], sequential.dwconv_h(sequential.dwconv_w(x[:, 56:])))


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_inception_that_fits_keeps_the_shape_and_costs_what_its_branches_cost(data):
    draw = data.draw
    names = draw(st.lists(st.sampled_from(BRANCHES), unique=True, min_size=1))
    mixer = Mixer.of(
        "inception",
        square_kernel_size=draw(st.sampled_from([1, 3, 5])),
        band_kernel_size=draw(st.sampled_from([3, 7, 11])),
        branch_ratio=draw(st.sampled_from([0.05, 0.125, 0.25, 1 / 3, 0.5, 1])),
        branches="+".join(name for name in BRANCHES if name in names),
        bands=draw(st.sampled_from(["parallel", "sequential"])),
        dilation=draw(st.integers(1, 3)),
    )
    dim = draw(st.integers(1, 40))
    if mixer.misfit(dim):
        return
    module = build_mixer(mixer, dim)
    x = torch.randn(2, dim, 5, 8)
    assert module(x).shape == x.shape
    sizes = {
        "square": mixer["square_kernel_size"] ** 2,
        "horizontal": mixer["band_kernel_size"],
        "vertical": mixer["band_kernel_size"],
    }
    group = int(dim * mixer["branch_ratio"])
    assert params(module) == sum(group * (sizes[name] + 1) for name in names)


def test_partial_depthwise_convolves_a_share():
    x = torch.randn(2, 96, 7, 7)
    mixer = MIXERS["partial_depthwise"](96, kernel_size=5, conv_ratio=3 / 8)
    assert params(mixer) == 36 * 26
    y = mixer(x)
    assert torch.equal(y[:, :60], x[:, :60])
    torch.testing.assert_close(y[:, 60:], mixer.dwconv(x[:, 60:]))


def test_a_ratio_of_one_convolves_everything():
    x = torch.randn(2, 8, 7, 7)
    mixer = MIXERS["partial_depthwise"](8, conv_ratio=1)
    torch.testing.assert_close(mixer(x), mixer.dwconv(x))


def test_attention_is_torchs_multi_head_attention():
    x = torch.randn(2, 24, 3, 5)
    mixer = MIXERS["attention"](24, num_heads=6)
    reference = torch.nn.MultiheadAttention(24, 6, batch_first=True)
    reference.in_proj_weight.data, reference.in_proj_bias.data = mixer.qkv.weight.data, mixer.qkv.bias.data
    reference.out_proj.load_state_dict(mixer.proj.state_dict())
    tokens = x.flatten(2).transpose(1, 2)
    expected = reference(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(mixer(x), expected)
    assert params(mixer) == 4 * 24 * 24 + 4 * 24


def test_large_bands_sum_two_oblong_kernels():
    mixer = MIXERS["large_band"](6, long_kernel_size=13, short_kernel_size=3)
    shapes = [tuple(conv.weight.shape[2:]) for conv in (mixer.dwconv_h, mixer.dwconv_w)]
    assert shapes == [(13, 3), (3, 13)]
    x = torch.randn(1, 6, 9, 9)
    square = torch.zeros(6, 1, 13, 13)
    square[:, :, :, 5:8] += mixer.dwconv_h.weight.detach()
    square[:, :, 5:8, :] += mixer.dwconv_w.weight.detach()
    bias = mixer.dwconv_h.bias + mixer.dwconv_w.bias
    expected = torch.nn.functional.conv2d(x, square, bias, padding=6, groups=6)
    torch.testing.assert_close(mixer(x), expected)


def test_mixed_kernels_grow_by_group():
    mixer = MIXERS["mixed_depthwise"](22, num_kernels=4)
    assert mixer.split_sizes == [7, 5, 5, 5]
    assert [conv.kernel_size for conv in mixer.dwconvs] == [(3, 3), (5, 5), (7, 7), (9, 9)]
    x = torch.randn(1, 22, 6, 6)
    torch.testing.assert_close(mixer(x)[:, 12:17], mixer.dwconvs[2](x[:, 12:17]))


def test_dilation_spreads_the_kernel():
    plain, spread = (MIXERS["inception"](8, dilation=d) for d in (1, 2))
    assert [conv.padding for conv in (spread.dwconv_hw, spread.dwconv_w, spread.dwconv_h)] == [(2, 2), (0, 10), (10, 0)]
    assert params(plain) == params(spread)


@pytest.mark.parametrize(
    ("kind", "values", "dim", "words"),
    [
        ("inception", {"branch_ratio": 0.5}, 96, "3 * int(96 * 0.5) = 144 exceeds dim 96; use at most 1/3"),
        ("inception", {"branch_ratio": 0.6, "branches": "square+vertical"}, 10, "use at most 1/2"),
        ("inception", {"branch_ratio": 0.01}, 96, "leaves no channel"),
        ("inception", {"bands": "sequential", "branches": "square+vertical"}, 96, "need the horizontal and the vert"),
        ("partial_depthwise", {"conv_ratio": 0.01}, 96, "leaves no convolution"),
        ("attention", {"num_heads": 5}, 96, "num_heads 5 does not divide dim 96; use one of 1, 2, 3, 4, 6, 8"),
        ("large_band", {"long_kernel_size": 3}, 96, "short_kernel_size 5 exceeds long_kernel_size 3"),
        ("mixed_depthwise", {"num_kernels": 8}, 4, "num_kernels 8 exceeds dim 4"),
    ],
)
def test_misfits_say_what_would_fit(kind, values, dim, words):
    assert words in Mixer.of(kind, **values).misfit(dim)


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("inception", {"branches": ""}, "branches is '', but must be one of square+horizontal+vertical"),
        ("inception", {"branches": "vertical+square"}, "one of"),
        ("inception", {"bands": "serial"}, "bands is 'serial', but must be one of parallel, sequential"),
        ("inception", {"dilation": 0}, "an integer from 1 to 32"),
        ("attention", {"num_heads": 0}, "an integer from 1"),
        ("depthwise", {"kernel_size": 4}, "a positive odd integer"),
    ],
)
def test_parameters_that_make_no_mixer(kind, values, words):
    with pytest.raises(ArchError) as error:
        Mixer.of(kind, **values)
    assert words in str(error.value)


@pytest.mark.parametrize("kind", sorted(set(MIXER_TYPES) - set(declarations())))
def test_every_mixer_learns(kind):
    x = torch.randn(2, 24, 6, 6, requires_grad=True)
    module = build_mixer(Mixer.of(kind), 24)
    (module(x) ** 2).sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
