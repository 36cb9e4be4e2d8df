import csv
from pathlib import Path

import pytest
from command import refused, run

PLAN = """\
space: small.yaml
archs: 6
seeds: 1
rungs:
  one: {epochs: 1, train_samples: 64, val_samples: 64, batch_size: 32}
reference: {epochs: 2, train_samples: 128, val_samples: 64, batch_size: 32, seeds: 2}
paper: {tables: [8], rungs: [one]}
"""
FACTS = ("network", "rung", "seed", "accuracy")


@pytest.fixture
def plan(tmp_path, small_space, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


@pytest.mark.slow
def test_a_plan_is_carried_out_once(plan, capsys, monkeypatch):
    code, out, err = run(capsys, "fidelity", plan, "--results-file", "r.csv", "--workers", 2, "-f", "csv")
    assert code == 0, err
    assert [row["score"] for row in csv.DictReader(out.splitlines())][:2] == ["one", "number of parameters"]
    rows = list(csv.DictReader(Path("r.csv").read_text().splitlines()))
    assert len(rows) == 6 + 12 + 11
    assert {row["rung"] for row in rows} == {"one", "reference"}
    assert all(float(row["accuracy"]) >= 0 and float(row["synflow"]) > 0 for row in rows if not row["table"])
    assert "[29/29] " in err

    code, again, err = run(capsys, "fidelity", plan, "--results-file", "r2.csv", "-q", "-f", "csv")
    assert (code, again, err) == (0, out, "")
    assert [[row[f] for f in FACTS] for row in csv.DictReader(Path("r2.csv").read_text().splitlines())] == [
        [row[f] for f in FACTS] for row in rows
    ]
    assert Path("r2.csv").read_text() == Path("r.csv").read_text()  # seconds too: nothing was trained again

    code, table, _ = run(capsys, "fidelity", "--from", "r.csv")
    assert code == 0
    assert "one against the paper's Table 8 (11 rows)" in table
    assert run(capsys, "fidelity", "--from", "r.csv", "-f", "csv")[1] == out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nosuch"], "unknown plan 'nosuch'"),
        (["--n-archs", "3"], "needs at least 6"),
        (["plan.yaml", "--n-archs", "200"], "space small has 10 architectures with stand-ins of their own"),
        (["--from", "none.csv"], "cannot read none.csv"),
        (["plan.yaml", "--from", "none.csv"], "leave the plan out"),
        (["--dataset", "folder"], "needs --data-root"),
        (["plan.yaml", "--results-file", "."], "cannot write it"),
        (["--device", "cuda:9"], "no device 'cuda:9' here"),
    ],
)
def test_wrong_commands(plan, capsys, tmp_path, words, says):
    assert says in refused(capsys, tmp_path, "fidelity", *words, "-q")
