import random

import pytest

from archsearch.arch.networks import network
from archsearch.complexity import parts
from archsearch.complexity.counts import count, count_activations
from archsearch.complexity.parts import PartCounter
from archsearch.nn import build
from archsearch.space.yaml import load_space
from archsearch.utils.package_data import shipped

SPACES = ["convnext_dw", "inception_dw", "macro", "metanext", "token_mixers"]


@pytest.mark.parametrize("name", SPACES)
def test_parts_add_up_to_the_whole(name):
    space, rng = load_space(name, shipped("search_spaces")), random.Random(0)
    counter = PartCounter()
    for _ in range(2):
        arch = space.arch(space.sample(rng)).replace(img_size=64)
        model = build(arch)
        whole = count(model, arch.img_size)
        added = counter(arch)
        assert (added["params"], added["macs"]) == (whole.params, whole.macs)


def test_activations_add_up_too():
    arch = network("inceptionnext_atto").replace(img_size=64)
    assert PartCounter(activations=True)(arch)["activations"] == count_activations(build(arch), arch.img_size)


def test_a_part_is_counted_once(monkeypatch):
    space, counter = load_space("inception_dw", shipped("search_spaces")), PartCounter()
    counted = []
    monkeypatch.setattr(parts, "_shipped_mixer", lambda *part: counted.append(part) or {"params": 1.0})
    monkeypatch.setattr(counter, "_count", lambda *part: counted.append(part) or {"params": 1.0})
    archs = [space.arch(params) for params in space.grid()]
    for arch in archs:
        counter(arch)
    number = len(counted)
    assert number < len(archs) * 4
    for arch in archs:
        counter(arch)
    assert len(counted) == number
