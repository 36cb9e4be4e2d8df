import pytest
import timm
import torch

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import MIXER_TYPES
from archsearch.arch.networks import network
from archsearch.complexity.receptive import mixer_field, stage_fields, traced_field, traced_fields
from archsearch.nn import build, load_mixers
from archsearch.nn.mixers import MIXERS, build_mixer


@pytest.mark.parametrize(
    ("mixer", "field"),
    [
        (Mixer.of("identity"), (1, 1)),
        (Mixer.of("pooling", pool_size=5), (5, 5)),
        (Mixer.of("depthwise", kernel_size=9), (9, 9)),
        (Mixer.of("partial_depthwise", kernel_size=5), (5, 5)),
        (Mixer.of("inception"), (11, 11)),
        (Mixer.of("inception", branches="square+vertical"), (11, 3)),
        (Mixer.of("inception", branches="horizontal"), (1, 11)),
        (Mixer.of("inception", branches="square", dilation=6), (13, 13)),
        (Mixer.of("inception", bands="sequential", band_kernel_size=7, dilation=2), (13, 13)),
        (Mixer.of("mixed_depthwise", num_kernels=3), (7, 7)),
        (Mixer.of("large_band", long_kernel_size=13, short_kernel_size=3), (13, 13)),
        (Mixer.of("attention"), "image"),
    ],
    ids=str,
)
def test_gradients_give_the_field_that_the_kernels_say(mixer, field):
    assert mixer_field(mixer, dim=24, side=16) == field
    assert traced_field(build_mixer(mixer, 24), dim=24, side=16) == field


def test_every_mixer_of_ours_has_a_receptive_field():
    assert all(MIXER_TYPES[name].receptive_field for name in MIXERS)


def test_a_field_does_not_depend_on_the_map():
    """A band of 13 on a map of 7 still sees a cross and not the whole map."""
    arch = network("inceptionnext_tiny_band13")
    assert stage_fields(arch) == stage_fields(arch.replace(img_size=448))
    assert stage_fields(arch)[-1] == (3344, 3344)


OWN = """
import torch
import torch.nn.functional as F
from torch import nn

class Own(nn.Module):
    def __init__(self, dim):
        super().__init__()

    def forward(self, x):
        return BODY

MIXERS = {"own": Own}
"""


@pytest.mark.parametrize(
    ("body", "side", "field"),
    [
        ("x.roll(2, 2) + x.roll(-1, 3)", 14, (3, 2)),  # what wraps around the border is judged in the middle
        ("F.avg_pool2d(x, 9, 1, 4)", 14, (9, 9)),
        ("F.avg_pool2d(x, 9, 1, 4)", 8, (9, 9)),  # cut off in the middle, not at the corners
        ("F.max_pool2d(x, 7, 1, 3)", 14, (7, 7)),
        ("x + x.mean(3, keepdim=True)", 14, (1, 14)),
        ("x.roll(3, 3)", 7, (1, 4)),
        ("F.conv2d(x, torch.ones(4, 1, 3, 3), padding=4, dilation=4, groups=4)", 14, (9, 9)),
        ("F.avg_pool2d(x, (1, 9), 1, (0, 4))", 7, (1, 9)),
        ("x + x.mean((2, 3), keepdim=True)", 14, "image"),
        ("x.softmax(1)", 14, (1, 1)),
        ("F.conv2d(x, torch.ones(4, 1, 3, 3), padding=1, groups=4)", 14, (3, 3)),  # constants of single precision
        ("x.detach()", 14, None),
    ],
)
def test_a_users_mixer_is_followed(tmp_path, body, side, field):
    (tmp_path / "own.py").write_text(OWN.replace("BODY", body))
    load_mixers(tmp_path / "own.py")
    assert mixer_field(Mixer.of("own"), dim=4, side=side) == field


def test_nothing_is_said_from_an_unknown_field_on(tmp_path):
    (tmp_path / "own.py").write_text(OWN.replace("BODY", "x.detach()"))
    load_mixers(tmp_path / "own.py")
    kinds = ("depthwise", "own", "identity", "attention")
    arch = network("convnext_tiny").replace(mixers=tuple(Mixer.of(kind) for kind in kinds))
    assert stage_fields(arch) == ((4, 4), (76, 76), None, None, None)


def test_the_field_of_a_plain_stack_is_the_textbooks():
    """Stem 4; 3 blocks of 7 at stride 4; downsampling; 3 at 8; ..."""
    assert stage_fields(network("convnext_tiny").replace(depths=(3, 3, 1, 1))) == (
        (4, 4),
        (4 + 3 * 6 * 4,) * 2,
        (76 + 4 + 3 * 6 * 8,) * 2,
        (224 + 8 + 6 * 16,) * 2,
        (328 + 16 + 6 * 32,) * 2,
    )


@pytest.mark.parametrize("block", ["metanext", "metaformer"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_adding_up_agrees_with_following_the_whole_network(block, norm):
    mixers = (
        Mixer.of("inception", band_kernel_size=5, branches="square+horizontal", branch_ratio=0.25),
        Mixer.of("pooling"),
        Mixer.of("partial_depthwise", kernel_size=5),
    )
    arch = Arch((2, 1, 2), (8, 12, 16), mixers, (2, 2, 2), norm, stem_patch_size=2, img_size=120, block=block)
    followed = traced_fields(build(arch), ["stem", *(f"stages.{i}" for i in range(3))], 120)
    assert tuple(followed.values()) == stage_fields(arch)
    assert stage_fields(arch)[1] == (2 + 2 * 2 * 2, 2 + 2 * 4 * 2)


def test_from_attention_on_everything_is_seen():
    arch = network("inceptionnext_tiny").replace(
        mixers=(Mixer.of("identity"), Mixer.of("depthwise"), Mixer.of("attention"), Mixer.of("identity"))
    )
    assert stage_fields(arch)[:3] == ((4, 4), (4, 4), (8 + 3 * 6 * 8,) * 2)
    assert stage_fields(arch)[3:] == ("image", "image")


def test_a_residual_network_of_timms_is_followed():
    model = timm.create_model("resnet18")
    state = {key: value.clone() for key, value in model.state_dict().items()}
    fields = traced_fields(model, ["conv1", "maxpool", "layer1", "layer2", "layer3", "fc"], 256)
    # Araujo et al. 2019: conv1 7, pooling 11, then two blocks of two 3 x 3 convolutions per stage.
    assert fields == {
        "conv1": (7, 7),
        "maxpool": (11, 11),
        "layer1": (43, 43),
        "layer2": (99, 99),
        "layer3": (211, 211),
    }
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_pooling_with_padding_of_its_own_is_followed():
    model = timm.create_model("vit_tiny_r_s16_p8_224")  # timm's MaxPool2dSame
    assert traced_fields(model, ["patch_embed"], 224)["patch_embed"] != (1, 1)


def test_what_cannot_be_followed_is_left_out():
    class Single(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return torch.nn.functional.conv2d(self.conv(x), torch.ones(1, 4, 1, 1))

    assert traced_fields(Single(), ["conv"], 16) == {}


def test_maps_as_wide_as_they_have_channels_are_followed():
    class Last(torch.nn.Module):
        def __init__(self, last):
            super().__init__()
            self.conv, self.out, self.last = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Identity(), last

        def forward(self, x):
            y = self.conv(x)
            return self.out(y.permute(0, 2, 3, 1) if self.last else y)

    for last in (False, True):
        assert traced_fields(Last(last), ["out"], 8) == {"out": (3, 3)}


def test_modules_that_give_out_parameters_alone_have_no_field():
    class Table(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Parameter(torch.ones(1, 9, 4))

        def forward(self):
            return self.table * 2

    class Positions(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.positions, self.end = torch.nn.Conv2d(3, 4, 3, 2, 1), Table(), torch.nn.Identity()

        def forward(self, x):
            return self.end(self.conv(x).flatten(2).transpose(1, 2) + self.positions())

    assert traced_fields(Positions(), ["conv", "positions", "end"], 6) == {"conv": (3, 3), "end": (3, 3)}


def test_tokens_and_maps_with_channels_last_are_followed():
    vit = timm.create_model("vit_tiny_patch16_224")
    assert traced_fields(vit, ["patch_embed", "blocks.0"], 224) == {"patch_embed": (16, 16), "blocks.0": "image"}
    swin = timm.create_model("swin_tiny_patch4_window7_224")
    fields = traced_fields(swin, ["patch_embed", "layers.0"], 224)
    assert fields["patch_embed"] == (4, 4)
    assert fields["layers.0"] == (56, 56)  # two windows of 7, shifted by half of one, at stride 4
