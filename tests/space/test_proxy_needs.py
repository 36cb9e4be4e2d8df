"""What spaces and studies make of proxy recipes."""

import dataclasses

import pytest
from tiny import shipped_space

from archsearch.errors import SpaceError
from archsearch.recipes import PROXIES, ProxyRecipe, override
from archsearch.search.recipe_choice import EARLIER_PROXIES
from archsearch.space.proxy_needs import fitted
from archsearch.space.proxy_yaml import load_proxy
from archsearch.space.space import Space, space_from_dict
from archsearch.space.yaml import load_space

SPACES = ("convnext_dw", "inception_dw", "macro", "metanext", "token_mixers")
#: All fields of the recipe ``cpu`` in most spaces, as stored studies have them.
CPU = {
    "width": 0.25, "width_step": 4, "depth": 1 / 3, "img_size": 32, "stem_patch_size": 2,
    "layer_scale_init_value": 0.1, "drop_path_rate": 0.0, "fan_in_init": True, "epochs": 3, "train_samples": 3584,
    "val_samples": 2048, "batch_size": 64, "accumulate": 1, "lr": 6e-3, "warmup": 0.1, "weight_decay": 0.05,
    "label_smoothing": 0.1, "ema": 0.0, "flip": True, "crop_padding": 0, "crop_scale": 1.0, "rand_augment": 0,
    "erasing": 0.0, "cutout": 0, "mixup": 0.0, "cutmix": 0.0,
}  # fmt: skip
RECIPES = {
    "cpu": {},
    "cpu_long": {"epochs": 6, "batch_size": 32},
    "smoke": {"width_step": 16, "epochs": 1, "train_samples": 256, "val_samples": 256},
}
OWN = {"convnext_dw": {"width_step": 8}, "macro": {"depth": 1 / 2}}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_for_a_cpu_are_those_of_stored_studies(space, recipe):
    made = dataclasses.asdict(shipped_space(space).fitted(EARLIER_PROXIES[recipe]))
    wanted = CPU | RECIPES[recipe] | OWN.get(space, {})
    assert {name: made[name] for name in wanted} == wanted


@pytest.mark.parametrize("space", SPACES)
def test_the_recipe_for_a_gpu_is_as_large_as_it_says(space):
    space = shipped_space(space)
    proxy = space.fitted(PROXIES["gpu"])
    made = proxy.shrink(space.baseline, 10)
    assert made.dims == (48, 96, 192, 384)
    assert [made.side(stage) for stage in range(4)] == [32, 16, 8, 4]
    assert proxy.depth == OWN.get(space.name, {}).get("depth", 1 / 3)


def test_a_recipe_that_offers_more_keeps_it():
    needs = {"width": 1 / 4, "depth": 1 / 2, "img_size": 32, "stem_patch_size": 2}
    small = ProxyRecipe(width=1 / 6, depth=0.1, img_size=24, stem_patch_size=4)
    assert fitted(small, {}, needs) == override(small, needs)
    large = ProxyRecipe(width=1 / 2, depth=3 / 4, img_size=64, stem_patch_size=1)
    assert fitted(large, {}, needs) == large
    own = dataclasses.replace(large, stem_patch_size=None)
    assert fitted(own, {}, needs).stem_patch_size == 2, "the target's own may be larger"
    assert fitted(PROXIES["paper"], {"width": 1 / 4}, needs) == PROXIES["paper"]


def test_needs_hold_after_changes_and_before_what_a_user_says(tmp_path):
    def fit(recipe):
        return fitted(recipe, {"width": 1 / 8, "width_step": 8}, {"width": 1 / 4, "img_size": 48})

    found = fit(ProxyRecipe(width=1 / 2))
    assert (found.width, found.width_step, found.img_size) == (1 / 4, 8, 48)
    path = tmp_path / "mine.yaml"
    path.write_text("base: cpu\nwidth: 1/16\n")
    assert load_proxy(str(path), "cpu", fit) == override(
        PROXIES["cpu"], {"width": 1 / 16, "width_step": 8, "img_size": 48}
    )


@pytest.mark.parametrize(("width", "made"), [(1 / 6, 1 / 4), (1 / 4, 1 / 4), (1 / 3, 1 / 2), (3 / 4, 3 / 4)])
def test_of_several_widths_the_next_one_is_taken(width, made):
    assert fitted(ProxyRecipe(width=width), {}, {"width": (1 / 4, 1 / 2)}).width == made


def read(tmp_path, needs):
    path = tmp_path / "space.yaml"
    path.write_text(f"baseline: inceptionnext_tiny\naxes:\n  norm: [batch, layer]\nneeds:\n{needs}")
    return load_space(path)


def test_a_space_with_needs_is_read_and_kept(tmp_path):
    space = read(tmp_path, "  width: [1/4, 1/2]\n  stem_patch_size: 2\n")
    assert space.needs == {"width": (0.25, 0.5), "stem_patch_size": 2}
    assert space.to_dict()["needs"] == {"width": [0.25, 0.5], "stem_patch_size": 2}
    again = space_from_dict(space.name, space.to_dict())
    assert again.fitted(ProxyRecipe(width=1 / 3)) == space.fitted(ProxyRecipe(width=1 / 3))
    assert "needs" not in Space(space.name, "", space.baseline, space.axes).to_dict()


@pytest.mark.parametrize(
    ("needs", "line", "words"),
    [
        ("  width: 1/4\n  widht: 1/4\n", 6, "unknown need of proxy networks 'widht': did you mean 'width'"),
        ("  epochs: 3\n", 5, "unknown need of proxy networks 'epochs'"),
        ("  width: 0\n", 5, "needs: width is 0, but must be a number greater than 0"),
        ("  depth: [1/3, 1/2]\n", 5, "needs: depth is [0.333"),
        ("  img_size: 32.5\n", 5, "needs: img_size is 32.5, but must be an integer greater than 0"),
        ("  stem_patch_size: null\n", 5, "needs: stem_patch_size is null, but must be an integer greater than 0"),
        ("  width: []\n", 5, "needs: width is [], but must be a number, or several from the narrowest to the widest"),
        ("  width: [1/2, 1/4]\n", 5, "from the narrowest to the widest"),
        ("  width: [1/4, wide]\n", 5, "needs: width is 'wide'"),
        ("  - width\n", 4, "'needs' must be a mapping"),
    ],
)
def test_wrong_needs_are_told_with_their_line(tmp_path, needs, line, words):
    with pytest.raises(SpaceError) as error:
        read(tmp_path, needs)
    assert f"space.yaml, line {line}: " in str(error.value)
    assert words in str(error.value)
