"""What a study says of its recipe's ranking, and keeps."""

import dataclasses

import pytest
from ranked import ranking_of

from archsearch.rankings.known import keep, kept_folder, recipe_fields
from archsearch.recipes import ProxyRecipe
from archsearch.report.page.payload import page_data
from archsearch.report.view import read_view
from archsearch.search import run
from archsearch.search.definition import load
from archsearch.search.known_ranking import RANKING, measuring_command, ranking_words
from archsearch.search.storage.opening import open_storage
from archsearch.utils.key_fields import restored

COMMAND = "fidelity --space {} --proxy smoke --set proxy.train_samples=64 --dataset drawn"


@pytest.fixture
def spec(spec):
    return dataclasses.replace(spec, n_trials=1)


def test_a_study_says_what_is_known_and_keeps_it(spec):
    first = run(spec)
    unknown = f"nothing is known of how this recipe ranks; `{COMMAND.format(spec.space)}` measures it"
    assert first.ranking == unknown
    measured = ranking_of(
        recipe_fields(restored(ProxyRecipe, first.recipe["proxy"])),
        space="small",
        data="drawn",
        fingerprint=first.recipe["data"]["fingerprint"],
        title="the drawn data",
        device="this machine",
        archs=8,
        tau=(0.5, 0.1, 0.8),
        noise=0.01,
    )
    keep([measured], kept_folder(), "r")
    again = run(dataclasses.replace(spec, n_trials=2))
    assert again.ranking == (
        "this recipe orders the drawn data with tau 0.50 (0.10 to 0.80; 8 architectures of small, measured 2026-11-28 "
        "on this machine); differences below 2.8 points are noise"
    )
    record = load(again.name, open_storage(spec.storage, create=False))
    assert record.user_attrs[RANKING]["found"]["records"] == "r.csv"
    assert ranking_words(record) == again.ranking
    view = read_view(again.name, spec.storage)
    assert view.ranking == again.ranking
    assert page_data([view])["studies"][0]["ranking"] == again.ranking
    record.set_user_attr(RANKING, None)  # as an earlier version left it
    assert read_view(again.name, spec.storage).ranking == ""


def test_a_study_that_trains_nothing_has_no_recipe_to_speak_of(spec):
    result = run(dataclasses.replace(spec, objectives=("params", "macs")))
    assert result.ranking == ""


def test_the_command_that_measures_is_that_of_the_study(spec, tmp_path):
    folder = dataclasses.replace(spec, space="metanext", dataset="folder", data_root=tmp_path / "my images")
    command = f"{COMMAND.format('metanext').removesuffix('drawn')}folder --data-root '{tmp_path}/my images'"
    assert measuring_command(folder) == command
    plain = dataclasses.replace(spec, space="metanext", proxy=None, proxy_changes={})
    assert measuring_command(plain) == "fidelity --space metanext --dataset drawn"
