import csv
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import refused, run

from archsearch.fidelity import PlanStarted, TrainingDone

PLAN = """\
space: small.yaml
proxy: smoke
archs: 6
seeds: 1
schedules:
  one: {epochs: 1, train_samples: 64, val_samples: 64, batch_size: 32}
reference: {epochs: 2, train_samples: 128, val_samples: 64, batch_size: 32, seeds: 2}
paper: {tables: [8], schedules: [one]}
"""
ROOT = Path(__file__).parents[2]
FACTS = ("network", "schedule", "seed", "accuracy")


@pytest.fixture
def plan(tmp_path, small_space, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    (tmp_path / "thin.yaml").write_text(PLAN.replace("epochs: 1,", "width: 1/64, width_step: 1,"))
    return path


@pytest.mark.slow
def test_a_plan_is_carried_out_once(plan, capsys, monkeypatch):
    code, out, err = run(capsys, "fidelity", plan, "--results-file", "r.csv", "--workers", 2, "-f", "csv")
    assert code == 0, err
    scores = list(csv.DictReader(out.splitlines()))
    assert [row["score"] for row in scores][:3] == ["one", "one, by loss", "number of parameters"]
    assert float(scores[0]["machine_seconds"]) == pytest.approx(float(scores[0]["seconds"]) / 2)
    rows = list(csv.DictReader(Path("r.csv").read_text().splitlines()))
    assert len(rows) == 6 + 12 + 11
    assert {row["schedule"] for row in rows} == {"one", "reference"}
    assert all(float(row["accuracy"]) >= 0 and float(row["synflow"]) > 0 for row in rows if not row["table"])
    assert "[29/29] " in err
    told = "space small, all schedules: Proxy maps of 16-8-4-2 are too small to judge band_kernel_size from 7 on"
    assert told in err
    assert told in run(capsys, "fidelity", plan, "-q")[1]

    text = Path("r.csv").read_text()
    code, again, err = run(capsys, "fidelity", plan, "--results-file", "r.csv", "-q", "-f", "csv")
    assert (code, again, err) == (0, out, "")
    assert Path("r.csv").read_text() == text  # seconds too: nothing was trained again
    code, again, err = run(capsys, "fidelity", plan, "--results-file", "r2.csv", "-q")
    assert (code, err) == (0, "")
    assert "the records do not say how many trained at a time" in again
    assert [[row[f] for f in FACTS] for row in csv.DictReader(Path("r2.csv").read_text().splitlines())] == [
        [row[f] for f in FACTS] for row in rows
    ]

    code, table, _ = run(capsys, "fidelity", "--from", "r.csv")
    assert code == 0
    assert "one (mean of seeds) against the paper's Table 8 (11 rows)" in table
    assert run(capsys, "fidelity", "--from", "r.csv", "-f", "csv")[1] == out

    two = "schedules:\n  one, two: {epochs: 1, train_samples: 96, val_samples: 64, batch_size: 32}\n"
    plan.write_text(PLAN.replace("schedules:\n", two))
    words = ("fidelity", plan, "--results-file", "r.csv", "--only", "one, two", "-q", "-f", "csv", "--workers", 2)
    code, out, err = run(capsys, *words)
    assert code == 0, err
    names = [row["score"] for row in csv.DictReader(out.splitlines())]
    assert names[:4] == ["one", "one, by loss", "one, two", "one, two, by loss"]
    after = list(csv.DictReader(Path("r.csv").read_text().splitlines()))
    assert len(after) == len(rows) + 6
    assert after[: len(rows)] == rows

    plan.write_text(PLAN.replace("epochs: 2,", "epochs: 3,"))
    said = refused(capsys, Path.cwd(), "fidelity", plan, "--results-file", "r.csv", "-q")
    assert "r.csv: 'reference' has another recipe there; name another --results-file, or schedule" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nosuch"], "unknown plan 'nosuch'"),
        (["--n-archs", "3"], "needs at least 6"),
        (
            ["inception_dw"],
            "'former reference' asks for 12288 images, and drawn has 4096; use a larger --dataset",
        ),
        (["thin.yaml"], "plan thin, 'one': space small: the proxy of"),
        (["--from", "none.csv", "--seeds", "2"], "leave --seeds out"),
        (["plan.yaml", "--n-archs", "200"], "space small has 10 architectures with distinct proxy networks"),
        (["--from", "none.csv"], "cannot read none.csv"),
        (["plan.yaml", "--from", "none.csv"], "leave the plan out"),
        (["--dataset", "folder"], "needs --data-root"),
        (["plan.yaml", "--results-file", "."], "cannot write it"),
        (["--device", "cuda:9"], "no device 'cuda:9' here"),
        (["plan.yaml", "--only", "one,tow"], "--only: unknown schedule 'tow' (known: one, reference)"),
        (["--from", "none.csv", "--only", "one"], "leave --only out"),
        (["--from", "none.csv", "--space", "small.yaml"], "leave --space out"),
        (["--proxy", "smoke"], "--proxy, --epochs and --set need --space; the recipes of a plan stand in it"),
        (["plan.yaml", "--space", "small.yaml"], "--space measures a recipe without a plan; leave plan.yaml or"),
        (["--space", "small.yaml", "--set", "bench.rounds=3"], "--set bench.rounds=3: write proxy.FIELD=VALUE"),
        (["--space", "small.yaml", "--proxy", "quikc"], "unknown proxy 'quikc': did you mean 'quick'"),
        (["--space", "smal"], "unknown space 'smal'"),
        (
            ["plan.yaml", "--results-file", "plan.yaml"],
            "plan.yaml holds no table of comma-separated values; name",
        ),
    ],
)
def test_wrong_commands(plan, capsys, tmp_path, words, says):
    assert says in refused(capsys, tmp_path, "fidelity", *words, "-q")


@pytest.mark.slow
def test_what_was_measured_is_known_to_the_next_study(plan, capsys, monkeypatch):
    """A study says what measures its recipe; that command, and the study says what it found."""
    monkeypatch.setattr("archsearch.fidelity.yaml.DRAWN", str(plan))  # whose reference takes a moment
    recipe = ("--proxy", "smoke", "--set", "proxy.train_samples=64")
    words = ("study", "--space", "small.yaml", "--objective", "accuracy,macs", *recipe, "--n-trials", 1)
    code, out, err = run(capsys, *words, "-q", "--bench", "smoke", "--workers", 0, "--device", "cpu")
    assert code == 0, err
    told = out.splitlines()[-1]
    command = told.partition("`")[2].partition("`")[0]
    assert told == f"nothing is known of how this recipe ranks; `{command}` measures it"
    code, out, err = run(capsys, *command.split(), "--workers", 1, "--device", "cpu")
    assert code == 0, err
    assert "smoke, seed 0" in err
    assert err.splitlines()[-1] == "studies know now how 1 recipe ranks"
    code, out, err = run(capsys, *words, "-q", "--bench", "smoke", "--workers", 0, "--device", "cpu", "-f", "csv")
    assert (code, err) == (0, "")
    code, out, err = run(capsys, *words, "-q", "--bench", "smoke", "--workers", 0, "--device", "cpu")
    assert out.splitlines()[-1].startswith("this recipe orders the drawn data with tau ")
    assert "6 architectures of small, measured 20" in out.splitlines()[-1]


def trained(plan, spec, progress, track):
    """Carry a plan out without any training: what a schedule finds is made up."""
    plan = plan.only(spec.only)
    made = {"recipe": "{}", "workers": 2, "images": 64, "space": "small", "data": "drawn", "fingerprint": "f"}
    facts = {each.name: made | {"judged": plan.split_of(each)} for each in plan.all_schedules}
    progress(PlanStarted(plan, facts))
    for place, (schedule, number) in enumerate(itertools.product(plan.all_schedules, range(6))):
        row = {"network": f"n{number}", "table": None, "schedule": schedule.name, "seed": plan.seeds_of(schedule)[0]}
        row |= {"accuracy": number / 10, "seconds": 3.0, "error": None, "top1": None, "macs": number, "params": 1}
        progress(TrainingDone(row | facts[schedule.name], place, 0.1))


def test_one_more_schedule_joins_a_results_file(plan, capsys, monkeypatch):
    monkeypatch.setattr("archsearch.fidelity.execute.run", trained)
    words = ("fidelity", plan, "--results-file", "r.csv", "-q", "-f", "csv")
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    before = Path("r.csv").read_text()
    plan.write_text(PLAN.replace("schedules:\n", "schedules:\n  one, two: {epochs: 1}\n"))
    code, out, err = run(capsys, *words, "--only", "one, two")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(out.splitlines()))
    assert [(row["score"], row["tau"]) for row in rows[:2]] == [("one", "1.0"), ("one, two", "1.0")]
    assert rows[0]["machine_seconds"] == "1.5"
    assert Path("r.csv").read_text().startswith(before)
    assert len(Path("r.csv").read_text().splitlines()) == 1 + 3 * 6
    judged = plan.read_text().replace("seeds: 2}", "seeds: 2, judged: val}")
    plan.write_text(judged)
    said = refused(capsys, Path.cwd(), *words)
    assert "r.csv: 'reference' has other images to judge by there; name another --results-file, or schedule" in said


@pytest.mark.slow
def test_interrupted_it_ends_at_once_and_goes_on(plan, tmp_path):
    """Ctrl-C ends the workers too; what was finished is in the file and is not trained again."""
    words = [sys.executable, ROOT / "cli.py", "fidelity", "plan.yaml", "--results-file", "r.csv", "--workers", "2"]
    plan.write_text(PLAN.replace("archs: 6", "archs: 8").replace("epochs: 2,", "epochs: 40,"))
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heed_ctrl_c)
    for line in process.stderr:
        if line.startswith("[5/"):
            break
    os.killpg(process.pid, signal.SIGINT)
    start = time.monotonic()
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert time.monotonic() - start < 20
    assert "interrupted" in rest
    assert len(list(csv.DictReader(Path("r.csv").read_text().splitlines()))) >= 5


def heed_ctrl_c():
    """A shell that started the tests in the background has told them to ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
