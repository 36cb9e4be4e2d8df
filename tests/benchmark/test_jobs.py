"""Networks as they are stored and sent to the process that times."""

import json

import pytest

from archsearch.arch.networks import TimmModel
from archsearch.benchmark.jobs import network_from_dict, network_to_dict


@pytest.mark.parametrize(
    ("model", "stored"),
    [
        (TimmModel("resnet18", 64), {"timm": {"name": "resnet18", "img_size": 64}}),  # as in version 0.1.0
        (TimmModel("resnet18"), {"timm": {"name": "resnet18", "img_size": None}}),
        (
            TimmModel("repvgg_a0", None, {"drop_rate": 0.1}),
            {"timm": {"name": "repvgg_a0", "img_size": None, "kwargs": {"drop_rate": 0.1}}},
        ),
    ],
)
def test_networks_of_timms_are_stored_by_what_is_asked_of_them(model, stored):
    assert json.dumps(network_to_dict(model)) == json.dumps(stored)
    assert network_from_dict(stored) == model
    assert hash(network_from_dict(stored)) == hash(model)
