import copy
import dataclasses
import math
import random

import optuna
import pytest
import tiny
from optuna.samplers._ga import BaseGASampler
from optuna.trial import TrialState, create_trial

from archsearch.errors import OptionError, StorageError
from archsearch.evaluate.constraint import parse_constraints
from archsearch.objectives import parse_objectives
from archsearch.recipes import PROXIES
from archsearch.report.page.payload import page_data
from archsearch.report.view import own_box, view_of
from archsearch.search.definition import create_or_resume
from archsearch.search.engines import runner as runner_module
from archsearch.search.engines.runner import ProgressListener, Runner, run_here
from archsearch.search.importance import importances
from archsearch.search.samplers.by_name import SAMPLERS, check_sampler
from archsearch.search.samplers.optuna_samplers import NSGAIIISampler, NSGAIISampler
from archsearch.search.search import Search
from archsearch.search.storage.lock import lock_path, owned
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.storage.opening import open_storage
from archsearch.search.storage.records import trials_of
from archsearch.stats.hypervolume import FrontTracker, hypervolume_trace
from archsearch.trial import Epoch, EpochDone, Evaluation, SeedDone


def made_up(arch, seed, report):
    """A cost and an accuracy that any real architecture has, without the training."""
    size = sum(arch.dims) * (2 if arch.mixers[0].token_mixer == "depthwise" else 1)
    epoch = Epoch(1, 1.0, (size % 97) / 97, 0.1)
    done = Evaluation({"macs": float(size), "accuracy": epoch.accuracy, "infer_throughput": 1e4 / size}, curve=(epoch,))
    report(EpochDone(done))
    return done


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path / "s.db"), create=True)


def search_of(study, storage):
    return Search(study, StorageMirror(create_or_resume(study, storage)))


def go(search, n_trials, evaluate=made_up, **kwargs):
    def evaluated(arch, seed, report, known):
        return evaluate(arch, seed, report), {"device": "test"}

    run_here(Runner(search, n_trials, ProgressListener(), **kwargs), evaluated)
    return search.trials


def essence(trials):
    return [(t.arch.key, dict(t.params), t.state, t.evaluation.scores) for t in trials]


@pytest.fixture
def study():
    return tiny.make_study("inception_dw", population=8)


def test_records_say_everything(storage, study):
    (trial,) = go(search_of(study, storage), 1)
    record = optuna.load_study(study_name=study.name, storage=storage)
    (frozen,) = record.trials
    assert frozen.state == TrialState.COMPLETE
    assert frozen.values == [trial.evaluation.scores[o.name] for o in study.objectives]
    assert {"arch", "arch_key", "params", "seed", "scores", "curve", "environment"} <= set(frozen.user_attrs)
    assert record.metric_names == [o.name for o in study.objectives]
    assert [d.name.lower() for d in record.directions] == [o.direction for o in study.objectives]
    assert trials_of(record) == [trial]
    assert study.space.arch(trial.params) == trial.arch


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(tmp_path, study, sampler):
    study = dataclasses.replace(study, sampler=sampler)
    last = 14 if sampler == "gp" else 30  # Optuna's takes seconds per draw from the eleventh on
    whole = go(search_of(study, open_storage(str(tmp_path / "a.db"), create=True)), last)
    broken = open_storage(str(tmp_path / "b.db"), create=True)
    for total in (3, 11, 12, last):
        parts = go(search_of(study, broken), total)
        assert len(parts) == total
    assert essence(parts) == essence(whole)


@pytest.mark.parametrize("name", ["accuracy", "macs", "infer_throughput"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("sampler", ["cost_aware", "nsga2", "tpe"])
def test_a_score_that_is_not_finite_fails_the_trial_and_the_study_goes_on(storage, study, name, value, sampler):
    def broken(arch, seed, report):
        done = made_up(arch, seed, report)
        odd = int(arch.key, 16) % 3 == 0
        return dataclasses.replace(done, scores=done.scores | {name: value}) if odd else done

    study = dataclasses.replace(study, sampler=sampler)
    trials = go(search_of(study, storage), 16, broken)
    failed = [trial for trial in trials if int(trial.arch.key, 16) % 3 == 0]
    assert 0 < len(failed) < 16
    assert [trial for trial in trials if trial.state == "failed"] == failed
    assert {trial.evaluation.error for trial in failed} == {f"{name} is {value}, which is no finite number"}
    assert all(name not in trial.evaluation.scores for trial in failed)
    record = optuna.load_study(study_name=study.name, storage=storage)
    assert {t.number for t in record.trials if t.state == TrialState.FAIL} == {trial.number for trial in failed}
    assert trials_of(record) == trials
    assert {t.state for t in FrontTracker(study.objectives, trials).front} == {"complete"}


@pytest.mark.parametrize("seeds", [{0: 0.5, 1: math.nan}, {0: math.inf, 1: 0.5}])
def test_one_seed_that_is_not_finite_fails_the_trial(storage, study, seeds):
    (trial,) = go(search_of(study, storage), 1, lambda *job: dataclasses.replace(made_up(*job), accuracies=seeds))
    assert trial.state == "failed"
    assert trial.evaluation.accuracies == {}
    assert trial.evaluation.error.startswith("accuracy with seed ")


@pytest.mark.parametrize("sampler", ["cost_aware", "nsga2", "tpe"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_storage_that_holds_such_scores_as_complete_trials_opens_draws_and_goes_on(storage, study, sampler, value):
    study = dataclasses.replace(study, sampler=sampler)
    go(search_of(study, storage), 12)
    record = optuna.load_study(study_name=study.name, storage=storage)
    old = record.trials[5]
    place = [o.name for o in study.objectives].index("accuracy")
    values = [math.copysign(math.inf, value) if i == place else v for i, v in enumerate(old.values)]
    attrs = old.user_attrs | {"scores": old.user_attrs["scores"] | {"accuracy": value}, "draw": 12, "arch_key": "other"}
    record.add_trial(create_trial(values=values, params=old.params, distributions=old.distributions, user_attrs=attrs))
    trials = go(search_of(study, storage), 20)
    assert [trial.number for trial in trials if trial.state == "failed"] == [12]
    assert len([trial for trial in trials if trial.state == "complete"]) == 19
    view = view_of(optuna.load_study(study_name=study.name, storage=storage))
    assert 12 not in view.front
    assert 0 < hypervolume_trace(view.objectives, view.trials, own_box(view))[2][-1] <= 1
    assert page_data([view])["studies"][0]["parts"][0]["count"] == 20


def test_the_asked_total_is_the_studys(storage, study):
    assert len(go(search_of(study, storage), 5)) == 5
    assert len(go(search_of(study, storage), 5)) == 5
    assert len(go(search_of(study, storage), 7)) == 7


def test_no_architecture_is_evaluated_twice(storage, small_space):
    seen = []

    def counting(arch, seed, report):
        seen.append(arch.key)
        return made_up(arch, seed, report)

    study = tiny.make_study(small_space)
    search = search_of(study, storage)
    trials = go(search, 1000, counting)
    assert len(trials) == study.space.distinct() == len(seen) == len(set(seen))
    assert search.duplicates > 0
    assert go(search_of(study, storage), 1000, counting) == trials
    assert len(seen) == len(trials)


@pytest.mark.parametrize("sampler", ["nsga2", "nsga3", "tpe", "qmc", "random"])
def test_a_draw_that_repeats_another_is_drawn_again_and_leaves_nothing(storage, small_space, sampler):
    search = search_of(tiny.make_study(small_space, sampler=sampler), storage)
    trials = go(search, 1000)
    assert search.duplicates > 0
    assert [t.number for t in search.record.trials] == [t.number for t in trials] == list(range(len(trials)))
    draws = [t.user_attrs["draw"] for t in search.record.trials]
    assert draws == sorted(set(draws))
    assert draws[-1] >= len(draws)


@pytest.mark.parametrize("sampler", ["grid", "cost_aware"])
def test_samplers_that_know_the_space_repeat_nothing(storage, small_space, sampler):
    study = tiny.make_study(small_space, sampler=sampler)
    search = search_of(study, storage)
    assert len(go(search, 1000)) == study.space.distinct()
    assert search.duplicates == 0


def test_a_part_of_the_grid_is_a_fair_sample(storage, study):
    """Every value of every axis is met long before the end, in an order that the study's seed decides."""
    trials = go(search_of(dataclasses.replace(study, sampler="grid"), storage), 60)
    for axis in study.space.axes:
        if not axis.when:
            assert {trial.params[axis.name] for trial in trials} == set(axis.values)
    other = dataclasses.replace(study, name="b", sampler="grid", seed=1)
    assert essence(go(search_of(other, storage), 5)) != essence(trials[:5])


@pytest.mark.parametrize("make", [NSGAIISampler, NSGAIIISampler])
@pytest.mark.parametrize("seed", range(5))
def test_generations_are_counted_as_optuna_counts_them(seed, make):
    """Without looking at all trials, and whatever order they end in."""
    axes = {f"x{i}": optuna.distributions.CategoricalDistribution((0, 1, 2, 3)) for i in range(4)}
    rng, running = random.Random(seed), []
    record = optuna.create_study(directions=["minimize"] * 2)
    for number in range(120):
        record.sampler = sampler = make(1000 * seed + number, 8, axes)
        trial = record.ask(axes)
        frozen = record.get_trials(deepcopy=False)[number]
        ours = frozen.system_attrs[sampler._get_generation_key()]
        blank = copy.copy(frozen)
        blank.system_attrs = {}
        assert BaseGASampler.get_trial_generation(sampler, record, blank) == ours
        running.append(trial)
        while running and (len(running) > 6 or rng.random() < 0.5):
            ended = running.pop(rng.randrange(len(running)))
            if rng.random() < 0.1:
                record.tell(ended, state=TrialState.FAIL)
            else:
                record.tell(ended, [rng.random(), rng.random()])
    assert ours > 8


def test_failures_are_records_and_not_the_end(storage, study):
    def every_other(arch, seed, report):
        done = made_up(arch, seed, report)
        broken = Evaluation({"macs": 1.0}, curve=done.curve, error="diverged: nan")
        return broken if int(arch.key, 16) % 2 else done

    trials = go(search_of(study, storage), 12, every_other)
    assert len(trials) == 12
    failed = [t for t in trials if t.state == "failed"]
    assert 0 < len(failed) < 12
    assert all(t.evaluation.error == "diverged: nan" and t.evaluation.curve and t.evaluation.scores for t in failed)
    assert search_of(study, storage).trials == trials


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_trial_runs_first_next_time(storage, study, interrupt):
    def interrupted(arch, seed, report):
        if len(search.trials) == 2:
            raise interrupt
        return made_up(arch, seed, report)

    search = search_of(study, storage)
    with pytest.raises(interrupt):
        go(search, 5, interrupted)
    assert len(search.trials) == 2
    assert not any(t.state == TrialState.RUNNING for t in search.record.trials)
    lost = next(t for t in search.record.trials if "lost" in t.user_attrs)
    again = search_of(study, storage)
    assert again.reruns == [lost.number]
    candidate = again.ask()
    assert candidate.rerun_of == lost.number
    assert candidate.arch.key == lost.user_attrs["arch_key"]


def test_a_lost_trial_runs_again_and_changes_nothing_else(tmp_path, study):
    whole = go(search_of(study, open_storage(str(tmp_path / "a.db"), create=True)), 20)
    storage = open_storage(str(tmp_path / "b.db"), create=True)
    for survived in (0, 4, 13):
        search = search_of(study, storage)
        go(search, survived)
        search.ask()  # and the process is gone before it tells
    resumed = search_of(study, storage)
    assert len(resumed.reruns) == 1
    assert essence(go(resumed, 20)) == essence(whole)
    assert sum("lost" in t.user_attrs for t in resumed.record.trials) == 3


def test_a_trial_that_has_no_architecture_is_nobodys(tmp_path, study):
    whole = go(search_of(study, open_storage(str(tmp_path / "a.db"), create=True)), 6)
    search = search_of(study, open_storage(str(tmp_path / "b.db"), create=True))
    go(search, 3)
    number = search.record.ask().number  # by a program that was killed before it had its parameters
    resumed = search_of(study, open_storage(str(tmp_path / "b.db"), create=True))
    assert resumed.reruns == []
    assert resumed.record.trials[number].state == TrialState.FAIL
    assert essence(go(resumed, 6)) == essence(whole)


def test_time_runs_out_between_trials(storage, study):
    assert go(search_of(study, storage), 10, timeout=1e-9) == []


def test_one_process_owns_a_study(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    assert lock_path(url, "a").parent == tmp_path
    with owned("a", url):
        with pytest.raises(StorageError, match="run by another process"), owned("a", url):
            pass
        with owned("b", url):
            pass
    with owned("a", url):
        pass


def test_one_lock_per_study_however_the_storage_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ways = ("s.db", "sqlite:///s.db", f"sqlite:///{tmp_path}/s.db", "./s.db")
    assert len({lock_path(way, "a") for way in ways}) == 1
    assert lock_path("s.db", "a") != lock_path("t.db", "a")
    assert lock_path("postgresql://h/d", "a") != lock_path("postgresql://h/e", "a")


def test_an_exhausted_space_is_left_alone(storage, small_space):
    go(search_of(tiny.make_study(small_space), storage), 1000)
    search = search_of(tiny.make_study(small_space), storage)
    rows = len(search.record.trials)
    assert search.exhausted
    assert search.ask() is None
    assert len(search.record.trials) == rows


def test_samplers_by_name(study, space_of_many):
    with pytest.raises(OptionError, match="did you mean 'nsga2'"):
        check_sampler("nsga", study.space)
    with pytest.raises(OptionError, match="one objective alone; use nsga2, tpe or cost_aware"):
        check_sampler("cmaes", study.space)
    with pytest.raises(OptionError, match="420,480 points; use qmc"):
        check_sampler("grid", space_of_many)


@pytest.fixture
def space_of_many():
    return tiny.shipped_space("metanext")


def test_a_study_from_before_a_field_came_goes_on(storage, study):
    """Its recipe lacks what is now at the default that means what was there before."""
    record = create_or_resume(study, storage)
    recipe = record.user_attrs["archsearch"]
    del recipe["space"]["baseline"]["block"]
    for mixer in recipe["space"]["baseline"]["mixers"]:
        del mixer["bands"]
    record.set_user_attr("archsearch", recipe)
    create_or_resume(study, storage)
    wider = dataclasses.replace(study.space, baseline=study.space.baseline.replace(block="metaformer"))
    with pytest.raises(StorageError, match=r"exists with another space\.baseline"):
        create_or_resume(dataclasses.replace(study, space=wider), storage)


def test_a_study_from_before_spaces_had_needs_goes_on(storage):
    """What its space said of the proxy is in the proxy recipe, which has to stay the same."""
    space = tiny.shipped_space("inception_dw")
    study = tiny.make_study("inception_dw", proxy=space.fitted(PROXIES["cpu"]))
    record = create_or_resume(study, storage)
    recipe = record.user_attrs["archsearch"]
    assert recipe["space"].pop("needs") == {"width": 0.25, "depth": 1 / 3, "img_size": 32, "stem_patch_size": 2}
    recipe["space"]["proxy"] = {"width": 0.25, "depth": 1 / 3, "img_size": 32, "stem_patch_size": 2}
    record.set_user_attr("archsearch", recipe)
    create_or_resume(study, storage)
    wider = dataclasses.replace(space, needs={"width": 1 / 2})
    other = dataclasses.replace(study, space=wider, proxy=wider.fitted(PROXIES["cpu"]))
    with pytest.raises(StorageError, match=r"exists with another proxy\.width \(0.25, not 0.5\)"):
        create_or_resume(other, storage)


def constrained(arch, seed, report):
    """Two of three candidates are too large, and are not trained."""
    done = made_up(arch, seed, report)
    over = (sum(arch.dims) - 1000) / 1000
    if over <= 0:
        return dataclasses.replace(done, excess={"macs <= 1000": over})
    return Evaluation({"macs": done.scores["macs"]}, excess={"macs <= 1000": over})


@pytest.mark.parametrize("sampler", ["random", "nsga2", "nsga3", "tpe", "gp", "cost_aware"])
def test_infeasible_candidates_are_on_record_as_optuna_records_them(storage, sampler):
    study = tiny.make_study("inception_dw", population=8, sampler=sampler)
    trials = go(search_of(study, storage), 14 if sampler == "gp" else 30, constrained)
    record = optuna.load_study(study_name=study.name, storage=storage)
    infeasible = [trial for trial in trials if trial.state == "infeasible"]
    assert 0 < len(infeasible) < len(trials)
    for trial in infeasible:
        frozen = record.trials[trial.number]
        assert frozen.state == TrialState.COMPLETE
        assert frozen.constraints == trial.evaluation.excess
        assert frozen.values == [-math.inf, trial.evaluation.scores["macs"], -math.inf]
    assert all(trial.constraints["macs <= 1000"] <= 0 for trial in record.best_trials)
    front = FrontTracker(study.objectives, trials).front
    assert {trial.number for trial in front} == {trial.number for trial in record.best_trials}
    assert search_of(study, storage).trials == trials


@pytest.mark.parametrize("sampler", ["nsga2", "tpe", "gp", "cost_aware"])
def test_constraints_of_which_some_were_not_looked_at(storage, sampler):
    """What breaks one that is counted is not timed; every sampler goes on all the same."""
    constraints = parse_constraints(["macs <= 1000", "infer_throughput >= 10"])

    def evaluate(arch, seed, report):
        done = constrained(arch, seed, report)
        if done.infeasible:
            return done
        slow = 0.5 if arch.mixers[0].token_mixer == "depthwise" else -0.5
        excess = done.excess | {"infer_throughput >= 10": slow}
        scores = done.scores if slow < 0 else {k: done.scores[k] for k in ("macs", "infer_throughput")}
        return dataclasses.replace(done, scores=scores, excess=excess)

    study = tiny.make_study("inception_dw", population=8, sampler=sampler, constraints=constraints)
    trials = go(search_of(study, storage), 16 if sampler == "gp" else 40, evaluate)
    names = frozenset(map(str, constraints))
    assert {frozenset(trial.constraints) for trial in search_of(study, storage).record.trials} == {names}
    assert {trial.state for trial in trials} == {"complete", "infeasible"}
    assert search_of(study, storage).trials == trials


def test_infeasible_trials_have_no_say_in_importances(storage):
    """The worst of values that they have would make the axis that breaks the constraint the most important one."""
    study = tiny.make_study("inception_dw", sampler="random")
    search = search_of(study, storage)

    def by_kernel(arch, seed, report):
        done = constrained(arch, seed, report)
        kernel = dict(arch.mixers[0].params).get("band_kernel_size", 0)
        return done if done.infeasible else dataclasses.replace(done, scores={**done.scores, "accuracy": kernel / 20})

    go(search, 120, by_kernel)
    found = importances(search.record, [o.name for o in study.objectives])["accuracy"]
    assert found[0].axis in ("band_kernel_size", "token_mixer")
    assert sum(axis.share for axis in found if axis.axis == "dims") < 0.05


def test_a_constraint_on_speed_holds_for_one_bench(storage, study):
    changes = {"objectives": parse_objectives("accuracy,macs"), "constraints": parse_constraints(["latency_ms <= 5"])}
    study = dataclasses.replace(study, **changes)
    search_of(study, storage)
    other = dataclasses.replace(study, bench=dataclasses.replace(study.bench, batch_size=7))
    with pytest.raises(StorageError, match="another bench"):
        search_of(other, storage)
    search_of(dataclasses.replace(other, name="b", constraints=()), storage)
    search_of(dataclasses.replace(study, name="b", constraints=()), storage)  # where nothing is timed


def test_a_worker_that_dies_at_a_further_seed_leaves_what_the_first_gave(storage, study):
    search = search_of(dataclasses.replace(study, seeds=3), storage)
    runner = Runner(search, 1, ProgressListener())
    candidate = runner.next("a worker")
    scores = made_up(candidate.arch, 0, lambda event: True).scores
    known = Evaluation(scores, curve=(Epoch(1, 1.0, 0.5, 1.0),), accuracies={0: scores["accuracy"]})
    assert runner.reported(candidate.number, SeedDone(known))
    runner.lost(candidate.number, "took longer than 5 s", again=False)
    (trial,) = search.trials
    assert trial.state == "complete"
    assert trial.evaluation.scores == scores
    assert trial.evaluation.seed_error == "took longer than 5 s"


def test_constraints_steer_a_sampler():
    """A genetic one breaks in its second half clearly less often than chance does."""

    def broken(sampler):
        study = tiny.make_study("inception_dw", population=10, sampler=sampler)
        trials = go(search_of(study, optuna.storages.InMemoryStorage()), 120, constrained)
        return sum(trial.state == "infeasible" for trial in trials[60:])

    assert broken("nsga2") < broken("random") / 1.5


def test_a_study_with_other_constraints_or_seeds_is_another(storage, study):
    go(search_of(study, storage), 1)
    for changes in ({"constraints": parse_constraints(["macs <= 1e9"])}, {"seeds": 2}):
        with pytest.raises(StorageError, match=f"exists with another {next(iter(changes))}"):
            search_of(dataclasses.replace(study, **changes), storage)
    search_of(dataclasses.replace(study, early_stopping=False), storage)


class PutOff:
    """Evaluates candidates whose speed is known only after a number of timings."""

    def __init__(self, times):
        self.times, self.seen = times, {}

    def __call__(self, arch, seed, report, known):
        count = self.seen[arch.key] = self.seen.get(arch.key, 0) + 1
        assert (known is None) == (count == 1)
        done = made_up(arch, seed, report)
        if count <= self.times:
            scores = {name: value for name, value in done.scores.items() if name != "infer_throughput"}
            done = dataclasses.replace(done, scores=scores, put_off="infer_throughput: between 1 and 9")
        return done, {"device": "test"}


class Heard(ProgressListener):
    def __init__(self):
        self.put_offs, self.ends = [], []

    def put_off(self, candidate, reason):
        self.put_offs.append((candidate.number, reason))

    def ended(self, trial):
        self.ends.append(trial.number)


def test_a_timing_that_was_put_off_is_made_again_after_others(storage, monkeypatch):
    monkeypatch.setattr(runner_module, "PAUSE_S", 0.2)
    search, heard, evaluate = search_of(tiny.make_study("inception_dw"), storage), Heard(), PutOff(1)
    runner = Runner(search, 5, heard)
    first = runner.next("a")
    runner.ended(first.number, *evaluate(first.arch, 0, lambda event: True, None))
    assert heard.put_offs == [(first.number, "infer_throughput: between 1 and 9")]
    second = runner.next("a")
    assert second.number != first.number  # not in the same minute
    assert runner.next("b").number > second.number
    for number, candidate in ((second.number, second), (second.number + 1, first)):
        runner.ended(number, made_up(candidate.arch, 0, lambda event: True), {})
    run_here(runner, evaluate)
    assert [trial.number for trial in search.trials] == [0, 1, 2, 3, 4]
    assert {trial.state for trial in search.trials} == {"complete"}
    assert heard.ends[:2] == [second.number, second.number + 1]
    assert all("put_off" not in frozen.user_attrs for frozen in search.record.trials)


def test_a_speed_that_never_becomes_known_is_refused_and_keeps_the_rest(storage, monkeypatch):
    monkeypatch.setattr(runner_module, "PAUSE_S", 0.0)
    study = tiny.make_study("inception_dw", sampler="cost_aware")
    search, heard = search_of(study, storage), Heard()
    run_here(Runner(search, 2, heard), PutOff(99))
    assert [trial.state for trial in search.trials] == ["failed", "failed"]
    for trial in search.trials:
        assert trial.evaluation.error.startswith(
            "infer_throughput: between 1 and 9, timed 4 times; the machine is too busy"
        )
        assert "accuracy" in trial.evaluation.scores
    assert len(heard.put_offs) == 2 * (runner_module.TIMINGS - 1)
    again = search_of(study, storage)
    again.ask()  # the sampler reads them, and does not blame the architectures
    assert [row.failed for row in again.samplers.common.history.rows] == [False, False]
