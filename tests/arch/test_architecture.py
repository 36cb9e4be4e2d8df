import json

import pytest

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import MIXER_TYPES
from archsearch.arch.networks import NETWORKS, network
from archsearch.errors import ArchError

TINY = network("inceptionnext_tiny")


@pytest.mark.parametrize("name", NETWORKS)
def test_round_trips_through_json(name):
    arch = network(name)
    back = Arch.from_dict(json.loads(json.dumps(arch.to_dict())))
    assert back == arch
    assert hash(back) == hash(arch)
    assert back.key == arch.key


def test_keys_are_stable():
    # A study stores keys: a change here would orphan every record that was ever made.
    assert {name: arch.key for name, arch in NETWORKS.items()} == {
        "inceptionnext_atto": "230410e39ff8",
        "inceptionnext_tiny": "fe9bb261c433",
        "inceptionnext_small": "e60fb0157653",
        "inceptionnext_base": "490f554aee02",
        "convnext_atto": "62c859877e7d",
        "convnext_femto": "fd3875ae4fe4",
        "convnext_pico": "b863e2ee23a1",
        "convnext_nano": "020e3b4a0a8d",
        "convnext_tiny": "24d3da1e1d1a",
        "convnext_small": "e46215b6811e",
        "convnext_base": "ae7fe6d27b34",
        "convnext_large": "0f08409435b6",
        "convnext_xlarge": "11add56ba6a1",
        "convnext_tiny_k5": "1b8f61cd51ef",
        "convnext_tiny_k3": "d68709179ae2",
        "convnext_tiny_k3_ratio1_2": "1e50b8b1ec55",
        "convnext_tiny_k3_ratio3_8": "1b44a4c15b20",
        "convnext_tiny_k3_ratio1_4": "9697b49f189f",
        "convnext_tiny_k3_ratio1_8": "11ea34b0693f",
        "convnext_tiny_k3_ratio1_16": "590ac44f3df3",
        "metanext_attn_small_iso": "46f7aeed538e",
        "convnext_small_iso": "e7974d6715e0",
        "inceptionnext_small_iso": "b1a402024f25",
        "inceptionnext_tiny_no_horizontal": "b5d22be8d911",
        "inceptionnext_tiny_no_vertical": "e0f8b5cb45cd",
        "inceptionnext_tiny_no_square": "d280e2453eaa",
        "inceptionnext_tiny_sequential": "f9c2ae254861",
        "inceptionnext_tiny_band7": "451275adc06a",
        "inceptionnext_tiny_band9": "c556b1240847",
        "inceptionnext_tiny_band13": "6f5739d75dd0",
        "inceptionnext_tiny_ratio1_4": "810fa518242b",
        "inceptionnext_tiny_ratio1_16": "bf0cab212380",
        "inceptionnext_tiny_layer_norm": "71acb465e5b6",
    }


def test_keys_tell_networks_apart():
    assert len({arch.key for arch in NETWORKS.values()}) == len(NETWORKS)


def test_key_does_not_depend_on_how_numbers_are_written():
    assert TINY.replace(mlp_ratios=(4, 4, 4, 3)).key == TINY.replace(mlp_ratios=(4.0, 4.0, 4.0, 3.0)).key
    assert TINY.replace(layer_scale_init_value=1).key == TINY.replace(layer_scale_init_value=1.0).key
    ratios = [Mixer.of("partial_depthwise", conv_ratio=ratio) for ratio in (1, 1.0)]
    assert len({TINY.replace(mixers=(mixer,) * 4).key for mixer in ratios}) == 1


def test_lists_become_tuples():
    assert TINY.replace(depths=[3, 3, 9, 3]) == TINY


def test_mixer_fills_defaults_and_orders_parameters():
    a = Mixer("inception", (("branch_ratio", 0.25), ("square_kernel_size", 5)))
    b = Mixer.of("inception", square_kernel_size=5, band_kernel_size=11, branch_ratio=0.25)
    assert a == b
    assert list(dict(a.params)) == list(MIXER_TYPES["inception"].params)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dims": (96, 192)}, "dims has 2 entries"),
        ({"depths": (3, 0, 9, 3)}, "positive integers"),
        ({"depths": 3}, "one entry per stage"),
        ({"block": "metanex"}, "did you mean 'metanext'"),
        ({"norm": "bach"}, "did you mean 'batch'"),
        ({"head": "mpl"}, "did you mean 'mlp'"),
        ({"drop_path_rate": 1.0}, "in [0, 1)"),
        ({"layer_scale_init_value": -1}, ">= 0"),
        ({"img_size": 16}, "smaller than the network's stride 32"),
        ({"num_classes": True}, "positive integer"),
        ({"num_classes": 10**30}, "of at most 1,000,000"),
        ({"img_size": 10**5000}, "img_size is a number of thousands of digits, but must be"),
        ({"mlp_ratios": (10**400, 4, 4, 4)}, "positive numbers of at most 64"),
        ({"mlp_ratios": (4, 4, 0.001, 4)}, "stage 3: mlp_ratio 0.001 leaves no channel"),
        ({"mlp_ratios": (4, 4, 4, "3")}, "positive numbers"),
        ({"mixers": (Mixer.of("inception", branch_ratio=0.5),) * 4}, "3 * int(96 * 0.5) = 144 exceeds dim 96"),
        ({"mixers": (Mixer.of("inception", branch_ratio=0.005),) * 4}, "leaves no channel"),
    ],
)
def test_impossible_architectures_say_what_would_be_right(changes, words):
    with pytest.raises(ArchError) as error:
        TINY.replace(**changes)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"token_mixer": "incepton"}, "did you mean 'inception'"),
        ({"token_mixer": "inception", "band_kernel": 11}, "did you mean 'band_kernel_size'"),
        ({"token_mixer": "inception", "band_kernel_size": 10}, "positive odd integer"),
        ({"token_mixer": "inception", "band_kernel_size": 11.0}, "positive odd integer"),
        ({"token_mixer": "inception", "branch_ratio": 0}, "(0, 1]"),
        ({"kernel_size": 3}, "needs 'token_mixer'"),
    ],
)
def test_impossible_mixers_say_what_would_be_right(data, words):
    with pytest.raises(ArchError) as error:
        Mixer.from_dict(data)
    assert words in str(error.value)


def test_unknown_and_missing_fields():
    data = TINY.to_dict()
    with pytest.raises(ArchError, match="did you mean 'depths'"):
        Arch.from_dict({**data, "depth": [1]})
    del data["dims"]
    with pytest.raises(ArchError, match="needs dims"):
        Arch.from_dict(data)
    with pytest.raises(ArchError, match="did you mean 'inceptionnext_tiny'"):
        network("inceptionnext_tinny")
    with pytest.raises(ArchError, match="comes ready made from timm"):
        network("timm:resnet50")


def test_blocks_have_keys_of_their_own_and_old_records_are_metanext():
    assert TINY.replace(block="metaformer").key != TINY.key
    data = TINY.to_dict()
    assert data.pop("block") == "metanext"
    for mixer in data["mixers"]:
        for name in ("branches", "bands", "dilation"):
            del mixer[name]
    assert Arch.from_dict(data) == TINY
