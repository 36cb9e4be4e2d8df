import random

import pytest
import tiny

from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import MIXER_TYPES
from archsearch.arch.networks import network
from archsearch.complexity import parts
from archsearch.complexity.counts import count, count_activations
from archsearch.complexity.parts import PartCounter
from archsearch.nn import build, load_mixers

SPACES = ["convnext_dw", "inception_dw", "macro", "metanext", "token_mixers"]


@pytest.mark.parametrize("name", SPACES)
def test_parts_add_up_to_the_whole(name):
    space, rng = tiny.shipped_space(name), random.Random(0)
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
    space, counter = tiny.shipped_space("inception_dw"), PartCounter()
    counted = []
    monkeypatch.setattr(parts, "_quick_count", lambda *part: None)
    monkeypatch.setattr(counter, "_count", lambda *part: counted.append(part) or {"params": 1.0})
    archs = [space.arch(params) for params in space.grid()]
    for arch in archs:
        counter(arch)
    number = len(counted)
    assert number < len(archs) * 4
    for arch in archs:
        counter(arch)
    assert len(counted) == number


#: Mixers whose operators torch's counter misses, counts otherwise than fvcore, or cannot run without values.
UNUSUAL = """
import torch
import torch.nn.functional as F
from torch import nn

class Recurrent(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
    def forward(self, x):
        y, _ = self.lstm(x.flatten(2).transpose(1, 2))
        return y.transpose(1, 2).reshape(x.shape)

class Spectral(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim, 1, 1))
    def forward(self, x):
        return torch.fft.irfft2(torch.fft.rfft2(x) * self.gain, s=x.shape[-2:])

class Summed(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.mix = nn.Parameter(torch.eye(dim))
    def forward(self, x):
        return torch.einsum("nchw,cd,de->nehw", x, self.mix, self.mix)

class Interpolated(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(1, dim), nn.Conv2d(dim, dim, 3, padding="same", groups=dim)
    def forward(self, x):
        y = F.interpolate(self.conv(x), scale_factor=2, mode="bilinear")
        return F.adaptive_avg_pool2d(self.norm(y), x.shape[-2:])

class NormedWhereWide(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 1)
        self.norm = nn.BatchNorm2d(dim) if dim > 80 else nn.Identity()
    def forward(self, x):
        return self.norm(self.conv(x))

class AskingForValues(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3, padding=1)
    def forward(self, x):
        return self.conv(x) if float(x.sum()) < 1e9 else x

MIXERS = {"recurrent": Recurrent, "spectral": Spectral, "summed": Summed, "interpolated": Interpolated,
          "normed_where_wide": NormedWhereWide, "asking_for_values": AskingForValues}
"""


def test_unusual_mixers_are_counted_as_in_the_whole(tmp_path):
    path = tmp_path / "unusual.py"
    path.write_text(UNUSUAL)
    counter = PartCounter()
    for name in load_mixers(path):
        arch = network("convnext_atto").replace(img_size=64, mixers=(Mixer.of(name),) * 4)
        whole, added = count(build(arch), arch.img_size), counter(arch)
        assert (added["params"], added["macs"]) == (whole.params, whole.macs), name


def test_every_built_in_mixer_is_counted_quickly(monkeypatch):
    """Both counters agree on all of them, so that only the first width of each is counted in full."""
    counter, full = PartCounter(), []
    count_in_full = counter._count
    monkeypatch.setattr(counter, "_count", lambda *part: full.append(part) or count_in_full(*part))
    for name in (name for name, kind in MIXER_TYPES.items() if kind.source is None):
        for dim in (48, 96):
            counter._mixer(Mixer.of(name), dim, 12)
        assert len(full) == 1, name
        full.clear()
