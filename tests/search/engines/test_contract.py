"""One contract for all engines and storages: what a study does depends on neither."""

import dataclasses
import time

import optuna
import pytest
import tiny
import worker_tasks
from optuna.trial import TrialState

from archsearch.errors import ArchsearchError
from archsearch.search.definition import create_or_resume
from archsearch.search.engines.runner import ProgressListener, Runner, run_here
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.storage.opening import open_storage
from archsearch.search.storage.records import trials_of

RAY = pytest.param("ray", marks=pytest.mark.ray)
both_storages = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
all_engines = pytest.mark.parametrize("engine", ["here", "local", RAY], indirect=True)
separate_engines = pytest.mark.parametrize("engine", ["local", RAY], indirect=True)


@pytest.fixture
def study():
    return tiny.make_study("metanext", population=8, sampler="random")


def search_of(study, url):
    return Search(study, StorageMirror(create_or_resume(study, open_storage(url, create=True))))


def go(engine, study, url, n_trials, make=worker_tasks.make, workers=2, trial_timeout=None, **kwargs):
    search = search_of(study, url)
    engine(Runner(search, n_trials, kwargs.pop("listener", ProgressListener()), **kwargs), make, workers, trial_timeout)
    return search


def alone(study, url, n_trials, make=worker_tasks.make, **kwargs):
    """The same in this process, one after another."""
    search = search_of(study, url)
    run_here(Runner(search, n_trials, ProgressListener(), **kwargs), make(0))
    return search


def essence(search):
    """The set of trials, order aside."""
    return {
        (t.arch.key, tuple(sorted(t.params.items())), t.state, tuple(sorted(t.evaluation.scores.items())),
         tuple((e.epoch, e.accuracy) for e in t.evaluation.curve), t.evaluation.error)
        for t in search.trials
    }  # fmt: skip


@all_engines
@both_storages
def test_same_seed_and_space_give_the_same_trials(engine, database, study, tmp_path):
    found = go(engine, study, database(), 24)
    assert len(found.trials) == 24
    assert essence(found) == essence(alone(study, f"{tmp_path}/alone.db", 24))


@all_engines
@both_storages
def test_a_study_goes_on_where_it_ended(engine, database, study, tmp_path):
    url = database()
    for total in (5, 6, 17):
        parts = go(engine, study, url, total)
        assert len(parts.trials) == total
    assert essence(parts) == essence(alone(study, f"{tmp_path}/alone.db", 17))
    assert trials_of(parts.record) == search_of(study, url).trials


def slow_learner(candidate, event):
    """Whether a training is to end: the second epoch says so for about every second candidate."""
    return event.epoch.epoch == 2 and int(candidate.arch.key, 16) % 2 == 1


@all_engines
@both_storages
def test_early_stopping_prunes_the_same_trials(engine, database, study, tmp_path):
    found = go(engine, study, database(), 20, stop=slow_learner)
    assert essence(found) == essence(alone(study, f"{tmp_path}/alone.db", 20, stop=slow_learner))
    pruned = [t for t in found.trials if t.state == "pruned"]
    assert 4 < len(pruned) < 16
    for trial in pruned:
        assert len(trial.evaluation.curve) == 2
        assert "accuracy" not in trial.evaluation.scores
        assert trial.evaluation.scores["macs"] > 0
    frozen = found.record.get_trials(states=(TrialState.PRUNED,))
    assert {t.number for t in frozen} == {t.number for t in pruned}
    assert all(t.user_attrs["stopped"] for t in frozen), "the name of earlier versions, which read these storages too"
    assert search_of(study, found_url(found)).trials == found.trials


def found_url(search):
    return search.record._storage._backend.url


@all_engines
@both_storages
def test_no_architecture_is_evaluated_twice(engine, database, small_space, tmp_path):
    study = tiny.make_study(small_space)
    url = database()
    found = go(engine, study, url, 1000)
    keys = [trial.arch.key for trial in found.trials]
    assert len(keys) == len(set(keys)) == study.space.distinct()
    assert len(found.record.trials) == len(keys)  # what repeated another left nothing behind
    assert go(engine, study, url, 1000).trials == found.trials


@all_engines
@both_storages
def test_a_failing_candidate_is_recorded_the_same_way(engine, database, study, tmp_path):
    found = go(engine, study, database(), 16, worker_tasks.make_failing)
    assert essence(found) == essence(alone(study, f"{tmp_path}/alone.db", 16, worker_tasks.make_failing))
    failed = [t for t in found.trials if t.state == "failed"]
    assert 0 < len(failed) < 16
    assert {t.evaluation.error for t in failed} == {"diverged: nan"}
    assert {t.number for t in found.record.get_trials(states=(TrialState.FAIL,))} == {t.number for t in failed}


@all_engines
@both_storages
def test_records_say_everything(engine, database, study):
    found = go(engine, study, database(), 3)
    record = optuna.load_study(study_name=study.name, storage=open_storage(found_url(found), create=False))
    assert [t.state for t in record.trials] == [TrialState.COMPLETE] * 3
    for frozen, trial in zip(record.trials, found.trials, strict=True):
        assert frozen.values == [trial.evaluation.scores[o.name] for o in study.objectives]
        assert {"arch", "arch_key", "params", "seed", "draw", "scores", "curve", "environment"} <= {*frozen.user_attrs}
        assert set(frozen.params) == {axis.name for axis in study.space.axes}
        assert frozen.datetime_start <= frozen.datetime_complete
    assert trials_of(record) == found.trials


class Heard(ProgressListener):
    def __init__(self):
        self.starts, self.epochs, self.ends, self.losses = [], [], [], []

    def started(self, candidate, worker):
        self.starts.append((candidate.number, worker))

    def epoch(self, candidate, epoch):
        self.epochs.append((candidate.number, epoch.epoch))

    def ended(self, trial):
        self.ends.append(trial.number)

    def lost(self, candidate, reason):
        self.losses.append((candidate.number, reason))


@all_engines
def test_progress_is_told_as_it_happens(engine, study, tmp_path):
    listener = Heard()
    go(engine, study, f"{tmp_path}/s.db", 6, listener=listener)
    assert sorted(number for number, _ in listener.starts) == sorted(listener.ends) == list(range(6))
    for number in range(6):
        assert [epoch for told, epoch in listener.epochs if told == number] == [1, 2, 3]
    assert len({worker for _, worker in listener.starts}) <= 2


@separate_engines
@pytest.mark.parametrize("how", ["kill", "exit", "raise"])
def test_a_worker_that_dies_costs_one_try(engine, study, tmp_path, how):
    listener = Heard()
    make = worker_tasks.Dangerous(how, tmp_path)
    found = go(engine, study, f"{tmp_path}/s.db", 12, make, listener=listener)
    assert essence(found) == essence(alone(study, f"{tmp_path}/alone.db", 12))
    dangerous = {t.arch.key for t in found.trials if make.dangerous(t.arch)}
    assert dangerous
    assert len(listener.losses) == len(dangerous)
    lost = [t for t in found.record.trials if "lost" in t.user_attrs]
    assert {t.user_attrs["arch_key"] for t in lost} == dangerous
    again = {t.user_attrs["rerun_of"]: t for t in found.record.trials if "rerun_of" in t.user_attrs}
    for trial in lost:
        assert again[trial.number].user_attrs["arch_key"] == trial.user_attrs["arch_key"]


@separate_engines
def test_workers_that_die_in_a_small_space_leave_no_duplicate_behind(engine, small_space, tmp_path):
    study = tiny.make_study(small_space)
    found = go(engine, study, f"{tmp_path}/s.db", 1000, worker_tasks.Dangerous("kill", tmp_path, every=2))
    assert len(found.trials) == len({t.arch.key for t in found.trials}) == study.space.distinct()
    assert not found.record.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))


@separate_engines
def test_a_candidate_that_always_kills_its_worker_fails(engine, study, tmp_path):
    make = worker_tasks.Dangerous("kill", tmp_path, always=True)
    found = go(engine, study, f"{tmp_path}/s.db", 12, make)
    assert len(found.trials) == 12
    for trial in found.trials:
        assert (trial.state == "failed") == make.dangerous(trial.arch)
        assert trial.state == "complete" or "end" in trial.evaluation.error or "kill" in trial.evaluation.error
    assert {t.arch.key for t in found.trials} == {t.arch.key for t in alone(study, f"{tmp_path}/a.db", 12).trials}


@separate_engines
def test_workers_that_cannot_begin_end_the_run_and_fail_no_candidate(engine, study, tmp_path):
    """A GPU that is full, a module that is missing: no candidate's fault."""
    for make, complaint in ((worker_tasks.make_nothing_at_all, "no memory on the device"),
                            (worker_tasks.make_a_complaint, "install that")):  # fmt: skip
        search = search_of(study, f"{tmp_path}/s.db")
        with pytest.raises(ArchsearchError, match=complaint):
            engine(Runner(search, 6, ProgressListener()), make, 2)
        assert search.trials == []
        assert not search.record.get_trials(states=(TrialState.RUNNING,))
    whole = go(engine, study, f"{tmp_path}/s.db", 6)
    assert essence(whole) == essence(alone(study, f"{tmp_path}/alone.db", 6))


@separate_engines
def test_a_worker_that_cannot_begin_once_costs_nothing(engine, study, tmp_path):
    make = worker_tasks.Dangerous("kill", tmp_path, fail_start=True)
    found = go(engine, study, f"{tmp_path}/s.db", 12, make)
    assert essence(found) == essence(alone(study, f"{tmp_path}/alone.db", 12))


class AwayFor(ProgressListener):
    """The parent is busy elsewhere, as when its storage is away, while candidates wait for it."""

    def __init__(self, seconds):
        self.seconds = seconds

    def epoch(self, candidate, epoch):
        if candidate.number == 3 and epoch.epoch == 1:
            time.sleep(self.seconds)


@separate_engines
def test_a_limit_counts_neither_the_parents_time_nor_waiting_for_the_device(engine, study, tmp_path):
    listener = AwayFor(4)
    found = go(engine, study, f"{tmp_path}/s.db", 8, worker_tasks.make_waiting, trial_timeout=2.0, listener=listener)
    assert [t.state for t in found.trials] == ["complete"] * 8


@separate_engines
def test_a_candidate_that_hangs_is_ended(engine, study, tmp_path):
    make = worker_tasks.Dangerous("hang", tmp_path, every=4, always=True)
    found = go(engine, study, f"{tmp_path}/s.db", 12, make, trial_timeout=1.5)
    assert len(found.trials) == 12
    hung = [t for t in found.trials if make.dangerous(t.arch)]
    assert hung
    for trial in found.trials:
        assert trial.evaluation.error == ("took longer than 1.5 s" if trial in hung else None)


@all_engines
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, ValueError])
def test_what_ends_a_run_early_gives_its_trials_back(engine, study, tmp_path, interrupt):
    class Ends(ProgressListener):
        def ended(self, trial):
            if len(search.trials) == 4:
                raise interrupt

    search = search_of(study, f"{tmp_path}/s.db")
    with pytest.raises(interrupt):
        engine(Runner(search, 10, Ends()), worker_tasks.make, 2)
    assert len(search.trials) == 4
    assert not search.record.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))
    whole = go(engine, study, f"{tmp_path}/s.db", 10)
    assert essence(whole) == essence(alone(study, f"{tmp_path}/alone.db", 10))


@all_engines
def test_time_runs_out_between_trials(engine, study, tmp_path):
    assert go(engine, study, f"{tmp_path}/s.db", 10, timeout=1e-9).trials == []


@separate_engines
def test_a_learning_sampler_takes_several_at_a_time(engine, tmp_path):
    study = dataclasses.replace(tiny.make_study("metanext", population=8), sampler="nsga2")
    found = go(engine, study, f"{tmp_path}/s.db", 40)
    assert len({t.arch.key for t in found.trials}) == 40
    assert not found.record.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))
    generations = [t.system_attrs["NSGAIISampler:generation"] for t in found.record.trials]
    assert max(generations) >= 3
    # The first generation does not depend on what comes back when.
    first = {t.user_attrs["arch_key"] for t in found.record.trials[:8] if "arch_key" in t.user_attrs}
    assert first <= {t.arch.key for t in alone(study, f"{tmp_path}/alone.db", 40).trials}
