import json

import pytest

from archsearch.arch import Arch
from archsearch.errors import ArchError
from archsearch.mixer import MIXER_PARAMS, Mixer
from archsearch.networks import NETWORKS, network

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
    assert {name: network(name).key for name in ("inceptionnext_tiny", "convnext_atto")} == {
        "inceptionnext_tiny": "fe9bb261c433",
        "convnext_atto": "62c859877e7d",
    }


def test_keys_tell_networks_apart():
    assert len({arch.key for arch in NETWORKS.values()}) == len(NETWORKS)


def test_key_does_not_depend_on_how_numbers_are_written():
    assert TINY.replace(mlp_ratios=(4, 4, 4, 3)).key == TINY.replace(mlp_ratios=(4.0, 4.0, 4.0, 3.0)).key


def test_lists_become_tuples():
    assert TINY.replace(depths=[3, 3, 9, 3]) == TINY


def test_mixer_fills_defaults_and_orders_parameters():
    a = Mixer("inception", (("branch_ratio", 0.25), ("square_kernel_size", 5)))
    b = Mixer.of("inception", square_kernel_size=5, band_kernel_size=11, branch_ratio=0.25)
    assert a == b
    assert list(dict(a.params)) == list(MIXER_PARAMS["inception"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dims": (96, 192)}, "dims has 2 entries"),
        ({"depths": (3, 0, 9, 3)}, "positive integers"),
        ({"depths": 3}, "one entry per stage"),
        ({"norm": "bach"}, "did you mean 'batch'"),
        ({"head": "mpl"}, "did you mean 'mlp'"),
        ({"drop_path_rate": 1.0}, "in [0, 1)"),
        ({"layer_scale_init_value": -1}, ">= 0"),
        ({"img_size": 16}, "smaller than the network's stride 32"),
        ({"num_classes": True}, "positive integer"),
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
