"""A study goes on in later versions, and is told apart where something changes its results."""

import dataclasses

import pytest
import tiny
from newer import NewerBench, NewerProxy, add_parameter, newer

from archsearch.ablation import record as ablation
from archsearch.errors import StorageError
from archsearch.objectives import parse_objectives
from archsearch.report.view import view_of
from archsearch.search import same_recipe
from archsearch.search.definition import create_or_resume, load, recipe_of
from archsearch.search.engines.runner import ProgressListener, Runner, run_here
from archsearch.search.same_recipe import timed_alike
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.storage.opening import open_storage
from archsearch.search.storage.reuse import ResultReuse
from archsearch.trial import Epoch, Evaluation
from archsearch.utils.disk_cache import digest
from archsearch.utils.key_fields import key_fields


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path / "s.db"), create=True)


@pytest.fixture
def study(small_space):
    return tiny.make_study(small_space, name="a", sampler="random")


@pytest.fixture
def later(monkeypatch):
    """A later version: its recipes, its architectures and a built-in mixer have a field more."""
    monkeypatch.setattr(same_recipe, "PARTS", {"proxy": NewerProxy, "bench": NewerBench})
    add_parameter(monkeypatch, "inception")

    def make(study, proxy=None, bench=None, baseline=None, **changes):
        space = dataclasses.replace(study.space, baseline=newer(study.space.baseline, **(baseline or {})))
        recipes = {"proxy": newer(study.proxy, **(proxy or {})), "bench": newer(study.bench, **(bench or {}))}
        return dataclasses.replace(study, space=space, **recipes, **changes)

    return make


def go(study, storage, n_trials):
    """The trials, and the keys of those of which nothing was known."""
    done = []

    def evaluate(arch, seed, report, known):
        if known is None:
            done.append(arch.key)
        known = known or Evaluation()
        timing = {"infer_throughput": {"batch_size": 1, "img_size": 64, "conditions": {"warnings": []}}}
        scores = {"accuracy": 0.5, "macs": float(sum(arch.dims)), "params": 1.0, "infer_throughput": 10.0}
        curve = (Epoch(1, 1.0, 0.5, 0.1),)
        return Evaluation(scores | known.scores, timing | known.details, curve, reused=known.reused), {}

    search = Search(study, StorageMirror(create_or_resume(study, storage)))
    reuse = ResultReuse(study, search.mirror, {})
    run_here(Runner(search, n_trials, ProgressListener(), reuse=reuse), evaluate)
    return search.trials, done


def test_todays_recipe_is_stored_as_it_was(study):
    assert digest(study.recipe()) == "fe014369ae6306843a8d0c23"


def test_a_study_outlives_new_fields(study, storage, later):
    before, _ = go(study, storage, 3)
    trials, evaluated = go(later(study), storage, 5)
    assert [t.arch.key for t in trials[:3]] == [t.arch.key for t in before]
    assert len(trials) == 5
    assert len(evaluated) == 2
    assert len(view_of(load("a", storage)).frame) == 5
    other, evaluated = go(later(study, name="b"), storage, 5)
    assert evaluated == []
    assert all(set(trial.evaluation.reused) == {"accuracy", "infer_throughput"} for trial in other)


def test_a_study_that_a_later_version_made_as_before_goes_on_here(study, storage, later, monkeypatch):
    go(later(study), storage, 2)
    monkeypatch.undo()
    assert len(go(study, storage, 3)[1]) == 1
    assert recipe_of(create_or_resume(study, storage)) == study.recipe()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"proxy": {"grad_clip": 1.0}}, r"exists with another proxy.grad_clip \(0.0, not 1.0\)"),
        ({"proxy": {"schedule": "linear"}}, r"exists with another proxy.schedule \(cosine, not linear\)"),
        ({"bench": {"power_limit": 200}}, r"exists with another bench.power_limit \(None, not 200\)"),
        ({"baseline": {"head_bias": False}}, "exists with another space.baseline"),
    ],
)
def test_a_new_field_that_changes_results_makes_another_study(study, storage, later, changes, says):
    go(study, storage, 2)
    with pytest.raises(StorageError, match=says):
        create_or_resume(later(study, **changes), storage)
    only = {name: value for name, value in changes.items() if name != "baseline"}
    reused = {name for trial in go(later(study, name="b", **only), storage, 2)[0] for name in trial.evaluation.reused}
    assert reused == {"accuracy", "infer_throughput"} - {"proxy": {"accuracy"}, "bench": {"infer_throughput"}}.get(
        next(iter(changes)), set()
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"proxy": {"grad_clip": 1.0}}, "was made by a newer archsearch, whose recipes have proxy.grad_clip; update"),
        ({"bench": {"power_limit": 200}}, "was made by a newer archsearch, whose recipes have bench.power_limit"),
        ({"baseline": {"head_bias": False}}, "cannot be built here .unknown field of an architecture 'head_bias'"),
    ],
)
def test_a_study_of_a_newer_version_is_told_in_one_line(study, storage, later, monkeypatch, changes, says):
    create_or_resume(later(study, **changes), storage)
    monkeypatch.undo()
    with pytest.raises(StorageError, match=says) as error:
        create_or_resume(study, storage)
    assert "\n" not in str(error.value)


def test_a_whole_field_of_a_newer_version_is_told(study, storage):
    record = create_or_resume(study, storage)
    record.set_user_attr("archsearch", study.recipe() | {"distilled_from": "resnet50"})
    with pytest.raises(StorageError, match="by a newer archsearch, whose recipes have distilled_from; update"):
        create_or_resume(study, storage)


def test_timings_of_another_protocol_are_not_mixed(study, storage, monkeypatch):
    go(study, storage, 2)
    monkeypatch.setattr("archsearch.search.definition.PROTOCOL", 2)
    with pytest.raises(StorageError, match=r"another protocol \(1, not 2\)"):
        create_or_resume(study, storage)
    trials, _ = go(dataclasses.replace(study, name="b"), storage, 2)
    assert {name for trial in trials for name in trial.evaluation.reused} == {"accuracy"}
    untimed = dataclasses.replace(study, name="c", objectives=parse_objectives("accuracy,macs"))
    create_or_resume(untimed, storage)
    monkeypatch.undo()
    create_or_resume(untimed, storage)


def test_timings_of_another_machine_are_not_mixed_with_ours(study):
    ours = study.recipe()
    theirs = {**ours, "speeds": {"device": "Toy Board", "content": "0"}}
    assert timed_alike(ours, ours)
    assert not timed_alike(ours, theirs)
    assert not timed_alike(theirs, ours)
    assert not timed_alike(theirs, theirs)


def test_an_ablation_outlives_new_fields(storage, later):
    plain = {"version": 1, "ablation": "mine", "space_name": "mine", "objectives": ["accuracy"], "trainer": 2}
    plain |= {"proxy": key_fields(tiny.PROXY), "bench": key_fields(tiny.BENCH), "data": {}, "device": "here"}
    ablation.create_or_resume("a", plain, storage)
    ablation.create_or_resume("a", plain | {"proxy": key_fields(newer(tiny.PROXY))}, storage)
    with pytest.raises(StorageError, match=r"another proxy.grad_clip \(0.0, not 1.0\)"):
        ablation.create_or_resume("a", plain | {"proxy": key_fields(newer(tiny.PROXY, grad_clip=1.0))}, storage)
    ablation.create_or_resume("a", plain | {"bench": key_fields(newer(tiny.BENCH, power_limit=9))}, storage)


def test_an_ablation_of_a_newer_version_is_told(storage):
    plain = {"version": 1, "ablation": "mine", "objectives": ["accuracy"], "proxy": key_fields(tiny.PROXY)}
    ablation.create_or_resume("a", plain | {"distilled_from": "resnet50"}, storage)
    ablation.create_or_resume("b", plain | {"proxy": key_fields(newer(tiny.PROXY, grad_clip=1.0))}, storage)
    with pytest.raises(StorageError, match="by a newer archsearch, whose recipes have distilled_from"):
        ablation.create_or_resume("a", plain, storage)
    with pytest.raises(StorageError, match=r"by a newer archsearch, whose recipes have proxy\.grad_clip"):
        ablation.create_or_resume("b", plain, storage)
