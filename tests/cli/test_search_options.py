"""Samplers, constraints, seeds and early stopping from the command line."""

import argparse
import csv
import io
import json

import optuna
import pytest
import tiny
from command import FAST, refused, run
from optuna.trial import TrialState

from archsearch.cli.study import add_arguments, spec_of
from archsearch.complexity.parts import PartCounter
from archsearch.errors import OptionError
from archsearch.evaluate.constraint import parse_constraints
from archsearch.evaluate.costs import Costs, Limits, never
from archsearch.objectives import Tier
from archsearch.search.place import Place
from archsearch.search.reachable import check_reachable
from archsearch.search.spec import StudySpec
from archsearch.search.storage.opening import open_storage
from archsearch.search.warm_start import Start
from archsearch.space.locate import locate


def study(space, storage, *more):
    return ["study", "--space", space, "--objective", "accuracy,macs", "--storage", storage, "--study-name", "s",
            *FAST, *more]  # fmt: skip


def record(storage):
    return optuna.load_study(study_name="s", storage=open_storage(str(storage), create=False))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--constraint", "macs < 1e9"], "write it as 'macs <= 1.5e9'"),
        (["--constraint", "marcs <= 1e9"], "did you mean 'macs'"),
        (["--constraint", "accuracy >= 0.5"], "known only after training"),
        (["--constraint", "peak_memory_mb <= 100"], "leave it out on cpu"),
        (["--constraint", "macs <= 1e6"], "the nearest of 948 misses macs <= 1000000 by"),
        (["--constraint", "params <= 0.01 * baseline"], "misses params <= 0.01 * baseline by"),
        (
            ["--constraint", "macs <= 2.5G", "--constraint", "params >= 2 * baseline"],
            "keeps --constraint together: the nearest of 948 misses params >= 2 * baseline",
        ),
        (["--sampler", "cmaes"], "takes numbers and one objective alone; use nsga2, tpe or cost_aware"),
        (["--seeds", "0"], "at least 1"),
        (["--stopping-level", "2"], "'2' is not a probability of at least 0.5 and below 1"),
        (["--stopping-level", "1"], "below 1"),
        (["--stopping-level", "0.2"], "at least 0.5"),
        (["--stopping-level", "nan"], "'nan' is not a probability"),
        (["--stopping-level", "high"], "'high' is not a probability"),
        (["--stopping-level", "0.9", "--no-early-stopping"], "not allowed with argument"),
        (
            ["--objective", "train_throughput,macs", "--set", "bench.mode=onnxruntime"],
            "mode onnxruntime has no training step; time infer or latency, or choose another mode",
        ),
        (["--set", "bench.form=fused"], "unknown form 'fused' (known: train, deploy)"),
        (["--seeds", "2", "--objective", "macs,params"], "nothing is trained for macs,params; leave it out"),
    ],
)
def test_wrong_options_are_refused(capsys, tmp_path, monkeypatch, options, complaint):
    monkeypatch.chdir(tmp_path)
    words = ["study", "--space", "inception_dw", "--device", "cpu", "--objective", "accuracy,macs", *FAST, *options]
    assert complaint in refused(capsys, tmp_path, *words)


NARROW = ["macs <= 0.76 * baseline", "params >= 1.16 * baseline"]


def reachable(space, texts, starts=()):
    """The check alone, as `study` makes it; what it counted, and what it offers to start from."""
    made, counted, counter = tiny.make_study(space, constraints=parse_constraints(texts)), [], PartCounter()

    def count(arch):
        counted.append(arch)
        return counter(arch)

    place = Place("cpu", "a CPU")
    offered = check_reachable(made, count, place, starts, (), lambda text: None, {})
    return counted, [made.space.arch(start.params) for start in offered]


def test_a_few_architectures_among_thousands_are_enough():
    """Of macro's 8,748 points 23 keep both bounds, and none of a thousand random ones."""
    space = tiny.shipped_space("macro")
    bounds, count = Limits(parse_constraints(NARROW), space.baseline, never), PartCounter()
    found, offered = reachable("macro", NARROW)

    def keeps(arch):
        return all(share <= 0 for share in bounds.excess(Costs(dict(count(arch))), Tier.COUNTED).values())

    assert not any(keeps(arch) for arch in found[:500])
    assert keeps(found[-1])
    assert offered == [found[-1]], "a sampler would hardly come upon it"


def test_in_a_space_too_large_to_visit_the_nearest_are_changed_axis_by_axis():
    """None of the thousand that are drawn keeps these bounds."""
    with pytest.raises(OptionError, match="the nearest of"):
        reachable("metanext", ["macs <= 0.1685 * baseline"])
    found, offered = reachable("metanext", ["macs <= 0.2814 * baseline", "params >= 0.3883 * baseline"])
    assert len(found) > 1000
    assert len(offered) == 1


def test_what_a_study_starts_from_may_be_all_that_keeps_a_constraint():
    space = tiny.shipped_space("metanext")
    start = Start(locate(space, space.baseline), "the baseline")
    exactly = ["macs <= baseline", "macs >= baseline", "params <= baseline", "params >= baseline"]
    assert reachable("metanext", exactly, [start])[1] == []


def test_a_study_that_has_begun_is_not_checked_again(capsys, tmp_path, monkeypatch):
    checked = []
    monkeypatch.setattr("archsearch.search.execute.check_reachable", lambda *args: checked.append(args) or [])
    words = study("inception_dw", tmp_path / "s.db", "--objective", "macs,params", "--constraint", "macs <= baseline")
    for n_trials in (1, 2):
        assert run(capsys, *words, "--n-trials", n_trials)[0] == 0
    assert len(record(tmp_path / "s.db").trials) == 2
    assert len(checked) == 1


def test_a_grid_of_too_many_is_refused(capsys, tmp_path):
    complaint = refused(capsys, tmp_path, "study", "--space", "metanext", "--sampler", "grid", *FAST)
    assert "space metanext has 420,480 points; use qmc" in complaint


def test_a_speed_that_none_has_is_found_out_by_timing_a_few(capsys, tmp_path, small_space, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = study(small_space, tmp_path / "s.db", "--constraint", "infer_throughput >= 1e12")
    code, out, err = run(capsys, *words)
    assert code == 2
    assert out == ""
    assert "misses infer_throughput >= 1000000000000 by 100%; relax it, or widen the space" in err
    assert not (tmp_path / "s.db").exists()


def test_what_breaks_a_constraint_is_not_trained_and_on_no_front(capsys, tmp_path, small_space):
    storage = tmp_path / "s.db"
    words = study(
        small_space, storage, "--sampler", "random", "--n-trials", "8", "--constraint", "macs <= 0.8 * baseline"
    )
    code, out, err = run(capsys, *words, "-f", "json")
    assert code == 0, err
    trials = record(storage).trials
    broken = [t for t in trials if t.constraints["macs <= 0.8 * baseline"] > 0]
    assert 0 < len(broken) < len(trials) == 8
    assert all(t.state == TrialState.COMPLETE and "curve" not in t.user_attrs for t in broken)
    assert all("curve" in t.user_attrs for t in trials if t not in broken)
    front = {row["number"] for row in json.loads(out)}
    assert front
    assert front.isdisjoint(t.number for t in broken)
    assert front == {t.number for t in record(storage).best_trials}
    _, told, _ = run(capsys, "pareto", "s", "--storage", storage, "-f", "csv")
    assert {int(row["number"]) for row in csv.DictReader(io.StringIO(told))} == front
    page = (tmp_path / "s.html").read_text()
    assert "excess.macs " in page


def test_a_share_of_the_baselines_speed_is_measured_before_training(capsys, tmp_path, small_space, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    storage = tmp_path / "s.db"
    words = study(small_space, storage, "--n-trials", "3", "--constraint", "infer_throughput >= 0.01 * baseline")
    code, _, err = run(capsys, *words)
    assert code == 0, err
    for trial in record(storage).trials:
        assert trial.constraints["infer_throughput >= 0.01 * baseline"] < 0
        assert trial.user_attrs["scores"]["infer_throughput"] > 0
        assert len(trial.values) == 2


def test_candidates_near_the_front_get_more_seeds(capsys, tmp_path, small_space):
    storage = tmp_path / "s.db"
    words = study(small_space, storage, "--n-trials", "8", "--seeds", "3", "--sampler", "random")
    code, out, err = run(capsys, *words, "-f", "csv")
    assert code == 0, err
    seeds = [trial.user_attrs["details"]["accuracy"]["seeds"] for trial in record(storage).trials]
    assert seeds[0] == [0, 1, 2]  # nobody knew yet how much seeds differ, or the front
    assert all(found == list(range(len(found))) for found in seeds)
    for trial in record(storage).trials:
        detail = trial.user_attrs["details"]["accuracy"]
        assert trial.values[0] == pytest.approx(sum(detail["values"]) / len(detail["values"]))
    rows = list(csv.DictReader(io.StringIO(out)))
    assert all(0 < float(row["front_probability"]) <= 1 for row in rows)
    assert all(float(row["accuracy.low"]) < float(row["accuracy"]) < float(row["accuracy.high"]) for row in rows)


def test_a_grid_takes_every_architecture_once(capsys, tmp_path, small_space):
    storage = tmp_path / "s.db"
    code, _, err = run(capsys, *study(small_space, storage, "--sampler", "grid"))
    assert code == 0, err
    keys = [trial.user_attrs["arch_key"] for trial in record(storage).trials]
    assert len(keys) == len(set(keys)) == 10


def test_a_study_of_infeasible_candidates_alone_says_so(capsys, tmp_path, small_space, monkeypatch):
    """Where none of those that were drawn keeps what some would."""
    monkeypatch.setattr("archsearch.search.execute.check_reachable", lambda *args: [])
    bound = ["--constraint", "macs <= 1"]
    words = study(small_space, tmp_path / "s.db", "--n-trials", "2", "--sampler", "random", *bound)
    code, _, err = run(capsys, *words)
    assert code == 1
    assert "all 2 trials are infeasible: the nearest misses macs <= 1 by" in err
    assert (tmp_path / "s.html").exists()
    code, _, err = run(capsys, *study(small_space, tmp_path / "t.db", *bound))
    assert code == 1
    assert "no architecture was found that keeps the constraints" in err


def test_a_study_goes_on_with_its_sampler_and_constraints_in_any_order(capsys, tmp_path, small_space):
    """As from before there was another default."""
    bounds = ["--constraint", "macs <= 2 * baseline", "--constraint", "params <= 2 * baseline"]
    storage = tmp_path / "s.db"
    assert run(capsys, *study(small_space, storage, "--n-trials", "2", "--sampler", "nsga2", *bounds))[0] == 0
    code, _, err = run(capsys, *study(small_space, storage, "--n-trials", "3", *bounds[2:], *bounds[:2]))
    assert code == 0, err
    assert len(record(storage).trials) == 3
    assert record(storage).user_attrs["archsearch"]["sampler"] == "nsga2"


def test_early_stopping_may_be_left_out_from_run_to_run(capsys, tmp_path, small_space):
    storage = tmp_path / "s.db"
    quick = ["--sampler", "random", "--set", "proxy.epochs=2"]
    more = ["--n-trials", "2", "--no-early-stopping"]
    assert run(capsys, *study(small_space, storage, *quick, *more))[0] == 0
    code, _, err = run(capsys, *study(small_space, storage, "--n-trials", "3", *quick))
    assert code == 0, err
    code, _, err = run(capsys, *study(small_space, storage, "--n-trials", "4", "--stopping-level", "0.6", *quick))
    assert code == 0, err


@pytest.mark.parametrize("level", [2, 1.0, 0.49, float("nan"), -1])
def test_a_wrong_level_is_refused_from_python_too(level):
    with pytest.raises(OptionError, match="but must be at least"):
        StudySpec("inception_dw", stopping_level=level)


def test_the_command_line_stops_at_the_level_of_the_library():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["--space", "inception_dw"]
    assert parser.parse_args(words).stopping_level == StudySpec("inception_dw").stopping_level
    assert spec_of(parser.parse_args([*words, "--stopping-level", "0.8"])).stopping_level == 0.8
