"""The table that samplers are compared on, and what the README says of the comparison."""

import importlib.util
import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from archsearch.complexity.parts import PartCounter
from archsearch.space.yaml import load_space
from archsearch.utils.package_data import shipped

ROOT = Path(__file__).parents[1]


def load(name, monkeypatch):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tabular():
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield load("tabular", monkeypatch)


@pytest.fixture(scope="module")
def stopping(tabular):
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield load("stopping", monkeypatch)


def test_the_table_knows_every_architecture_of_its_space(tabular):
    table, space = tabular.Table.read(), load_space(str(tabular.SPACE), shipped("search_spaces"))
    archs = {arch.key: arch for arch in map(space.arch, space.grid())}
    assert table.rows.keys() == archs.keys()
    assert len(archs) >= 300
    count = PartCounter()
    for key, row in table.rows.items():
        assert row["scores"] == count(archs[key])
        assert len(row["curve"]) == table.epochs
        assert all(seconds > 0 for _, _, seconds in row["curve"])


def test_the_readme_says_what_the_comparison_found(tabular):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    whole = json.loads(tabular.RESULTS.read_text(encoding="utf-8"))
    rows = tabular.markdown(whole)
    assert "\n".join(rows) in readme
    names = {name for name, *_ in tabular.runs(())}
    assert whole["runs"].keys() == names
    assert {run["seeds"] for name, run in whole["runs"].items() if not name.startswith("gp")} == {20}


def test_a_comparison_runs_and_spends_its_budget(tabular, tmp_path, capsys):
    results = tmp_path / "results.json"
    only = ["optuna nsga2", "random", "random + early stopping", "cost_aware"]
    tabular.run(Namespace(seeds=2, budget=20, only=only, table=tabular.TABLE, results=results))
    found = json.loads(results.read_text(encoding="utf-8"))["runs"]
    assert set(found) == set(only)
    for run in found.values():
        low, median, high = run["quartiles"]
        assert median == sorted(median), "hypervolume never shrinks"
        assert all(a <= b <= c for a, b, c in zip(low, median, high, strict=True))
        assert 0.5 < median[-1] <= 1.0
    assert found["random"]["pruned"] == 0 < found["random + early stopping"]["pruned"]
    assert found["random + early stopping"]["trials"] > found["random"]["trials"] > 15
    told = capsys.readouterr().out.splitlines()
    assert told[-6].startswith("| search |")
    assert {line.split(" | ")[0] for line in told[-4:]} == {f"| {name} (2 seeds)" for name in only}


def test_all_of_the_table_has_all_of_its_hypervolume(tabular):
    table, space = tabular.Table.read(), load_space(str(tabular.SPACE), shipped("search_spaces"))
    score = tabular.Score(table, space, 1e9)
    trials = [table.trial(number, space.arch(params)) for number, params in enumerate(space.grid())]
    assert score.trace(trials)[-1] == pytest.approx(1.0)
    assert score.trace(trials[:1])[-1] < 1.0


def test_simulated_curves_end_near_a_truth_of_their_own(stopping):
    """Ends correlate with the truth as trained ones may, beginnings less, and another seed is another land."""
    here, there = stopping.land("simulated", 0), stopping.land("simulated", 1)
    truth = [here.truth[key] for key in here.truth]
    curves = np.array([[a for _, a, _ in here.table.rows[key]["curve"]] for key in here.truth])
    first, last = (np.corrcoef(curves[:, epoch], truth)[0, 1] for epoch in (0, -1))
    assert first < 0.5
    assert 0.7 < last < 0.95
    assert here.truth != there.truth
    assert [row["scores"] for row in here.table.rows.values()] == [row["scores"] for row in there.table.rows.values()]
    assert here.confirmed(here._whole.front) == pytest.approx(1.0)


def test_stopping_rules_are_compared_at_equal_costs(stopping):
    table = stopping.land("table", 0)
    none, own = (stopping.outcome(table, rule, "random", 0, [5, 20]) for rule in ("none", "model:0.8"))
    assert none.saved == none.lost == 0
    assert own.saved > 0.1
    assert none.confirmed[0] == own.confirmed[0], "too few trials to prune any"
    assert 0 < none.confirmed[0] <= none.confirmed[1] <= 1
