import pytest

from archsearch.arch.networks import NETWORKS, network
from archsearch.errors import OptionError, UserError
from archsearch.recipes import PROXIES, ProxyRecipe, override
from archsearch.space.proxy_needs import fitted
from archsearch.space.proxy_yaml import load_proxy

SPACE = {"width": 0.25, "depth": 0.5}


def fit(recipe):
    """Return a recipe as a space makes it that changes two fields."""
    return fitted(recipe, SPACE, {})


def as_it_is(recipe):
    return recipe


def test_the_papers_recipe_trains_the_target_itself():
    """Table 9: AdamW, 4e-3 at batch 4096, 20 of 300 epochs of warm-up, weight decay 0.05, ..."""
    paper = PROXIES["paper"]
    for name in ("inceptionnext_tiny", "inceptionnext_base", "convnext_small"):
        assert paper.shrink(network(name), 1000) == network(name)
    assert (paper.batch_size, paper.lr, paper.epochs, paper.weight_decay) == (4096, 4e-3, 300, 0.05)
    assert paper.warmup * paper.epochs == pytest.approx(20)
    assert (paper.mixup, paper.cutmix, paper.erasing, paper.rand_augment) == (0.8, 1.0, 0.25, 9)
    assert (paper.label_smoothing, paper.ema) == (0.1, 0)
    assert paper.batch_size / paper.accumulate == 512  # of one of eight GPUs
    assert load_proxy("paper", "cpu", fit) == paper  # no space shrinks it


@pytest.mark.parametrize("name", sorted(set(PROXIES) - {"paper"}), ids="recipe_{}".format)
def test_ranking_recipes_have_proxies_and_favour_nobody(name):
    proxy = PROXIES[name]
    assert (proxy.mixup, proxy.cutmix, proxy.rand_augment) == (0, 0, 0)
    for target in NETWORKS:
        if "_iso" not in target and "ratio" not in target and "atto" not in target:
            assert proxy.shrink(network(target), 10).num_classes == 10


def test_null_keeps_the_targets_own():
    tiny = network("inceptionnext_tiny")
    own = override(ProxyRecipe(), {"stem_patch_size": None, "layer_scale_init_value": None, "drop_path_rate": None})
    shrunk = own.shrink(tiny, 10)
    assert (shrunk.stem_patch_size, shrunk.layer_scale_init_value, shrunk.drop_path_rate) == (4, 1e-6, 0.1)
    assert shrunk.dims == ProxyRecipe().shrink(tiny, 10).dims


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stem_patch_size": 0}, "stem_patch_size is 0, but must be an integer greater than 0, or null for"),
        ({"epochs": None}, "epochs is None, but must be an integer greater than 0"),
        ({"drop_path_rate": 1.0}, "drop_path_rate is 1.0, but must be a number in [0, 1), or null for"),
        ({"accumulate": 3}, "accumulate is 3, but must divide batch_size, 64"),
        ({"cutout": 32}, "cutout is 32, but must be an integer from 0 to below img_size"),
        ({"crop_scale": 0.0}, "in (0, 1]"),
        ({"rand_augment": 31}, "from 0 to 30"),
        ({"erasing": 1.5}, "in [0, 1]"),
        ({"mixup": -1.0}, "0 or more"),
        ({"ema": 1.0}, "in [0, 1)"),
        ({"fan_in_init": 1}, "true or false"),
    ],
)
def test_impossible_values(changes, words):
    with pytest.raises(UserError) as error:
        override(ProxyRecipe(), changes)
    assert words in str(error.value)


def test_a_recipe_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: gpu\nepochs: 40\nwidth: 3/8\nstem_patch_size: null\n")
    found = load_proxy(str(path), "cpu", fit)
    assert found == override(PROXIES["gpu"], {"depth": 0.5, "epochs": 40, "width": 0.375, "stem_patch_size": None})
    path.write_text("accumulate: 3\nbatch_size: 96\ncrop_padding: 40\nimg_size: 64\n")  # in any order
    assert load_proxy(str(path), "cpu", as_it_is).batch_size == 96
    path.write_text("epochs: 2\n")
    assert load_proxy(str(path), "cpu", fit) == override(PROXIES["cpu"], {**SPACE, "epochs": 2})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot read"),
        ("base: gup\n", "mine.yaml, line 1: unknown proxy 'gup': did you mean 'gpu'"),
        (f"width: {'9' * 400}\n", "line 1: width is 999"),
        ("epochs: 2\nepoch: 3\n", "line 2: unknown field of a proxy recipe 'epoch': did you mean 'epochs'"),
        ("epochs: 2\nlr: high\n", "line 2: lr is 'high'"),
        ("epochs: [", "not YAML"),
    ],
)
def test_wrong_files_are_told_with_their_line(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OptionError) as error:
        load_proxy(str(path), "cpu", as_it_is)
    assert words in str(error.value)


def test_unknown_names():
    with pytest.raises(OptionError, match=r"unknown proxy 'cup': did you mean 'cpu'.*; or name a YAML file"):
        load_proxy("cup", "cpu", as_it_is)
