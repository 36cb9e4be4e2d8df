import itertools
import json
import random
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import shipped_space

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import network
from archsearch.errors import SpaceError
from archsearch.nn import build
from archsearch.recipes import PROXIES, BenchRecipe, ProxyRecipe
from archsearch.space.locate import locate, misfit
from archsearch.space.space import Axis, Space
from archsearch.space.yaml import load_space
from archsearch.utils.package_data import shipped

FOLDER = shipped("search_spaces")
HEAD = "baseline: inceptionnext_tiny\naxes:\n"
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(tmp_path: Path, text: str) -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return load_space(str(path), FOLDER)


def test_there_are_shipped_spaces():
    assert "inception_dw" in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_draw_builds_learns_and_round_trips(name, seed):
    space = shipped_space(name)
    params = space.sample(random.Random(seed))
    target = space.arch(params)
    again = Arch.from_dict(json.loads(json.dumps(target.to_dict())))
    assert again == target
    assert space.arch(params).key == target.key == again.key
    proxy = space.fitted(PROXIES["cpu"])
    for arch in (target.replace(img_size=32, num_classes=5), proxy.shrink(target, num_classes=5)):
        model = build(arch)
        assert arch.img_size == 32
        loss = torch.nn.functional.cross_entropy(model(torch.randn(2, 3, 32, 32)), torch.tensor([0, 1]))
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", SHIPPED)
@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_point_is_found_again_by_its_architecture(name, seed):
    space = shipped_space(name)
    params = space.sample(random.Random(seed))
    found = locate(space, space.arch(params))
    assert found is not None
    assert space.arch(found) == space.arch(params)
    assert space.active(space.genome(found)) == found  # of open axes alone
    assert list(space.genome(found)) == [axis.name for axis in space.axes]


OVERLAPPING = """
baseline: inceptionnext_tiny
axes:
  norm: [batch, layer]
  stage2.token_mixer:
    values: [pooling, depthwise]
    when: {norm: layer}
  token_mixer: [inception, depthwise, identity]
  band_kernel_size: [7, 9]
  stage1.band_kernel_size:
    values: [9, 13]
    when: {norm: layer}
  stage3.band_kernel_size: [7, 11]
  depths: [[3, 3, 9, 3], [2, 2, 6, 2]]
  stage3.depth:
    values: [9, 12]
    when: {norm: batch}
  mlp_ratios: [[4, 4, 4, 3], [2.5, 2, 2, 2]]
  stage4.mlp_ratio: [3, 2]
"""


def test_points_are_found_where_axes_speak_over_each_other(tmp_path):
    space = read(tmp_path, OVERLAPPING)
    for params in space.grid():
        found = locate(space, space.arch(params))
        assert found is not None, params
        assert space.arch(found) == space.arch(params)


def test_what_is_no_point_of_a_space_is_found_nowhere_and_told(tmp_path):
    space, tiny = read(tmp_path, OVERLAPPING), network("inceptionnext_tiny")
    mixers = (Mixer.of("inception", band_kernel_size=9),) * 4
    for arch, word in [
        (tiny, "axis 'band_kernel_size' has no choice 11 (it has 7, 9)"),
        (tiny.replace(mixers=mixers), "axis 'stage3.band_kernel_size' has no choice 9 (it has 7, 11)"),
        (tiny.replace(depths=(2, 3, 9, 3)), "axis 'band_kernel_size' has no choice 11"),
        (tiny.replace(act="relu", mixers=(Mixer.of("identity"),) * 4), "its act is relu, and gelu in this space"),
        (network("convnext_small_iso"), "axis 'depths' has no choice 18 (it has 3-3-9-3, 2-2-6-2)"),
    ]:
        assert locate(space, arch) is None
        assert word in misfit(space, arch)
    everywhere = {space.arch(params) for params in space.grid()}
    depths = itertools.product((2, 3), (2, 3), (6, 9, 12), (3,))
    others = [tiny.replace(norm=norm, depths=each) for norm, each in itertools.product(("batch", "layer"), depths)]
    bands = [Mixer.of("inception", band_kernel_size=size) for size in (7, 9, 11, 13)]
    others = [other.replace(mixers=mixers) for other in others for mixers in itertools.product(bands, repeat=4)]
    assert 0 < len(everywhere & set(others)) < len(others)
    assert all((locate(space, other) is not None) == (other in everywhere) for other in others)


def test_a_space_of_any_size_tells_where_an_architecture_is(tmp_path):
    kinds = "[inception, depthwise, pooling, identity]"
    axes = "".join(f"  stage{n}.token_mixer: {kinds}\n  stage{n}.band_kernel_size: [3, 5, 7, 9, 11]\n"
                   f"  stage{n}.kernel_size: [3, 5, 7, 9, 11]\n  stage{n}.dim: [240, 288, 336, 384]\n"
                   for n in range(1, 5))  # fmt: skip
    space = read(tmp_path, HEAD + axes)
    assert space.points() > 10**10
    params = space.sample(random.Random(3))
    arch = space.arch(params)
    assert space.arch(locate(space, arch)) == arch
    assert locate(space, arch.replace(act="silu")) is None


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("recipe", ["cpu", "gpu", "gpu_fast"], ids="recipe_{}".format)
def test_targets_do_not_share_proxies(name, recipe):
    """Two architectures that the proxy cannot tell apart would be ranked by their cost alone."""
    space = shipped_space(name)
    proxy = space.fitted(PROXIES[recipe])
    assert space.distinct_proxies(proxy) == space.distinct()
    some = {space.arch(params) for params in itertools.islice(space.some(), 2000)}
    assert len({proxy.shrink(arch, 10) for arch in some}) == len(some) > 30
    for axis in space.axes:
        opener = {name: values[0] for name, values in axis.when.items()}
        points = [space.active(space.genome({**opener, axis.name: value})) for value in axis.values]
        assert all(axis.name in params for params in points)
        proxy_archs = {proxy.shrink(space.arch(params), 10) for params in points}
        assert len(proxy_archs) == len(axis.values), axis.name


@pytest.mark.parametrize("name", SHIPPED)
def test_proxies_of_a_shipped_space_exist_under_every_recipe(name):
    space = shipped_space(name)
    for recipe in PROXIES.values():
        space.check_proxy(space.fitted(recipe))


def test_count_and_grid_agree(small_space):
    space = load_space(str(small_space), FOLDER)
    grid = list(space.grid())
    assert space.points() == len(grid) == (2 + 2 + 1) * 2
    assert len({tuple(params.items()) for params in grid}) == len(grid)
    assert space.distinct() == len(grid)


@given(st.data())
def test_counting_walks_no_further_than_it_must(data):
    names = [f"a{i}" for i in range(data.draw(st.integers(1, 4)))]
    axes: list[Axis] = []
    for name in names:
        values = tuple(range(data.draw(st.integers(1, 3))))
        when = {}
        if axes and data.draw(st.booleans()):
            parent = data.draw(st.sampled_from(axes))
            when = {parent.name: tuple(data.draw(st.sets(st.sampled_from(parent.values), min_size=1)))}
        axes.append(Axis(name, values, when))
    space = Space("s", "", network("inceptionnext_tiny"), tuple(axes))
    assert space.points() == len(list(space.grid()))


def test_points_that_give_one_architecture_count_once(tmp_path):
    text = HEAD + "  depths: [[3, 3, 9, 3], [3, 3, 6, 3]]\n  stage3.depth: [9, 12]\n"
    space = read(tmp_path, text)
    assert space.points() == 4
    assert space.distinct() == 2


def test_a_parameter_of_a_conditional_stage_mixer_has_an_effect(tmp_path):
    text = "  norm: [batch, layer]\n  stage1.token_mixer:\n    values: [pooling]\n    when: {norm: batch}\n"
    space = read(tmp_path, HEAD + text + "  stage1.band_kernel_size: [7, 9]\n  stage1.pool_size: [3]\n")
    assert space.token_mixers(0) == {"inception", "pooling"}
    assert space.token_mixers(1) == {"inception"}


def test_mlp_ratios_of_single_stages(tmp_path):
    space = read(tmp_path, HEAD + "  stage4.mlp_ratio: [2, 3]\n  block: [metanext, metaformer]\n")
    arch = space.arch({"stage4.mlp_ratio": 2, "block": "metaformer"})
    assert (arch.mlp_ratios, arch.block) == ((4, 4, 4, 2), "metaformer")


def test_branches_and_bands_are_axes(tmp_path):
    text = "  branches: [square+horizontal+vertical, square]\n  bands: [parallel]\n  dilation: [1, 2]\n"
    space = read(tmp_path, HEAD + text)
    assert space.distinct() == 4
    assert space.arch({"branches": "square", "dilation": 2}).mixers[0]["dilation"] == 2


def test_baseline_parameters_are_kept_where_no_axis_speaks(tmp_path):
    space = read(tmp_path, "baseline: inceptionnext_atto\naxes:\n  square_kernel_size: [3, 5]\n")
    arch = space.arch({"square_kernel_size": 5})
    assert arch.mixers[0] == Mixer.of("inception", square_kernel_size=5, band_kernel_size=9, branch_ratio=0.25)


def test_stage_axes_win_over_general_ones(tmp_path):
    text = """
baseline: inceptionnext_tiny
axes:
  token_mixer: [inception, depthwise]
  stage4.token_mixer: [identity, pooling]
  stage2.dim: [160, 192]
  mlp_ratios: [[4, 4, 4, 3], [2, 2.5, 2, 2]]
"""
    space = read(tmp_path, text)
    params = {"token_mixer": "depthwise", "stage4.token_mixer": "pooling", "stage2.dim": 160, "mlp_ratios": "2-2.5-2-2"}
    arch = space.arch(params)
    assert [m.token_mixer for m in arch.mixers] == ["depthwise", "depthwise", "depthwise", "pooling"]
    assert arch.dims == (96, 160, 384, 768)
    assert arch.mlp_ratios == (2, 2.5, 2, 2)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("baseline: inceptionnext_tiny\nbaseline: x\naxes: {}\n", 2, "given twice (first in line 1)"),
        ("baseline: inceptionnext_tinny\naxes:\n  norm: [batch]\n", 1, "did you mean 'inceptionnext_tiny'"),
        ("baselin: inceptionnext_tiny\naxes:\n  norm: [batch]\n", 1, "did you mean 'baseline'"),
        ("baseline: inceptionnext_tiny\n", None, "'axes' is missing"),
        (HEAD + "  band_kernel: [3]\n", 3, "did you mean 'band_kernel_size'"),
        (HEAD + "  band_kernel_size: 11\n", 3, "must be a list of choices"),
        (HEAD + "  band_kernel_size: [7, 10]\n", 3, "band_kernel_size is 10, but must be a positive odd integer"),
        (HEAD + "  band_kernel_size: [7, 7]\n", 3, "twice"),
        (HEAD + "  branch_ratio: [1/8, 1/2]\n", 3, "3 * int(96 * 0.5) = 144 exceeds dim 96"),
        (HEAD + "  branches: [square, squarer]\n", 3, "branches is 'squarer', but must be one of"),
        (HEAD + "  bands: [sequential]\n  branches: [square]\n", 3, "need the horizontal and the vertical branch"),
        (HEAD + "  token_mixer: [attention]\n  num_heads: [4, 7]\n", 4, "num_heads 7 does not divide dim 96"),
        (
            HEAD + "  token_mixer: [inception, depthwise]\n"
            "  kernel_size:\n    values: [3, 5]\n    when: {token_mixer: inception}\n",
            5,
            "axis 'kernel_size' has no effect",
        ),
        (
            HEAD + "  stage1.token_mixer: [depthwise, inception]\n  stage2.kernel_size: [3, 5]\n",
            4,
            "axis 'stage2.kernel_size' has no effect",
        ),
        (
            HEAD + "  pool_size: [3, 5]\n  stage1.token_mixer: [pooling]\n  stage1.pool_size: [7]\n",
            3,
            "axis 'pool_size' has no effect",
        ),
        (HEAD + "  drop_path_rate: [" + "9" * 400 + "/3]\n", 3, "drop_path_rate is '999"),
        (HEAD + "  layer_scale_init_value: [1" + "0" * 400 + "]\n", 3, "must be a number >= 0"),
        (HEAD + "  token_mixer: [shift]\n", 3, "comes with --mixers FILE"),
        (HEAD + "  stage2.norm: [batch]\n", 3, "unknown axis 'norm'"),
        ("baseline: timm:resnet50\naxes:\n  norm: [batch]\n", 1, "comes ready made from timm"),
        (HEAD + "  norm: [batch, 3]\n", 3, "unknown norm '3'"),
        (HEAD + "  depths: [[3, 3, 9, 3], [3, 3, 9]]\n", 3, "entries"),
        (HEAD + "  depths: [3]\n", 3, "cannot take the choice 3"),
        (HEAD + "  depths: [[-3, 3, 9, 3]]\n", 3, "lists of positive integers"),
        (HEAD + "  depths: [[3.5, 3, 9, 3]]\n", 3, "lists of positive integers"),
        (HEAD + "  depths: [[true, 3, 9, 3]]\n", 3, "lists of positive integers"),
        (HEAD + "  mlp_ratios: [[.inf, 3, 3, 3]]\n", 3, "lists of positive numbers"),
        (HEAD + "  layer_scale_init_value: [.nan]\n", 3, "must be a number >= 0"),
        (HEAD + "  stage5.depth: [2]\n", 3, "the baseline has 4 stages"),
        (HEAD + "  kernel_size: [3, 5]\n", 3, "has no effect"),
        (HEAD + "  head: [mlp]\n  norm:\n    values: [batch]\n    when: {head: []}\n", 6, "name at least one"),
        (HEAD + "  norm: [2001-99-99]\n", None, "not YAML"),
        (HEAD + "  norm: " + "[" * 3000 + "]" * 3000 + "\n", None, "nested too deeply"),
        ("baseline: a\x01\naxes: {}\n", None, "not YAML"),
        (
            "baseline: {depths: [1], dims: [8], mixers: [inception], mlp_ratios: [4]}\naxes:\n  norm: [batch]\n",
            1,
            "must be a mapping",
        ),
        (HEAD + "  norm: [[batch]]\n", 3, "cannot take the choice"),
        (HEAD + "  norm:\n    valuse: [batch]\n", 4, "did you mean 'values'"),
        (HEAD + "  norm:\n    when: {}\n", 3, "needs 'values'"),
        (HEAD + "  norm:\n    values: [batch]\n    when: {head: mlp}\n", 5, "no axis above it"),
        (HEAD + "  head: [mlp]\n  norm:\n    values: [batch]\n    when: {head: mpl}\n", 6, "did you mean 'mlp'"),
        (HEAD + "  norm: [batch\n", 4, "not YAML"),
        (HEAD + "  norm: [batch]\nproxy: {epohcs: 3}\n", 4, "did you mean 'epochs'"),
        (HEAD + "  norm: [batch]\nproxy:\n  width: 1/4\n  epochs: 0\n", 6, "must be an integer greater than 0"),
        (HEAD + "  norm: [batch]\nproxy:\n  width: 1/4\n  width_step: 0\n", 6, "width_step is 0"),
        ("name: a b\n" + HEAD + "  norm: [batch]\n", 1, "one word"),
        ("- a\n", 1, "mapping"),
        (HEAD + "  1: [batch]\n", 3, "must be a word"),
        ("baseline: {dims: [8]}\naxes:\n  norm: [batch]\n", 1, "needs depths, mixers, mlp_ratios"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path, text, line, words):
    with pytest.raises(SpaceError) as error:
        read(tmp_path, text)
    message = str(error.value)
    assert words in message
    assert "\n" not in message
    assert (f"space.yaml, line {line}: " if line else "space.yaml: ") in message


def test_combinations_are_checked_too(tmp_path):
    text = HEAD + "  dims: [[96, 192, 384, 768], [8, 16, 32, 64]]\n  branch_ratio: [1/8, 1/16]\n"
    with pytest.raises(SpaceError, match="leaves no channel"):
        read(tmp_path, text)


def test_candidates_must_survive_shrinking(tmp_path):
    space = read(tmp_path, HEAD + "  branch_ratio: [1/8, 1/16]\n")
    with pytest.raises(SpaceError, match=r"branch_ratio 0.0625\) cannot exist: stage 1"):
        space.check_proxy(ProxyRecipe(width=0.1, width_step=4))


def test_candidates_must_take_the_images_that_they_are_timed_with(tmp_path):
    space = read(tmp_path, HEAD + "  norm: [batch, layer]\n")
    space.check_bench(BenchRecipe(img_size=64))
    with pytest.raises(SpaceError, match=r"norm batch\) cannot be timed: bench.img_size 16 is smaller than"):
        space.check_bench(BenchRecipe(img_size=16))


def test_numbers_are_read_as_people_write_them_everywhere(tmp_path):
    text = """
baseline:
  depths: [1, 1]
  dims: [32, 64]
  mixers: [{token_mixer: inception, branch_ratio: 1/4}, {token_mixer: identity}]
  mlp_ratios: [4, 8/3]
axes:
  layer_scale_init_value: [1e-3, 0]
  mlp_ratios: [[8/3, 4], [2, 2]]
"""
    space = read(tmp_path, text)
    assert space.baseline.mixers[0]["branch_ratio"] == 0.25
    assert space.arch(next(space.grid())).mlp_ratios == (8 / 3, 4)
    assert space.axes[0].values == (0.001, 0)


def test_a_baseline_may_stand_in_a_file_beside_the_space(tmp_path):
    arch = network("convnext_small_iso")
    (tmp_path / "mine.json").write_text(json.dumps(arch.to_dict()))
    assert read(tmp_path, "baseline: mine.json\naxes:\n  norm: [batch, layer]\n").baseline == arch
    with pytest.raises(SpaceError, match="line 1: baseline: cannot read"):
        read(tmp_path, "baseline: none.json\naxes:\n  norm: [batch, layer]\n")


@pytest.mark.parametrize("name", ["my_space", "isotropic"])
def test_the_readmes_spaces_are_spaces(tmp_path, name):
    readme = Path(__file__).parents[2] / "README.md"
    (text,) = (t for t in re.findall(r"```yaml\n(.*?)```", readme.read_text(), re.S) if f"name: {name}\n" in t)
    space = read(tmp_path, text)
    space.check_proxy(space.fitted(PROXIES["cpu"]))
    assert space.distinct() == space.distinct_proxies(space.fitted(PROXIES["cpu"])) > 1


def test_unnamed_files_need_plain_names(tmp_path):
    path = tmp_path / "my space.yaml"
    path.write_text(HEAD + "  norm: [batch]\n")
    with pytest.raises(SpaceError, match="one word"):
        load_space(str(path), FOLDER)


def test_unknown_and_unreadable_spaces(tmp_path):
    with pytest.raises(SpaceError, match="did you mean 'inception_dw'"):
        load_space("inception_wd", FOLDER)
    with pytest.raises(SpaceError, match="cannot read"):
        load_space(str(tmp_path / "none.yaml"), FOLDER)


def test_nothing_in_a_file_is_executed(tmp_path):
    with pytest.raises(SpaceError, match="not YAML"):
        read(tmp_path, "baseline: !!python/object/apply:os.system ['touch /tmp/owned']\naxes: {}\n")
