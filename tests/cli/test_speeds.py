"""Speeds of another machine from the command line: a study here, its networks timed there, its front with those."""

import dataclasses
import json

import pytest
from command import FAST, refused, run
from elsewhere import rows, write
from tiny import RECIPE, trial
from views import view

from archsearch.arch.networks import network
from archsearch.cli.report import timed_elsewhere

QUICK = ["--rounds", "2", "--set", "bench.min_block_s=0.001", "bench.warmup_limit_s=0.01", "-q"]
THERE = "Toy Board"


@pytest.fixture
def stored(tmp_path, small_space):
    return ["--storage", tmp_path / "s.db"]


def study(capsys, small_space, stored, objectives, *more):
    words = ["--proxy", "smoke", "--set", "proxy.train_samples=64", "--workers", "0", "--device", "cpu"]
    return run(capsys, "study", "--space", small_space, "--objective", objectives, *words, *stored, *more)


def timed_there(capsys, file, stored, *models):
    """Time networks of the study as the other machine does, and let the results say that it was one."""
    conditions = ["--bench", "infer", "--img-size", "64", "-b", "1", "--reference", "inceptionnext_atto", *QUICK]
    code, _, err = run(capsys, "benchmark", *models, *conditions, *stored, "--results-file", file)
    assert code == 0, err
    rows = json.loads(file.read_text())
    file.write_text(json.dumps([{**row, "env_device_name": THERE, "env_host": "board"} for row in rows]))
    return {row["key"]: row for row in rows if row["infer_best"]}


@pytest.mark.slow
def test_from_a_study_here_to_a_front_and_a_study_of_another_machine(capsys, tmp_path, small_space, stored):
    code, _, err = study(capsys, small_space, stored, "accuracy,macs", "--n-trials", "4", "-q")
    assert code == 0, err
    name, file = "small-accuracy-macs-drawn", tmp_path / "f.json"
    speeds = timed_there(capsys, file, stored, *(f"study:{name}#{number}" for number in (0, 1, 3)))
    assert len(speeds) == 3

    code, out, err = run(capsys, "pareto", name, "--all", "--speeds", file, "-f", "json", *stored)
    assert code == 0, err
    rows = json.loads(out)
    assert [row["number"] for row in rows] == [0, 1, 3]
    assert {row["speeds"] for row in rows} == {THERE}
    by_speed = sorted(row["infer_throughput"] for row in rows)
    assert by_speed == pytest.approx(sorted(row["infer_samples_per_sec"] for row in speeds.values()))
    assert err.count("\n") == 1
    assert f"no speed of trials 2 of study {name}" in err
    assert f"`benchmark study:{name}#2 --results-file FILE.json`" in err

    code, out, _ = run(capsys, "pareto", name, "--speeds", file, *stored)
    assert f"target infer (img/s on {THERE})" in out.splitlines()[0]

    code, out, err = run(capsys, "report", name, "--speeds", file, "-o", tmp_path / "r.html", *stored)
    assert code == 0, err
    assert f"inference throughput on {THERE}" in (tmp_path / "r.html").read_text()

    code, out, err = study(capsys, small_space, stored, "accuracy,latency_ms", "--speeds", file)
    assert code == 0, err
    assert "candidates are the 3 architectures of space small" in err
    assert f"latency at batch 1 (ms on {THERE})" in err
    assert f"latency at batch 1 (ms on {THERE})" in out.splitlines()[0]
    assert "study small-accuracy-latency_ms-drawn-on-toy-board: 3 trials" in err


def test_what_a_file_does_not_tell_of_a_study_is_said_in_a_line_each(capsys, tmp_path):
    archs = [network("inceptionnext_atto"), network("convnext_atto")]
    changed = [{**row, "model": "mine", "key": "0123456789ab"} for row in rows(archs[1:])]
    file = write(tmp_path / "f.json", rows(archs[:1]), changed)
    spared = trial(1, 0.5, 1e9, 20)
    scores = {name: score for name, score in spared.evaluation.scores.items() if name != "accuracy"}
    evaluation = dataclasses.replace(spared.evaluation, scores=scores, excess={"infer_throughput >= 40": 0.5})
    known = [trial(0, 0.5, 1e9, 100), dataclasses.replace(spared, state="infeasible", evaluation=evaluation)]
    known.append(dataclasses.replace(trial(2, 0.5, 1e9, 100), arch=archs[1]))
    recipe = {**RECIPE, "constraints": ["energy_mj <= 3", "infer_throughput >= 40"]}
    (shown,) = timed_elsewhere([view(known, recipe=recipe)], str(file))
    assert [one.number for one in shown.trials] == [0]
    out, err = capsys.readouterr()
    unknown, unseen, untrained, unjudged = err.splitlines()
    assert out == ""
    assert "f.json has networks that are not known here and left out: mine (" in unknown
    assert "f.json has no speed of trials 2 of study small" in unseen
    assert "kept trials 1 of study small from training" in untrained
    assert unjudged.endswith("f.json does not tell whether study small keeps energy_mj <= 3, which is left out")


def test_wrong_uses_are_refused(capsys, tmp_path, small_space, stored):
    code, _, err = run(capsys, "study", "--space", small_space, "--objective", "macs", *FAST, *stored)
    assert code == 0, err
    other = tmp_path / "other.json"
    other.write_text('[{"name": "x"}]')
    name, speeds = "small-macs-drawn", ("--speeds", other)
    assert "not a list of timed networks" in refused(capsys, tmp_path, "pareto", name, *speeds, *stored)
    assert "not a list of timed networks" in refused(capsys, tmp_path, "report", name, *speeds, *stored)
    words = ["study", "--space", small_space, "--objective", "macs,latency_ms", *stored]
    assert "not a list of timed networks" in refused(capsys, tmp_path, *words, *speeds)
    assert "cannot read" in refused(capsys, tmp_path, *words, "--speeds", tmp_path / "none.json")
    assert "leave out --bench" in refused(capsys, tmp_path, *words, *speeds, "--bench", "smoke")
