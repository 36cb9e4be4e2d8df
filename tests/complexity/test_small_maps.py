"""Kernel sizes that a proxy's maps are too small to judge."""

import dataclasses

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import network
from archsearch.complexity.padding import mean_share, stage_padding
from archsearch.complexity.small_maps import BEYOND, MOST, judged, remedies, sizes_among, sizes_of_space
from archsearch.complexity.small_maps_words import SmallMaps
from archsearch.nn import load_mixers
from archsearch.recipes import PROXIES, ProxyRecipe, override
from archsearch.space.listed import ListedSpace
from archsearch.space.yaml import load_space

CPU = ProxyRecipe()  # a quarter of the width, a third of the depth, 32 px, a stem's stride of 2
TABLE1 = {
    "kernel_size": {k: network("convnext_tiny").replace(mixers=(Mixer.of("depthwise", kernel_size=k),) * 4) for k in
                    (3, 5, 7)}
}  # fmt: skip


def shares(sizes, recipe):
    return {
        (size.axis, size.value): (mean_share(size.proxy), mean_share(size.target), size.too_large)
        for size in judged(sizes, recipe)
    }


def of_a_square_kernel(k, sides, blocks):
    """Return the mean share over blocks in closed form, for kernels no wider than twice the map."""
    r = k // 2
    axis = [1 - min(n * k - r * (r + 1), n * k) / (n * k) if r < n else 1 - n / k for n in sides]
    return sum(b * (1 - (1 - a) ** 2) for b, a in zip(blocks, axis, strict=True)) / sum(blocks)


def test_of_table_1_all_but_the_size_that_won_are_too_large_for_maps_of_32_px():
    found = shares(TABLE1, CPU)
    assert {value: large for (_, value), (_, _, large) in found.items()} == {3: False, 5: True, 7: True}
    for (_, k), (proxy, target, _) in found.items():
        assert proxy == pytest.approx(of_a_square_kernel(k, (16, 8, 4, 2), (1, 1, 3, 1)))
        assert target == pytest.approx(of_a_square_kernel(k, (56, 28, 14, 7), (3, 3, 9, 3)))


def test_networks_of_full_size_and_maps_like_the_targets_judge_every_size():
    assert not any(size.too_large for size in judged(TABLE1, PROXIES["paper"]))
    assert SmallMaps.of(TABLE1, PROXIES["paper"]).lines == ()
    dense = {"long_kernel_size": {k: network("convnext_tiny").replace(
        mixers=(Mixer.of("large_band", long_kernel_size=k),) * 4) for k in (31, 51)}}  # fmt: skip
    found = list(judged(dense, PROXIES["paper"]))
    assert all(mean_share(size.target) > MOST and not size.too_large for size in found)


def test_only_the_filters_count_that_an_axis_sets():
    """The square kernel of 3 stays; the axis of the bands is judged by the bands alone."""
    archs = {k: network("inceptionnext_tiny").replace(mixers=(Mixer.of("inception", band_kernel_size=k),) * 4)
             for k in (7, 11)}  # fmt: skip
    (seven, eleven) = judged({"band_kernel_size": archs}, CPU)
    assert [stage.share for stage in seven.target] == pytest.approx([12 / (7 * n) for n in (56, 28, 14, 7)])
    assert [stage.share for stage in eleven.target] == pytest.approx([30 / (11 * n) for n in (56, 28, 14, 7)])
    assert stage_padding(archs[11])[0].share < eleven.target[0].share  # with the square kernel


def test_an_axis_of_one_stage_is_judged_by_its_map():
    space = tiny.shipped_space("token_mixers")
    found = {(size.axis, size.value): size for size in judged(sizes_of_space(space), CPU)}
    last = found["stage4.kernel_size", 3]
    assert [stage.taps > 0 for stage in last.proxy] == [False, False, False, True]
    assert mean_share(last.proxy) == pytest.approx(1 - (2 / 3) ** 2)  # 2 x 2 of the 3 x 3 taps of each output
    assert last.too_large
    assert not found["stage1.kernel_size", 7].too_large


@pytest.mark.parametrize("recipe", ["cpu", "gpu", "smoke"])
@pytest.mark.parametrize("name", ["convnext_dw", "inception_dw", "metanext", "token_mixers"])
def test_remedies_are_enough_and_no_smaller_image_is(name, recipe):
    space = tiny.shipped_space(name)
    proxy, sizes = space.fitted(PROXIES[recipe]), sizes_of_space(space)
    found = SmallMaps.of(sizes, proxy)
    assert found.remedies is not None
    assert found.remedies.changes
    for change in found.remedies.changes:
        assert SmallMaps.of(sizes, override(proxy, change)).lines == ()
        if "img_size" in change:
            changed = override(proxy, change)
            step = 8 * changed.stem_patch_size
            before = dataclasses.replace(changed, img_size=changed.img_size - step)
            assert before.img_size < proxy.img_size or SmallMaps.of(sizes, before).lines


def test_a_smaller_stride_of_the_stem_is_offered_where_it_is_enough():
    sizes = {"kernel_size": {k: TABLE1["kernel_size"][k] for k in (3, 5)}}
    assert remedies(sizes, CPU).changes == ({"img_size": 64}, {"stem_patch_size": 1})


def test_only_what_is_enough_is_offered():
    """At a stride of 28 no image of the target's size is large enough; another stride is."""
    said, advice = SmallMaps.of(TABLE1, ProxyRecipe(img_size=224, stem_patch_size=28)).lines
    assert said.startswith("Proxy maps of 8-4-2-1 are too small to judge kernel_size from")
    assert advice == "Large enough are --set proxy.stem_patch_size=3."


def test_where_nothing_up_to_the_targets_own_image_is_enough_that_is_said():
    """A proxy with relatively more blocks in its last stage than its target has more padding in the same maps."""
    deep = {k: arch.replace(depths=(30, 30, 30, 1), img_size=32, stem_patch_size=1)
            for k, arch in TABLE1["kernel_size"].items()}  # fmt: skip
    _, advice = SmallMaps.of({"kernel_size": deep}, ProxyRecipe(depth=0.01, stem_patch_size=1)).lines
    assert advice == "No image up to the target's own 32 px is large enough for them."


def test_what_is_said():
    said, advice = SmallMaps.of(TABLE1, CPU).lines
    assert said == (
        "Proxy maps of 16-8-4-2 are too small to judge kernel_size from 5 on "
        "(14, 28, 51 and 84 % of the taps see padding, in the target 4, 8, 16 and 31 %)."
    )
    assert advice == (
        "Large enough are --set proxy.img_size=80, or --set proxy.img_size=40 --set proxy.stem_patch_size=1."
    )


def test_the_same_as_data():
    found = SmallMaps.of(TABLE1, CPU).to_dict()
    assert [(size["value"], size["too_large"]) for size in found["kernel_sizes"]] == [(3, False), (5, True), (7, True)]
    third = found["kernel_sizes"][2]["proxy"]["stages"][2]
    assert third == {"side": 4, "blocks": 3, "taps": 96 * 16 * 49, "outside": 96 * (16 * 49 - 16 * 16), "padding":
                     pytest.approx(1 - 16 * 16 / (16 * 49))}  # fmt: skip
    assert found["remedies"] == [{"img_size": 80}, {"img_size": 40, "stem_patch_size": 1}]


def test_spaces_without_kernel_sizes_and_single_ones_have_nothing_to_judge():
    assert list(judged(sizes_of_space(tiny.shipped_space("macro")), CPU)) == []
    assert list(judged({"kernel_size": {7: TABLE1["kernel_size"][7]}}, CPU)) == []


def test_a_list_of_a_space_is_judged_like_the_space():
    space = tiny.shipped_space("convnext_dw")
    listed = ListedSpace.of(space, [space.arch({"token_mixer": "depthwise", "kernel_size": 7})], "not timed")
    assert sizes_of_space(listed) == sizes_of_space(space)


def test_sizes_among_networks_are_those_in_which_they_differ():
    archs = [network("convnext_tiny"), network("inceptionnext_tiny"), TABLE1["kernel_size"][3]]
    found = sizes_among(archs)
    assert found["kernel_size"] == {7: archs[0], 3: archs[2]}
    assert list(found["band_kernel_size"]) == [11]


def test_a_users_mixer_is_judged_by_the_name_of_its_parameter_and_its_module(tmp_path):
    (tmp_path / "own.py").write_text(
        """
from torch import nn

class Gated(nn.Module):
    def __init__(self, dim, gate_kernel_size=3, steps=2):
        super().__init__()
        self.gate = nn.Conv2d(dim, dim, gate_kernel_size, padding="same", groups=dim)
        self.value = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x):
        return self.value(x) * self.gate(x)

MIXERS = {"gated": Gated}
"""
    )
    load_mixers(tmp_path / "own.py")
    (tmp_path / "own.yaml").write_text(
        "name: own\nbaseline: convnext_tiny\naxes:\n  token_mixer: [gated]\n"
        "  gate_kernel_size: [5, 7, 11]\n  steps: [1, 2]\n"
    )
    sizes = sizes_of_space(load_space(str(tmp_path / "own.yaml")))
    found = shares(sizes, CPU)
    assert set(found) == {("gate_kernel_size", k) for k in (5, 7, 11)}
    assert found["gate_kernel_size", 7] == shares(TABLE1, CPU)["kernel_size", 7]  # its other filter does not count


@given(k=st.sampled_from((3, 5, 7, 9)), img_size=st.integers(16, 224))
def test_the_rule_is_that_of_its_two_limits(k, img_size):
    sizes = {"kernel_size": {**TABLE1["kernel_size"], k: network("convnext_tiny").replace(
        mixers=(Mixer.of("depthwise", kernel_size=k),) * 4)}}  # fmt: skip
    recipe = dataclasses.replace(CPU, img_size=img_size)
    for proxy, target, large in shares(sizes, recipe).values():
        assert large == (proxy > MOST and proxy - target > BEYOND)
