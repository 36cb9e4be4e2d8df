"""Pages and figures of studies, the server of a page, a trial repeated: as commands."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import optuna
import pytest
import tiny
from command import FAST, refused, run
from served import go

from archsearch.search.definition import create_or_resume
from archsearch.search.storage.opening import open_storage

CLI = Path(__file__).parents[2] / "cli.py"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A storage with searches of one and of several objectives, one without a trial, and another tool's."""
    folder = tmp_path_factory.mktemp("filled")
    space, url = folder / "small.yaml", f"sqlite:///{folder}/archsearch.db"
    space.write_text(tiny.SPACE)
    costs = "macs,infer_throughput"
    for name, objectives, total in (
        ("small", "pareto", 6),
        ("other", "pareto", 3),
        ("costs", costs, 3),
        ("single", "accuracy", 3),
    ):
        go(tiny.make_study(space, name=name, objectives=objectives), url, total)
    create_or_resume(tiny.make_study(space, name="empty"), open_storage(url, create=True))
    optuna.create_study(study_name="foreign", storage=open_storage(url, create=True)).optimize(lambda t: t.number, 2)
    return folder / "archsearch.db"


@pytest.fixture
def storage(tmp_path, filled):
    """A copy of it where commands look for one."""
    (tmp_path / "runs").mkdir()
    shutil.copy(filled, tmp_path / "runs")
    return "runs/archsearch.db"


def test_one_page_for_one_study_or_several(storage, capsys):
    assert run(capsys, "report", "small")[:2] == (0, "runs/small.html\n")
    code, out, _ = run(capsys, "report", "small", "other", "-o", "both.html")
    assert (code, out) == (0, "both.html\n")
    assert '"title":"small, other"' in Path("both.html").read_text()
    assert run(capsys, "report", "single")[0] == 0


@pytest.mark.parametrize("verb", ["report", "dashboard"])
@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["smal"], "did you mean 'small'"),
        (["small", "othre"], "did you mean 'other'"),
        (["foreign"], "was not made by archsearch"),
        (["small", "costs", "single"], "no objective in common"),
    ],
)
def test_studies_that_cannot_be_shown(storage, capsys, tmp_path, verb, names, says):
    assert says in refused(capsys, tmp_path, verb, *names)


def test_a_study_without_a_finished_trial_has_no_page(storage, capsys, tmp_path):
    assert "has no finished trial yet; run it first" in refused(capsys, tmp_path, "report", "empty")


@pytest.mark.browser
def test_figures_become_files(storage, capsys):
    code, out, _ = run(capsys, "report", "single", "-o", "a.html", "--figures", "drawn", "--figure-format", "svg")
    assert code == 0
    files = [Path(line) for line in out.splitlines()[1:]]
    assert {"parallel.svg", "hypervolume-trials.svg", "curves.svg"} <= {path.name for path in files}
    assert all("<svg" in path.read_text()[:200] for path in files)


def test_a_taken_port_is_said(storage, capsys, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "give --port another number" in refused(capsys, tmp_path, "dashboard", "small", "--port", port)
    assert "not a port" in refused(capsys, tmp_path, "dashboard", "small", "--port", "80a")
    assert "cannot serve on nowhere.invalid" in refused(
        capsys, tmp_path, "dashboard", "small", "--host", "nowhere.invalid"
    )


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_dashboard_serves_until_it_is_told_to_end(storage, sent):
    words = [sys.executable, CLI, "dashboard", "small", "empty", "--port", "0"]
    listens = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 - a background job's is ignored
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=listens)
    url = process.stderr.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert "small, empty" in answer.read().decode()
    time.sleep(0.2)
    process.send_signal(sent)
    _, err = process.communicate(timeout=20)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[sent]
    assert "Traceback" not in err


def test_a_trial_can_be_repeated(capsys, small_space, tmp_path):
    study = ("study", "--space", small_space, "--objective", "accuracy,macs", *FAST)
    assert run(capsys, *study, "--n-trials", 2)[0] == 0
    record = optuna.load_study(study_name="small-accuracy-macs-drawn", storage="sqlite:///runs/archsearch.db")
    before = Path("runs/archsearch.db").read_bytes()
    code, out, _ = run(capsys, *study, "--repeat", 1, "-f", "json")
    assert code == 0
    scores = {one["score"]: one for one in json.loads(out)}
    for name, value in zip(("accuracy", "macs"), record.trials[1].values, strict=True):
        assert scores[name]["recorded"] == scores[name]["now"] == value
    assert Path("runs/archsearch.db").read_bytes() == before
    assert "no finished trial of that number" in refused(capsys, tmp_path, *study, "--repeat", 7)
    assert "exists with another seed" in refused(capsys, tmp_path, *study, "--repeat", 1, "--seed", 5)
    assert "did you mean" in refused(
        capsys, tmp_path, *study, "--repeat", 1, "--study-name", "small-accuracy-macs-drawm"
    )
    assert os.path.getsize("runs/archsearch.db") == len(before)
