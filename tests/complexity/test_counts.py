import warnings

import pytest
import torch

from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import network
from archsearch.complexity.counts import count
from archsearch.nn import build
from archsearch.nn.mixers import build_mixer


class Wrapped(torch.nn.Module):
    """A mixer that takes an image of three channels, so that it can be counted like a network."""

    def __init__(self, mixer: Mixer, dim: int) -> None:
        super().__init__()
        self.widen = torch.nn.Conv2d(3, dim, 1, bias=False)
        self.mixer = build_mixer(mixer, dim)

    def forward(self, x):
        return self.mixer(self.widen(x))


@pytest.mark.parametrize("dim", [64, 96])
@pytest.mark.parametrize("kernel", [3, 7, 11])
def test_mixers_cost_what_the_formulas_say(dim, kernel):
    side = 14
    depthwise = count(Wrapped(Mixer.of("depthwise", kernel_size=kernel), dim), side)
    assert depthwise.macs - 3 * dim * side**2 == kernel**2 * dim * side**2
    inception = count(Wrapped(Mixer.of("inception", band_kernel_size=kernel), dim), side)
    assert inception.macs - 3 * dim * side**2 == (2 * kernel + 9) * dim // 8 * side**2
    biases = 3 * dim // 8
    assert inception.params - 3 * dim == (2 * kernel + 9) * dim // 8 + biases


def test_counting_leaves_the_model_as_it_was_and_says_nothing(capfd):
    model = build(network("inceptionnext_atto")).train()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        count(model, 64)
    assert model.training
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert capfd.readouterr() == ("", "")
