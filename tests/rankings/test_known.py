import dataclasses
import os

import pytest
from ranked import ranking_of

from archsearch.rankings.known import APART, Known, Question, find, keep, read_rankings, recipe_fields
from archsearch.rankings.words import sentence
from archsearch.recipes import PROXIES, ProxyRecipe

COMMAND = "fidelity --space inception_dw --dataset folder"


QUICK = recipe_fields(PROXIES["quick"])
OURS = Question(QUICK, "inception_dw", "folder", "abc")
FOUND = ranking_of(QUICK)


def but(**changes):
    return dataclasses.replace(FOUND, **changes)


def told(*rankings, question=OURS):
    return sentence(question, find(question, rankings), COMMAND)


def test_what_is_known_is_said_in_a_sentence():
    assert told(FOUND) == (
        "this recipe orders CIFAR-10 with tau 0.78 (0.63 to 0.89; 24 architectures of inception_dw, measured "
        "2026-11-28 on two cores); differences below 0.9 points are noise"
    )
    assert FOUND.indistinct == pytest.approx(APART * 0.0034) == pytest.approx(1.96 * 2**0.5 * 0.0034)
    assert told(but(noise=None)).endswith(
        "; how far differences are noise is not known, as it was trained with one seed"
    )


def test_of_other_images_or_spaces_it_says_so_and_what_is_nearest():
    nearest = "it orders CIFAR-10 with tau 0.78 (0.63 to 0.89; 24 architectures of"
    images = told(but(fingerprint="other"))
    assert images.startswith(f"nothing is known of how this recipe orders these images; {nearest}")
    assert images.endswith(f"; `{COMMAND}` measures it")
    space = told(but(space="macro"))
    assert space.startswith(f"nothing is known of how this recipe orders space inception_dw; {nearest} macro")
    assert find(OURS, [but(space="a", fingerprint="b"), but(space="c"), but(fingerprint="d")]).nearest.space == "c"


@pytest.mark.parametrize("changes", [{"lr": 1e-3}, {"epochs": 5}, {"val_samples": 100}, {"width": 1 / 3}])
def test_an_altered_recipe_is_another_one(changes):
    altered = recipe_fields(dataclasses.replace(PROXIES["quick"], **changes))
    question = dataclasses.replace(OURS, recipe=altered)
    assert told(FOUND, question=question) == f"nothing is known of how this recipe ranks; `{COMMAND}` measures it"


def test_a_later_version_of_the_training_is_another_one():
    for version in ("trainer", "taught"):
        later = QUICK | {version: QUICK[version] + 1}
        assert find(dataclasses.replace(OURS, recipe=later), [FOUND]) == Known()


def test_a_recipe_stored_before_a_field_existed_is_the_same_one():
    short = {name: QUICK[name] for name in ("trainer", *ProxyRecipe.FIRST)}
    whole = recipe_fields(PROXIES["cpu_long"])
    assert find(dataclasses.replace(OURS, recipe=whole | {"epoch_samples": 0}), [but(recipe=whole)]).exact
    assert find(OURS, [but(recipe=short)]).exact is None  # quick has a value there that means something else


@pytest.mark.parametrize(
    ("data", "fingerprint", "known"),
    [
        ("folder", "abc", True),
        ("folder", "", False),  # any folder's name
        ("cifar10", "", False),
        ("folder", "abd", False),
    ],
)
def test_images_are_told_by_their_fingerprint(data, fingerprint, known):
    assert bool(find(OURS, [but(data=data, fingerprint=fingerprint)]).exact) == known


def test_without_a_fingerprint_images_are_told_by_their_name():
    hub = Question(QUICK, "inception_dw", "cifar10", "cifar10-50000")
    assert find(hub, [but(data="cifar10", fingerprint="")]).exact
    assert find(hub, [but(data="", fingerprint="")]).exact is None


def test_what_this_machine_measured_counts_before_what_ships(tmp_path):
    table, kept = tmp_path / "rankings.json", tmp_path / "kept"
    keep([FOUND], tmp_path, "rankings")
    assert read_rankings(kept, table) == read_rankings(None, table) == [FOUND]
    keep([but(archs=8)], kept, "b")
    keep([but(archs=12)], kept, "a")
    os.utime(kept / "b.json", (1, 1))
    assert [ranking.archs for ranking in read_rankings(kept, table)] == [24, 8, 12]
    assert find(OURS, read_rankings(kept, table)).exact.archs == 12
    (kept / "c.json").write_text('[{"space": "of another version"}]')
    (kept / "d.json").write_text("not JSON")
    assert [ranking.archs for ranking in read_rankings(kept, table)] == [24, 8, 12]
