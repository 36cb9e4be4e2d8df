"""Nothing is trained or timed twice in a storage, whoever knows it."""

import dataclasses
import time

import optuna
import pytest
import tiny
import worker_tasks
from sqlalchemy.exc import OperationalError

from archsearch.errors import ArchsearchError
from archsearch.objectives import parse_objectives
from archsearch.search.definition import create_or_resume
from archsearch.search.engines.runner import ProgressListener, Runner, run_here
from archsearch.search.search import Search
from archsearch.search.storage import reuse as module
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.storage.opening import open_storage
from archsearch.search.storage.records import trials_of
from archsearch.search.storage.reuse import ResultReuse
from archsearch.trial import Epoch, Evaluation

RAY = pytest.param("ray", marks=pytest.mark.ray)
both_storages = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)

VERSIONS = {"torch": "2.0", "cuda": "13.0", "cudnn": "90000"}


class Counting:
    """An evaluation that notes who was trained and who was timed, and leaves out what is known."""

    def __init__(self, spoil=None, versions=None):
        self.trained, self.timed, self.spoil = [], [], spoil or (lambda arch, done: done)
        self.versions = versions or VERSIONS

    def __call__(self, arch, seed, report, known=None):
        known = known or Evaluation()
        scores, details, curve = dict(known.scores), dict(known.details), known.curve
        size = float(sum(arch.dims) * sum(arch.depths))
        scores |= {"macs": size, "params": size / 2}
        if "infer_throughput" not in scores:
            self.timed.append(arch.key)
            scores["infer_throughput"] = 1e6 / size
            details["infer_throughput"] = {"batch_size": 1, "img_size": 64, "conditions": {"warnings": []}}
        if "accuracy" not in scores:
            self.trained.append(arch.key)
            curve = (Epoch(1, 1.0, (size % 97) / 97, 0.1),)
            scores["accuracy"] = curve[-1].accuracy
        done = Evaluation(scores, details, curve, {"train": 1.0}, reused=dict(known.reused))
        return self.spoil(arch, done), {"device": "test", "host": "first", **self.versions}


def search_of(study, url):
    storage = open_storage(url, create=True) if isinstance(url, str) else url
    return Search(study, StorageMirror(create_or_resume(study, storage)))


def go(study, url, n_trials, evaluate, versions=VERSIONS, **options):
    search = search_of(study, url)
    run_here(
        Runner(search, n_trials, ProgressListener(), reuse=ResultReuse(study, search.mirror, versions, **options)),
        evaluate,
    )
    return search.trials


@pytest.fixture
def study(small_space):
    return tiny.make_study(small_space, name="a", sampler="random")


def other(study, **changes):
    return dataclasses.replace(study, **{"name": "b", "sampler": "nsga2", **changes})


@both_storages
def test_a_second_study_of_a_storage_trains_and_times_nothing(database, study):
    url, work = database(), Counting()
    first = go(study, url, 1000, work)
    assert len(work.trained) == len(work.timed) == len(first) == study.space.distinct()
    second = go(other(study), url, 1000, Counting(lambda arch, done: pytest.fail("nothing was left to do")))
    numbers = {trial.arch.key: trial for trial in first}
    assert {trial.arch.key for trial in second} == {*numbers}
    for trial in second:
        its = numbers[trial.arch.key]
        assert trial.evaluation.scores == its.evaluation.scores
        assert trial.evaluation.curve == its.evaluation.curve
        assert trial.evaluation.details == its.evaluation.details
        assert trial.evaluation.seconds == {}, "nobody spent time on it here"
        assert trial.environment == its.environment
        assert trial.evaluation.reused == {"accuracy": f"a#{its.number}", "infer_throughput": f"a#{its.number}"}
    record = optuna.load_study(study_name="b", storage=open_storage(url, create=False))
    assert trials_of(record) == second
    assert record.trials[0].user_attrs["reused"] == second[0].evaluation.reused
    third = go(other(study, name="c"), url, 3, Counting(lambda arch, done: pytest.fail("nothing was left to do")))
    assert all(origin.startswith("a#") for trial in third for origin in trial.evaluation.reused.values())


@pytest.mark.parametrize(
    ("changes", "trained", "timed"),
    [
        ({"bench": dataclasses.replace(tiny.BENCH, batch_size=2)}, False, True),
        ({"bench": dataclasses.replace(tiny.BENCH, form="deploy")}, False, True),
        ({"seed": 1}, True, False),
        ({"proxy": dataclasses.replace(tiny.PROXY, lr=1e-3)}, True, False),
        ({"data": {"name": "drawn", "fingerprint": "g"}}, True, False),
        ({"data": {"name": "other", "fingerprint": "f"}}, True, False),
        ({"device": "another machine"}, True, True),
        ({"objectives": parse_objectives("infer_throughput,macs")}, False, False),
        ({"objectives": parse_objectives("accuracy,params")}, False, False),
    ],
)
def test_only_what_depends_on_the_same_is_taken_over(study, tmp_path, changes, trained, timed):
    url = str(tmp_path / "s.db")
    go(study, url, 1000, Counting())
    work = Counting()
    found = go(other(study, **changes), url, 4, work)
    assert len(found) == 4
    assert (len(work.trained), len(work.timed)) == (4 * trained, 4 * timed)
    wanted = {o.name for o in changes.get("objectives", study.objectives)} & {"accuracy", "infer_throughput"}
    known = wanted - ({"accuracy"} if trained else set()) - ({"infer_throughput"} if timed else set())
    assert all(set(trial.evaluation.reused) == known for trial in found)


def test_another_trainer_trains_again(study, tmp_path, monkeypatch):
    url, work = str(tmp_path / "s.db"), Counting()
    go(study, url, 1000, Counting())
    monkeypatch.setattr("archsearch.search.definition.TRAINER", 10**6)
    go(other(study), url, 3, work)
    assert (len(work.trained), len(work.timed)) == (3, 0)


@pytest.mark.parametrize(("options", "trained", "timed"), [({"trainings": False}, 3, 0), ({"timings": False}, 0, 3)])
def test_what_is_to_be_done_again_is(study, tmp_path, options, trained, timed):
    url, work = str(tmp_path / "s.db"), Counting()
    go(study, url, 1000, Counting())
    go(other(study), url, 3, work, **options)
    assert (len(work.trained), len(work.timed)) == (trained, timed)


@pytest.mark.parametrize("name", VERSIONS)
def test_a_timing_with_other_versions_is_made_anew(study, tmp_path, name):
    url, later, work = str(tmp_path / "s.db"), VERSIONS | {name: "9"}, Counting()
    go(study, url, 1000, Counting())
    again = Counting(versions=later)
    found = go(other(study), url, 3, again, later)
    assert (len(again.trained), len(again.timed)) == (0, 3)
    assert all(set(trial.evaluation.reused) == {"accuracy"} for trial in found)
    go(other(study, name="c"), url, 3, work, VERSIONS)
    assert (len(work.trained), len(work.timed)) == (0, 0), "those of the first study serve"


def test_a_timing_that_was_reused_does_not_pass_for_one_of_another_version(study, tmp_path):
    """A trial's environment is that of its training; its timing may be a later version's."""
    url, later = str(tmp_path / "s.db"), VERSIONS | {"torch": "3.0"}
    only = [
        dataclasses.replace(study, objectives=parse_objectives(names)) for names in ("accuracy", "infer_throughput")
    ]

    def bare(arch, done):
        return dataclasses.replace(done, scores={"accuracy": done.scores["accuracy"]}, details={})

    go(only[0], url, 1000, Counting(bare))
    go(dataclasses.replace(only[1], name="timed"), url, 1000, Counting(versions=later), later)
    both = go(other(study), url, 3, Counting(lambda arch, done: pytest.fail("nothing was left to do")), later)
    assert {trial.environment["torch"] for trial in both} == {"2.0"}
    work = Counting()
    go(other(study, name="c"), url, 3, work)
    assert (len(work.trained), len(work.timed)) == (0, 3)


def spoilt(how):
    """Every other candidate ends otherwise."""

    def spoil(arch, done):
        scores = {name: value for name, value in done.scores.items() if name != "accuracy"}
        if int(arch.key, 16) % 2:
            return done
        if how == "disturbed":
            details = {
                "infer_throughput": {"batch_size": 1, "img_size": 64, "conditions": {"warnings": ["a neighbour"]}}
            }
            return dataclasses.replace(done, details=details)
        ends = {"pruned": {"pruned": True}, "failed": {"error": "diverged: nan"}}[how]
        return dataclasses.replace(done, scores=scores, **ends)

    return spoil


@pytest.mark.parametrize(("how", "again"), [("pruned", "trained"), ("failed", "trained"), ("disturbed", "timed")])
def test_of_an_unfinished_trial_only_what_is_whole_is_taken_over(study, tmp_path, how, again):
    url, work = str(tmp_path / "s.db"), Counting()
    first = go(study, url, 1000, Counting(spoilt(how)))
    bad = {trial.arch.key for trial in first if not int(trial.arch.key, 16) % 2}
    assert 0 < len(bad) < len(first)
    found = go(other(study), url, 1000, work)
    assert set(getattr(work, again)) == bad
    assert getattr(work, "timed" if again == "trained" else "trained") == []
    assert {trial.state for trial in found} == {"complete"}


def test_trials_that_end_later_are_found_and_those_that_run_are_not(study, tmp_path):
    url, work = str(tmp_path / "s.db"), Counting()
    search = search_of(other(study), url)
    reuse = ResultReuse(search.study, search.mirror, VERSIONS)
    first = search_of(study, url)
    candidate = first.ask()
    assert reuse.known(candidate.arch, candidate.seed) is None
    first.tell(candidate, *work(candidate.arch, candidate.seed, None))
    found = reuse.known(candidate.arch, candidate.seed)
    assert found.whole
    assert found.evaluation.reused == {"accuracy": "a#0", "infer_throughput": "a#0"}
    assert reuse.known(candidate.arch, candidate.seed + 1).evaluation.reused == {"infer_throughput": "a#0"}
    optuna.delete_study(study_name="a", storage=open_storage(url, create=False))
    assert reuse.known(candidate.arch, candidate.seed) is None


def test_a_storage_without_sql_serves_too(study):
    storage, work = optuna.storages.InMemoryStorage(), Counting()
    go(study, storage, 1000, work)
    done = len(work.trained)
    found = go(other(study), storage, 5, work)
    assert len(work.trained) == len(work.timed) == done
    assert [trial.evaluation.reused["accuracy"][:2] for trial in found] == ["a#"] * 5


def test_a_score_that_is_known_elsewhere_needs_no_counted_ones(study, tmp_path):
    """An ablation's trials have accuracies alone: the worker counts and times, and trains nothing."""
    url, work = str(tmp_path / "s.db"), Counting()

    def bare(arch, done):
        return dataclasses.replace(done, scores={"accuracy": done.scores["accuracy"]}, details={})

    only = dataclasses.replace(study, objectives=parse_objectives("accuracy"))
    go(only, url, 1000, Counting(bare))
    found = go(other(study), url, 3, work)
    assert (work.trained, len(work.timed)) == ([], 3)
    assert all({"macs", "params"} <= set(trial.evaluation.scores) for trial in found)


class Notes(ProgressListener):
    def __init__(self):
        self.starts = []

    def started(self, candidate, worker):
        self.starts.append(candidate)


@pytest.mark.parametrize("engine", ["here", "local", RAY], indirect=True)
def test_every_engine_sends_what_is_known_along(engine, study, tmp_path):
    url = str(tmp_path / "s.db")
    go(study, url, 1000, Counting())
    again, listener = other(study, bench=dataclasses.replace(tiny.BENCH, batch_size=2)), Notes()
    search = search_of(again, url)
    engine(Runner(search, 4, listener, reuse=ResultReuse(again, search.mirror, VERSIONS)), worker_tasks.make_knowing, 2)
    assert len(listener.starts) == 4
    assert all(candidate.known.reused for candidate in listener.starts)
    for trial in search.trials:
        assert trial.evaluation.reused == {"accuracy": trial.evaluation.reused["accuracy"]}
        assert trial.evaluation.scores["infer_throughput"] == -1.0, "only what was not known was found out"


@pytest.mark.parametrize("engine", ["local", RAY], indirect=True)
def test_what_is_known_of_a_candidate_outlasts_its_worker(engine, study, tmp_path):
    """It is known again when the candidate runs again, and kept where it fails for good."""
    url = str(tmp_path / "s.db")
    go(study, url, 1000, Counting())
    again = other(study, bench=dataclasses.replace(tiny.BENCH, batch_size=2))
    search = search_of(again, url)
    make = worker_tasks.Dangerous("kill", tmp_path, every=1, always=True)
    engine(Runner(search, 1, ProgressListener(), reuse=ResultReuse(again, search.mirror, VERSIONS)), make, 1)
    (trial,) = search.trials
    assert trial.state == "failed"
    assert trial.evaluation.scores["accuracy"] > 0
    assert set(trial.evaluation.reused) == {"accuracy"}


def seeded(study, url, name, first, values):
    """A study of which every trial has these accuracies, by seed from the first."""
    study = dataclasses.replace(study, name=name, seed=first, seeds=len(values))

    def spoil(arch, done):
        several = dict(enumerate(values, first)) if len(values) > 1 else {}
        scores = done.scores | {"accuracy": sum(values) / len(values)}
        return dataclasses.replace(done, scores=scores, accuracies=several)

    go(study, url, 1000, Counting(spoil))


def known_of(study, url):
    search = search_of(study, url)
    candidate = search.ask()
    return ResultReuse(study, search.mirror, VERSIONS).known(candidate.arch, candidate.seed).evaluation


def test_seeds_are_gathered_from_all_studies(study, tmp_path):
    url = str(tmp_path / "s.db")
    seeded(study, url, "one", 0, [0.5])
    seeded(study, url, "two", 1, [0.6])
    seeded(study, url, "three", 2, [0.7, 0.8])
    found = known_of(other(study, seeds=4), url)
    assert found.accuracies == {0: 0.5, 1: 0.6, 2: 0.7, 3: 0.8}
    assert found.scores["accuracy"] == pytest.approx(0.65)
    assert [origin.split("#")[0] for origin in found.reused["accuracy"].split(", ")] == ["one", "two", "three"]
    assert found.curve
    second = known_of(other(study, name="c", seed=3), url)  # which was but a further seed there
    assert second.scores["accuracy"] == 0.8
    assert second.curve == ()
    later = known_of(other(study, name="d", seed=-1, seeds=3), url)
    assert "accuracy" not in later.scores, "further seeds are wanted only when the first one is known"


@pytest.mark.parametrize("engine", ["local"], indirect=True)
def test_what_others_know_does_not_end_a_candidate_whose_worker_is_gone(engine, study, tmp_path):
    """Its seeds are known, but nobody has timed it, or held it against the constraints."""
    url = str(tmp_path / "s.db")
    seeded(study, url, "a", 0, [0.5, 0.6])
    again = other(study, seeds=2, bench=dataclasses.replace(tiny.BENCH, batch_size=2))
    search = search_of(again, url)
    make = worker_tasks.Dangerous("kill", tmp_path, every=1, always=True)
    engine(Runner(search, 1, ProgressListener(), reuse=ResultReuse(again, search.mirror, VERSIONS)), make, 1)
    (trial,) = search.trials
    assert trial.state == "failed"
    assert trial.evaluation.scores["accuracy"] == pytest.approx(0.55)


@pytest.mark.serial
def test_looking_costs_little_among_ten_thousand_trials(study, tmp_path):
    url = str(tmp_path / "s.db")
    storage = open_storage(url, create=True)
    go(study, storage, 3, Counting())
    record = optuna.load_study(study_name="a", storage=storage)
    template, models = record.trials[0], optuna.storages._rdb.models
    with getattr(storage, "_backend", storage).scoped_session() as session:  # one by one would take minutes
        trials = [
            models.TrialModel(number=n, study_id=record._study_id, state=template.state) for n in range(3, 10_003)
        ]
        session.add_all(trials)
        session.flush()
        rows = [
            {"trial_id": trial.trial_id, "key": key, "value_json": value}
            for trial in trials
            for key, value in (("arch_key", f'"{trial.number:012x}"'), ("curve", '"' + "x" * 2000 + '"'))
        ]
        session.bulk_insert_mappings(models.TrialUserAttributeModel, rows)
        session.commit()
    search = search_of(other(study), storage)
    reuse = ResultReuse(search.study, search.mirror, VERSIONS)
    arch = search.study.space.arch(template.user_attrs["params"])
    assert reuse.known(arch, 0).whole
    start = time.perf_counter()
    for _ in range(20):
        assert reuse.known(arch, 0).whole
    assert (time.perf_counter() - start) / 20 < 0.05, "seconds; it reads what is new alone"


def test_a_storage_that_is_away_is_waited_for(study, tmp_path, monkeypatch):
    url = str(tmp_path / "s.db")
    go(study, url, 2, Counting())
    search = search_of(other(study), url)
    reuse = ResultReuse(search.study, search.mirror, VERSIONS)
    told, real, failures = [], module.attribute_rows, iter([True])

    def away(*args):
        if next(failures, False):
            raise OperationalError("select", {}, Exception("the server is starting up"))
        return real(*args)

    monkeypatch.setattr(module, "attribute_rows", away)
    monkeypatch.setattr("archsearch.search.storage.mirror.RETRY_S", 0.01)
    search.mirror.trouble = told.append
    candidate = search.ask()
    reuse.known(candidate.arch, candidate.seed)
    assert told == ["waiting for the storage: the server is starting up"]
    search.mirror.patience_s = 0.0
    failures = iter([True] * 1000)
    with pytest.raises(ArchsearchError, match="starting up"):
        reuse.known(candidate.arch, candidate.seed)
