import json
import math
from dataclasses import replace

import pytest

from archsearch.ablation.outcome import Outcome, Result
from archsearch.ablation.record import (
    add,
    create_or_resume,
    is_ablation,
    outcome_of,
    set_outcome,
    trainings,
    with_accuracies,
)
from archsearch.arch.networks import network
from archsearch.benchmark.jobs import network_to_dict
from archsearch.errors import StorageError, UserError
from archsearch.search.definition import create_or_resume as create_search
from archsearch.search.definition import recipe_of
from archsearch.search.importance import importance
from archsearch.search.storage.opening import open_storage
from archsearch.trial import Epoch, Evaluation

RECIPE = {"version": 1, "ablation": "mine", "space_name": "mine", "objectives": ["accuracy"], "trainer": 2}
RECIPE |= {
    "proxy": {"epochs": 3},
    "bench": {"batch_size": 2},
    "data": {"name": "drawn"},
    "device": "here",
    "baseline": "key",
}
ATTO, CONV = network("inceptionnext_atto"), network("convnext_atto")


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path / "a.db"), create=True)


def done(accuracy):
    return Evaluation({"accuracy": accuracy}, curve=(Epoch(1, 1.0, accuracy, 2.0),), seconds={"train": 2.0})


def made(**changes):
    results = (
        Result("atto", base="atto", network=network_to_dict(ATTO), key=ATTO.key, params=1),
        Result("conv", "f", "atto", network=network_to_dict(CONV), key=CONV.key, parts=("conv",)),
        Result("resnet", "f", "atto", network={"timm": {"name": "resnet18", "img_size": None}}, key="resnet"),
    )
    return Outcome("mine", "Mine", results, RECIPE, **changes)


def test_what_was_trained_comes_back(storage):
    record = create_or_resume("a", RECIPE, storage)
    set_outcome(record, made(pairs={"screened": [0]}))
    add(record, "atto", ATTO, 0, done(0.5), {"torch": "2"})
    add(record, "conv", CONV, 0, Evaluation(error="diverged"), {})
    add(record, "atto", ATTO, 3, done(0.6), {})
    again = create_or_resume("a", RECIPE, open_storage(str(storage.url), create=False))
    outcome = outcome_of(again)
    assert [r.accuracies for r in outcome.results] == [{0: 0.5, 3: 0.6}, {}, {}]
    assert [r.errors for r in outcome.results] == [{}, {0: "diverged"}, {}]
    assert outcome.seeds == (0, 3)
    assert outcome.pairs == {"screened": [0]}
    assert outcome == with_accuracies(made(pairs={"screened": [0]}), again)
    assert {key: trained.settled for key, trained in trainings(again).items()} == {
        (ATTO.key, 0): True, (CONV.key, 0): True, (ATTO.key, 3): True,
    }  # fmt: skip
    assert is_ablation(again)


def test_a_finished_training_counts_whatever_failed_after_it(storage):
    record = create_or_resume("a", RECIPE, storage)
    set_outcome(record, made())
    add(record, "atto", ATTO, 0, done(0.5), {})
    add(record, "atto", ATTO, 0, Evaluation(error="out of memory"), {})
    assert outcome_of(record).baseline.accuracies == {0: 0.5}
    add(record, "conv", CONV, 0, Evaluation(error="out of memory"), {})
    add(record, "conv", CONV, 1, Evaluation(error="diverged: the training loss of epoch 1 is nan"), {})
    assert [trainings(record)[CONV.key, seed].settled for seed in (0, 1)] == [False, True]  # what is worth a retry


def test_a_record_that_trained_nothing_takes_on_a_recipe(storage):
    bare = {name: value for name, value in RECIPE.items() if name not in ("proxy", "data", "trainer")}
    create_or_resume("a", bare, storage)
    record = create_or_resume("a", RECIPE, storage)
    assert recipe_of(record)["proxy"] == {"epochs": 3}
    assert recipe_of(create_or_resume("a", bare, storage))["proxy"] == {"epochs": 3}
    with pytest.raises(StorageError, match=r"another proxy\.epochs"):
        create_or_resume("a", RECIPE | {"proxy": {"epochs": 4}}, storage)


def test_the_last_of_two_trainings_counts(storage):
    record = create_or_resume("a", RECIPE, storage)
    set_outcome(record, made())
    add(record, "atto", ATTO, 0, Evaluation(error="out of memory"), {})
    add(record, "atto", ATTO, 0, done(0.4), {})
    assert outcome_of(record).baseline.accuracies == {0: 0.4}
    assert outcome_of(record).baseline.errors == {}


def test_accuracies_live_in_the_trials_alone(storage):
    record = create_or_resume("a", RECIPE, storage)
    add(record, "atto", ATTO, 0, done(0.5), {})
    set_outcome(record, with_accuracies(made(), record))
    assert record.user_attrs["outcome"]["results"][0]["accuracies"] == {}
    assert outcome_of(record).baseline.accuracies == {0: 0.5}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"proxy": {"epochs": 4}}, r"another proxy.epochs \(3, not 4\)"),
        ({"data": {"name": "folder"}}, "another data.name"),
        ({"device": "there"}, "another device"),
        ({"trainer": 3}, "another trainer"),
        ({"baseline": "other"}, r"another baseline \(key, not other\)"),
    ],
)
def test_what_was_trained_otherwise_is_not_mixed(storage, change, says):
    create_or_resume("a", RECIPE, storage)
    with pytest.raises(StorageError, match=says):
        create_or_resume("a", RECIPE | change, storage)
    create_or_resume("a", RECIPE | {"bench": {"batch_size": 4}}, storage)  # speeds are timed anew
    create_or_resume("a", RECIPE | {"ablation": "renamed", "space_name": "renamed"}, storage)


def test_mixers_of_the_users_are_read_without_their_file_and_not_mixed_with_edited_ones(storage, tmp_path):
    from archsearch.arch.mixer import Mixer
    from archsearch.arch.mixer_types import MIXER_TYPES
    from archsearch.nn import load_mixers
    from archsearch.search.definition import own_mixers

    path = tmp_path / "m.py"
    path.write_text("from torch import nn\nclass Mine(nn.Identity):\n    def __init__(self, dim): super().__init__()\n"
                    "MIXERS = {'mine': Mine}\n")  # fmt: skip
    load_mixers(path)
    arch = ATTO.replace(mixers=(Mixer.of("mine"),) * 4)
    recipe = RECIPE | {"mixers": own_mixers({"mine", "identity"})}
    assert list(recipe["mixers"]) == ["mine"]
    record = create_or_resume("a", recipe, storage)
    set_outcome(record, Outcome("m", "M", (Result("mine", base="mine", network=network_to_dict(arch), key=arch.key),)))
    add(record, "mine", arch, 0, done(0.5), {})
    MIXER_TYPES.pop("mine")
    assert outcome_of(record).baseline.accuracies == {0: 0.5}
    assert create_or_resume("a", RECIPE, storage)  # the variant was taken out of the file
    path.write_text(path.read_text() + "# edited\n")
    load_mixers(path)
    with pytest.raises(StorageError, match="knows another version of token_mixer 'mine': its file has changed"):
        create_or_resume("a", RECIPE | {"mixers": own_mixers({"mine"})}, storage)


def test_searches_and_ablations_keep_apart(storage, small_space):
    import tiny

    search = tiny.make_study(small_space)
    create_search(search, storage)
    with pytest.raises(StorageError, match="exists and is no ablation"):
        create_or_resume("test", RECIPE, storage)
    create_or_resume("a", RECIPE, storage)
    import dataclasses

    with pytest.raises(StorageError, match="exists and is an ablation"):
        create_search(dataclasses.replace(search, name="a"), storage)


def test_an_ablation_that_never_began_says_so(storage):
    with pytest.raises(StorageError, match="has no result yet"):
        outcome_of(create_or_resume("a", RECIPE, storage))


def test_the_axis_that_decides_is_the_important_one(storage):
    import optuna

    study = optuna.create_study(storage=storage, directions=["minimize", "maximize"])
    for i in range(60):
        trial = study.ask(
            {
                "kernel_size": optuna.distributions.CategoricalDistribution([3, 5, 7]),
                "norm": optuna.distributions.CategoricalDistribution(["batch", "layer"]),
            }
        )
        score = trial.params["kernel_size"] / 10 + (i % 7) / 500
        study.tell(trial, [1.0, score])
    found = importance(study, objective=1)
    assert [i.axis for i in found] == ["kernel_size", "norm"]
    assert found[0].share > 0.9
    assert sum(i.share for i in found) == pytest.approx(1)
    assert all(0 <= i.low <= i.share <= i.high <= 1 for i in found)
    with pytest.raises(StorageError, match="all score the same"):
        importance(study, objective=0)


def test_few_trials_say_nothing_of_importance(storage):
    import optuna

    study = optuna.create_study(storage=storage, direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    with pytest.raises(StorageError, match="finished trials are 3, and it takes 8"):
        importance(study)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_accuracy_that_is_not_finite_is_a_failed_training(storage, value):
    record = create_or_resume("a", RECIPE, storage)
    set_outcome(record, made())
    add(record, "atto", ATTO, 0, done(value), {})
    add(record, "atto", ATTO, 1, done(0.5), {})
    atto = outcome_of(record)["atto"]
    assert atto.accuracies == {1: 0.5}
    assert atto.errors == {0: f"accuracy is {value}, which is no finite number"}
    with_accuracy = replace(made(), results=(Result("atto", base="atto", accuracies={2: value}),))
    with pytest.raises(UserError, match=r"accuracy of atto with seed 2 is .*, which is no finite number"):
        Outcome.from_dict(json.loads(json.dumps(with_accuracy.to_dict())))
