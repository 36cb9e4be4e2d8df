"""Where a study has the fixed speed of its reference from."""

import dataclasses

import optuna
import pytest
import tiny
from optuna.trial import TrialState, create_trial

from archsearch.benchmark import reference
from archsearch.benchmark.reference_speed import ReferenceSpeed
from archsearch.benchmark.timing import Setting, Timing
from archsearch.errors import OptionError, StorageError
from archsearch.recipes import BENCHES
from archsearch.search.definition import create_or_resume
from archsearch.search.fixed_speed import fix_speeds, fixed_speeds, step_seconds
from archsearch.search.place import Place
from archsearch.search.storage.opening import open_storage
from archsearch.search.storage.rescoring import REFERENCE_SPEEDS

HERE = Place("cpu", "the processor", alone=True)


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    open_storage(str(tmp_path / "s.db"), create=True)
    return str(tmp_path / "s.db")


@pytest.fixture
def asked(monkeypatch):
    """The kinds of step that were timed; each takes a second more than the one before."""
    kinds = []

    def timed(bench, wanted, device, facts, cores):
        kinds.extend(wanted)
        return {kind: ReferenceSpeed(float(len(kinds)), 10, False, dict(facts), "timed", "now") for kind in wanted}

    monkeypatch.setattr(reference, "time_reference", timed)
    return kinds


def study(name="s", objectives="pareto"):
    return tiny.make_study("inception_dw", name=name, objectives=objectives)


def speeds(study, url, place=HERE, remeasure=False):
    return fixed_speeds(study, url, place, remeasure, lambda text: None)


def begin(study, url, found):
    record = create_or_resume(study, open_storage(url, create=True))
    fix_speeds(record, found)
    return record


def test_it_is_timed_once_and_then_the_same_for_all(url, asked, tmp_path):
    first = speeds(study(), url)
    begin(study(), url, first)
    assert step_seconds(first) == {"infer": 1.0}
    assert speeds(study(), url) == first  # its own
    assert speeds(study("other"), url) == first  # of the storage
    assert speeds(study("third"), str(tmp_path / "none.db")) == first  # of this machine
    assert speeds(study("fourth", "accuracy,infer_throughput,latency_ms"), url)["infer"] == first["infer"]
    assert asked == ["infer", "latency"]


def test_a_storage_has_one_even_where_timings_are_made_anew(url, asked):
    first = speeds(study(), url)
    begin(study(), url, first)
    assert speeds(study("other"), url, remeasure=True) == first
    begin(study("third", objectives="accuracy,latency_ms"), url, {})
    assert asked == ["infer"]


@pytest.mark.parametrize("change", [{"batch_size": 7}, {"reference": "convnext_tiny"}, {"layout": "channels_first"}])
def test_another_recipe_has_another_one(url, asked, change):
    begin(study(), url, speeds(study(), url))
    other = study("other")
    other = dataclasses.replace(other, bench=dataclasses.replace(other.bench, **change))
    assert step_seconds(speeds(other, url)) == {"infer": 2.0}


def test_a_study_that_times_nothing_needs_none(url, asked):
    assert speeds(study(objectives="accuracy,macs"), url) == {}
    assert asked == []


def test_a_disturbed_one_is_not_kept_for_other_storages(url, monkeypatch, tmp_path):
    loud = ReferenceSpeed(9.0, 10, True, {}, "timed", "now")
    monkeypatch.setattr(reference, "time_reference", lambda *args: {"infer": loud})
    assert speeds(study(), url) == {"infer": loud}
    quiet = dataclasses.replace(loud, step_s=1.0, disturbed=False)
    monkeypatch.setattr(reference, "time_reference", lambda *args: {"infer": quiet})
    assert speeds(study(), str(tmp_path / "none.db")) == {"infer": quiet}


@pytest.mark.parametrize("fact", ["host", "device_name"])
def test_a_study_whose_reference_is_of_another_machine_is_refused_and_stays(url, asked, fact):
    found = speeds(study(), url)
    elsewhere = {k: dataclasses.replace(v, facts={**v.facts, fact: "elsewhere"}) for k, v in found.items()}
    record = begin(study(), url, elsewhere)
    with pytest.raises(StorageError, match=r"has its speeds from elsewhere, and this is .*another --study-name"):
        speeds(study(), url)
    assert record.user_attrs[REFERENCE_SPEEDS]["infer"]["facts"][fact] == "elsewhere"
    other = speeds(study("other"), url)  # is timed here, or cached
    assert other["infer"].facts[fact] != "elsewhere"
    remote = dataclasses.replace(HERE, alone=False, remote=True)
    assert speeds(study(), url, remote)["infer"].facts[fact] == "elsewhere"  # a cluster has many hosts


def test_a_study_of_an_earlier_version_has_that_of_its_trials(url, asked):
    record = begin(study(), url, {})
    setting = Setting("infer", "eager", "channels_last", "fp32", 2, 224)
    detail = Timing(setting, (0.1,) * 3, (0.25,) * 3, 1, settled=True).details()
    attrs = {"details": {"infer_throughput": detail}, "environment": {"host": "another"}}
    record.add_trial(create_trial(state=TrialState.FAIL, user_attrs=attrs))
    assert step_seconds(speeds(study(), url)) == {"infer": 0.25}
    fix_speeds(record, speeds(study(), url))
    fix_speeds(record, {"infer": ReferenceSpeed(9.0, 1, False, {}, "", "")})
    stored = optuna.load_study(study_name="s", storage=open_storage(url, create=False))
    assert stored.user_attrs[REFERENCE_SPEEDS]["infer"]["step_s"] == 0.25
    assert asked == []


def test_a_real_reference_is_timed():
    bench = dataclasses.replace(BENCHES["smoke"], reference="inceptionnext_atto", img_size=64, rounds=3)
    found = reference.time_reference(bench, ("infer", "latency"), "cpu", {"host": "h"})
    assert set(found) == {"infer", "latency"}
    for speed in found.values():
        assert 0 < speed.step_s < 10
        assert speed.blocks >= 3
        assert speed.facts == {"host": "h"}
        assert ReferenceSpeed.from_dict(speed.to_dict()) == speed
    with pytest.raises(OptionError, match="the reference cannot be timed"):
        reference.time_reference(dataclasses.replace(bench, batch_size=1, img_size=32), ("train",), "cpu", {})


def test_disturbed_timings_of_the_reference_are_made_again(monkeypatch):
    loud = iter([True, True, False])

    class Process:
        def __init__(self, device, cores):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *args):
            pass

    def timed(process, job):
        busy = next(loud)
        setting = Setting("infer", "eager", "channels_last", "fp32", 2, 224)
        conditions = {"warnings": ["busy"] if busy else []}
        return {"infer": Timing(setting, (9.0 if busy else 1.0,) * 4, conditions=conditions)}

    monkeypatch.setattr(reference, "TimingProcess", Process)
    monkeypatch.setattr(reference, "_timings", timed)
    assert reference.time_reference(BENCHES["cpu"], ("infer",), "cpu", {})["infer"].step_s == 1.0
    loud = iter([True] * reference.ATTEMPTS)
    given_up = reference.time_reference(BENCHES["cpu"], ("infer",), "cpu", {})["infer"]
    assert (given_up.disturbed, given_up.step_s, given_up.blocks) == (True, 9.0, 4 * reference.ATTEMPTS)


def test_a_study_that_mixes_machines_says_so(url, asked):
    record, said = begin(study(), url, {}), []
    setting = Setting("infer", "eager", "channels_last", "fp32", 2, 224)
    detail = Timing(setting, (0.1,) * 3, (0.25,) * 3, 1, settled=True).details()
    for host in ("one", "another"):
        attrs = {"details": {"infer_throughput": detail}, "environment": {"host": host}}
        record.add_trial(create_trial(state=TrialState.FAIL, user_attrs=attrs))
    assert step_seconds(fixed_speeds(study(), url, HERE, False, said.append)) == {"infer": 0.25}
    (line,) = said
    assert "has trials that were timed on another, one" in line
