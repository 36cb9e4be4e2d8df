import pytest
import timm

from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import network
from archsearch.complexity.breakdown import breakdown
from archsearch.nn import build, deploy_form

MIXED = network("inceptionnext_atto").replace(
    block="metaformer",
    mixers=(
        Mixer.of("pooling"),
        Mixer.of("large_band", long_kernel_size=9),
        Mixer.of("attention"),
        Mixer.of("identity"),
    ),
)


@pytest.mark.parametrize(
    "arch", [network("inceptionnext_atto"), network("convnext_atto"), network("convnext_small_iso"), MIXED], ids=str
)
@pytest.mark.parametrize("form", ["train", "deploy"])
def test_the_parts_add_up(arch, form):
    model = build(arch)
    taken = breakdown(deploy_form(model) if form == "deploy" else model, 64)
    top = [part for part in taken.parts if part.level == 0]
    assert [part.name for part in top] == ["stem", *(f"stage {i + 1}" for i in range(len(arch.depths))), "head"]
    for what, total in (
        ("params", taken.params),
        ("macs", taken.audit.macs[""]),
        ("bytes_moved", taken.audit.bytes_moved[""]),
    ):
        assert sum(getattr(part, what) for part in top) == total
    for index, part in enumerate(taken.parts):
        if part.name.startswith("stage"):
            below = []
            for child in taken.parts[index + 1 :]:
                if child.level == 0:
                    break
                below.append(child)
            for what in ("params", "macs", "bytes_moved"):
                assert sum(getattr(child, what) for child in below) == getattr(part, what)
            assert all(getattr(child, what) >= 0 for child in below)


def test_the_layer_scale_is_what_is_left_of_a_block():
    parts = breakdown(build(network("inceptionnext_atto")), 64).parts
    assert [part.params for part in parts if part.name == "block"] == [40 * 2, 80 * 2, 160 * 6, 320 * 2]


@pytest.mark.parametrize(
    "name", ["resnet18", "deit_tiny_patch16_224", "mobilenetv2_050", "convnext_atto", "poolformerv2_s12"]
)
def test_networks_of_timms_add_up_too(name):
    taken = breakdown(timm.create_model(name), 224)
    top = [part for part in taken.parts if part.level == 0]
    assert sum(part.params for part in top) == taken.params
    assert sum(part.macs for part in top) == taken.audit.macs[""]
    assert sum(part.bytes_moved for part in top) == taken.audit.bytes_moved[""]
    assert any(part.level == 1 for part in taken.parts) or name == "resnet18"


def test_counts_hold_for_the_size_that_is_asked_for():
    small, large = (breakdown(build(network("convnext_atto")), size) for size in (64, 128))
    assert small.parts[0].output == (40, 16, 16)
    assert large.parts[0].macs == 4 * small.parts[0].macs
    assert large.params == small.params
