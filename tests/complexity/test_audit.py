import warnings

import pytest
import timm
import torch
from torch import nn

from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import network
from archsearch.complexity.audit import audit
from archsearch.complexity.counts import one_image
from archsearch.nn import build
from archsearch.nn.mixers import build_mixer


def audited(mixer: Mixer, dim: int = 32, side: int = 8):
    return audit(build_mixer(mixer, dim), torch.zeros(1, dim, side, side))


def by_name(checked):
    return {row.name: row for row in checked.operators}


def test_bytes_are_those_of_every_input_and_output():
    """Inception at ratio 1/8: three convolutions of 4 channels, then all 32 are read and written by cat."""
    plane = 8 * 8 * 4  # bytes of one channel
    rows = by_name(audited(Mixer.of("inception")))
    assert rows["convolution"].bytes_moved == 3 * (4 + 4) * plane
    assert rows["cat"].bytes_moved == (32 + 32) * plane
    assert rows["split"].bytes_moved == 0
    assert audited(Mixer.of("depthwise")).bytes_moved[""] == (32 + 32) * plane
    assert audited(Mixer.of("identity")).bytes_moved.get("", 0) == 0


def test_what_fvcore_hides_is_named():
    checked = audited(Mixer.of("inception"))
    assert checked.skipped == ("cat", "split")
    assert audited(Mixer.of("pooling")).skipped == ("sub", "avg_pool2d")


def test_fused_attention_is_counted_by_both():
    """Keys, queries, values and output: 4 C^2 L; the two products of attention: 2 C L^2."""
    tokens, dim = 64, 32
    checked = audited(Mixer.of("attention", num_heads=4))
    rows = by_name(checked)
    assert rows["attention"].fvcore_macs == rows["attention"].flop_counter_macs == 2 * dim * tokens**2
    assert rows["matmul"].fvcore_macs == 4 * dim**2 * tokens
    assert checked.macs[""] == checked.flop_counter_macs == 4 * dim**2 * tokens + 2 * dim * tokens**2


@pytest.mark.parametrize("name", ["inceptionnext_atto", "convnext_atto", "metanext_attn_small_iso"])
def test_counters_differ_by_the_norms_alone(name):
    model = build(network(name))
    checked = audit(model, one_image(model, 64))
    norms = sum(row.fvcore_macs for row in checked.operators if row.name.endswith("_norm"))
    assert norms > 0
    assert checked.macs[""] == checked.flop_counter_macs + norms


def test_in_place_operators_and_copies_move_bytes_and_views_do_not():
    class Busy(nn.Module):
        def forward(self, x):
            y = x.permute(0, 2, 3, 1).reshape(-1)  # a copy: the order of memory changes
            return y.view(2, -1).add_(1)

    checked = audit(Busy(), torch.zeros(1, 3, 4, 4))
    rows = by_name(checked)
    assert rows["clone"].bytes_moved == 2 * 3 * 16 * 4
    assert rows["add"].bytes_moved == 2 * 3 * 16 * 4
    assert checked.bytes_moved[""] == 4 * 3 * 16 * 4


def test_parameters_are_not_counted_as_traffic():
    conv = nn.Conv2d(3, 5, 3, padding=1)
    assert audit(conv, torch.zeros(1, 3, 4, 4)).bytes_moved[""] == (3 + 5) * 16 * 4


def test_modules_know_their_shapes_and_shares():
    model = build(network("inceptionnext_atto"))
    checked = audit(model, one_image(model, 64))
    assert checked.outputs["stages.1"] == (80, 8, 8)
    stages = [checked.bytes_moved[f"stages.{i}"] for i in range(4)]
    assert checked.bytes_moved["stages"] == sum(stages)
    assert checked.bytes_moved[""] == sum(checked.bytes_moved[name] for name in ("stem", "stages", "head"))
    assert sum(row.bytes_moved for row in checked.operators) == checked.bytes_moved[""]


def test_auditing_leaves_the_model_as_it_was_and_says_nothing(capfd):
    model = build(network("inceptionnext_atto")).train()
    model.stem.eval().requires_grad_(False)  # frozen, as in fine-tuning
    modes = [module.training for module in model.modules()]
    learning = [p.requires_grad for p in model.parameters()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audit(model, one_image(model, 64))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == learning
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert capfd.readouterr() == ("", "")


class Products(nn.Module):
    """Operators that fvcore alone would count as nothing."""

    def __init__(self):
        super().__init__()
        self.same = nn.Conv2d(3, 4, 3, padding="same", groups=1, dilation=2)

    def forward(self, x):
        y = self.same(x).flatten(2)  # (1, 4, 64)
        return torch.baddbmm(torch.zeros(1, 4, 4), y, y.transpose(1, 2))


def test_no_product_is_lost():
    checked = audit(Products(), torch.zeros(1, 3, 8, 8))
    assert checked.macs[""] == checked.flop_counter_macs == 3 * 4 * 9 * 64 + 4 * 64 * 4


class Tokens(nn.Module):
    """Passes a parameter to a module, as class attention does."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.ones(1, 3, 1, 1))
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(self.token) + self.conv(x)


def test_parameters_that_modules_are_given_do_no_harm():
    assert audit(Tokens(), torch.zeros(1, 3, 8, 8)).flop_counter_macs == 3 * 4 * 65


def moved(forward) -> float:
    """Bytes that a function of a map moves, in maps."""

    class Own(nn.Module):
        def forward(self, x):
            return forward(x)

    x = torch.zeros(1, 4, 6, 6)
    return audit(Own(), x).bytes_moved[""] / (x.numel() * 4)


def halves(x):
    y = torch.empty_like(x)
    y[:, :2] = x[:, 2:]
    y[:, 2:] = x[:, :2]
    return y


@pytest.mark.parametrize(
    ("forward", "maps"),
    [
        (lambda x: x * x, 2),
        (lambda x: x.clone(), 2),
        (halves, 2),  # reads a half, writes a half, twice
        (lambda x: torch.add(x, 1, out=torch.empty_like(x)), 2),
        (lambda x: x.clone().fill_(0), 3),
        (lambda x: x.clone().unsqueeze_(0), 2),
        (lambda x: x + x.mean((2, 3), keepdim=True).expand_as(x), 1 + 2 + 2 / 36),
        (lambda x: torch.cat((x[:, :1], x[:, 1:]), 1), 2),
    ],
)
def test_what_is_read_and_written_moves_and_nothing_else(forward, maps):
    assert moved(forward) == pytest.approx(maps)


class Attended(nn.Module):
    """torch's own attention, whose fast path no counter sees into."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


def test_torchs_own_attention_is_counted():
    checked = audit(Attended(), torch.zeros(1, 10, 16))
    assert checked.macs[""] == checked.flop_counter_macs == 4 * 16 * 16 * 10 + 2 * 16 * 10 * 10
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(
    ("left", "right", "macs"),
    [((5, 16), (16,), 80), ((16, 16), (2, 16, 8), 2 * 16 * 16 * 8), ((2, 4, 16), (16, 8), 2 * 4 * 16 * 8)],
)
def test_products_of_vectors_and_of_batches_on_either_side(left, right, macs):
    class Product(nn.Module):
        def forward(self, x):
            return x @ torch.ones(right)

    checked = audit(Product(), torch.zeros(left))
    assert checked.macs[""] == macs
    assert checked.flop_counter_macs == (macs if len(right) > 1 else 0)  # torch's counter knows no mv
    assert by_name(checked)["matmul"].calls == 1


@pytest.mark.parametrize("name", ["resnet18", "deit_tiny_patch16_224", "convnext_atto"])
def test_the_operators_add_up_to_the_total(name):
    model = timm.create_model(name)
    checked = audit(model, one_image(model, 224))
    assert sum(row.fvcore_macs or 0 for row in checked.operators) == checked.macs[""]
