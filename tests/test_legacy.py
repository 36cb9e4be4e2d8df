"""What an earlier version stored is continued, reported on and reused; ``legacy/README.md`` says how it was made."""

import copy
import json
import platform
import shutil
import threading
import urllib.request
from pathlib import Path

import command
import optuna
import pytest
import torch

from archsearch.arch import Arch
from archsearch.benchmark import reference
from archsearch.benchmark.timer import Timer
from archsearch.cli.report import open_studies
from archsearch.nn import device
from archsearch.report.page.follow import Follower
from archsearch.report.page.serve import Server
from archsearch.search.storage.opening import open_storage
from archsearch.search.storage.records import trials_of
from archsearch.train import Training
from archsearch.train import cache as train_cache

FILES = Path(__file__).parent / "legacy" / "0.1.0"
STUDY = ("study", "--space", "small.yaml", "--objective", "pareto", *command.FAST, "--seeds", 2)
ABLATION = (
    *("ablate", "inceptionnext_table8", "--only", "branch", "--no-speed", "--proxy", "smoke", "--set"),
    *("proxy.train_samples=64", "--seeds", 2, "--workers", 1, "-q", "--storage", "legacy.db"),
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the files, on the machine that made them as far as keys depend on it."""
    place = tmp_path / "legacy"
    shutil.copytree(FILES, place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    facts = trials(place)[0].user_attrs["environment"]
    monkeypatch.setattr(device, "_processor", lambda: facts["device_name"])
    monkeypatch.setattr(device, "has_bfloat16", lambda device: facts["proxy_autocast"] != "off")
    monkeypatch.setattr(device, "version", {"timm": facts["timm"]}.__getitem__)
    monkeypatch.setattr(platform, "node", lambda: facts["host"])
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion(facts["torch"]))
    monkeypatch.setattr(torch, "get_num_threads", lambda: facts["threads"])
    monkeypatch.setattr(train_cache, "THREADS", (facts["threads"], 1))
    return place


def storage_of(folder):
    return open_storage(str(folder / "legacy.db"), create=False)


def trials(folder, name="search"):
    return copy.deepcopy(optuna.load_study(study_name=name, storage=storage_of(folder)).trials)


@pytest.fixture
def starts(folder):
    """Options to evaluate the architectures of the search first, whatever its sampler would draw today."""
    path = folder / "starts.json"
    path.write_text(json.dumps([trial.user_attrs["params"] for trial in trials(folder)]))
    return "--start-from", path


@pytest.fixture
def passes(monkeypatch):
    """One entry per epoch that is trained in this process."""
    seen, real = [], Training._pass
    monkeypatch.setattr(Training, "_pass", lambda self, epoch: seen.append(epoch) or real(self, epoch))
    return seen


@pytest.fixture
def idle(monkeypatch):
    """Nothing is trained, and nothing is timed."""
    monkeypatch.setattr(Training, "_pass", lambda *args: pytest.fail("trained again"))
    monkeypatch.setattr(Timer, "_measure", lambda *args: pytest.fail("timed again"))


@pytest.fixture
def no_reference(monkeypatch):
    """The reference is not timed either."""
    monkeypatch.setattr(reference, "time_reference", lambda *args: pytest.fail("the reference was timed"))


def test_a_study_goes_on(folder, passes, no_reference, capsys):
    before = trials(folder)
    words = (*STUDY, "--storage", "legacy.db", "--study-name", "search", "--device", "cpu")
    code, out, err = command.run(capsys, *words, "--n-trials", 6)
    assert code == 0, err
    after = trials(folder)
    assert after[:4] == before
    assert len(after) == 6
    new = [len(trial.user_attrs["details"]["accuracy"]["seeds"]) for trial in after[4:]]
    assert len(passes) == sum(new), "an epoch for each seed of the new trials, and none for the old ones"
    assert out.count("\n") > 1
    assert (folder / "search.html").exists()


def test_another_study_of_the_storage_trains_and_times_nothing(folder, idle, no_reference, starts, capsys):
    shutil.rmtree(folder / "cache")
    words = ("--storage", "legacy.db", "--study-name", "other", "--device", "cpu")
    code, _, err = command.run(capsys, *STUDY, *words, *starts, "--n-trials", 4)
    assert code == 0, err
    first, other = (
        trials_of(optuna.load_study(study_name=name, storage=storage_of(folder))) for name in ("search", "other")
    )
    known = {trial.arch.key: trial for trial in first}  # both beside one fixed speed of the reference
    for trial in other:
        its = known[trial.arch.key]
        origin = f"search#{its.number}"
        assert trial.evaluation.reused == {"accuracy": origin, "infer_throughput": origin}
        assert trial.evaluation.scores == its.evaluation.scores


def test_the_disk_cache_gives_trainings_and_timings_back(folder, idle, starts, capsys):
    words = ("--storage", "new.db", "--study-name", "new", "--device", "cpu")
    code, _, err = command.run(capsys, *STUDY, *words, *starts, "--n-trials", 4)
    assert code == 0, err
    found = trials_of(optuna.load_study(study_name="new", storage=open_storage("new.db", create=False)))
    for trial, its in zip(found, trials(folder), strict=True):
        scores, detail = trial.evaluation.scores, trial.evaluation.details["infer_throughput"]
        assert scores | {"infer_throughput": 0} == its.user_attrs["scores"] | {"infer_throughput": 0}
        assert detail["blocks_s"] == its.user_attrs["details"]["infer_throughput"]["blocks_s"]
        step_s = detail["fixed_reference_s"] / detail["ratio"]
        assert scores["infer_throughput"] == pytest.approx(detail["batch_size"] / step_s)
    assert {origin for trial in found for origin in trial.evaluation.reused.values()} == {
        "an earlier training on this machine", "an earlier timing on this machine",
    }  # fmt: skip


def test_pareto_and_report_read_a_storage(folder, capsys):
    code, out, _ = command.run(capsys, "pareto", "search", "--storage", "legacy.db", "--format", "json")
    assert code == 0
    complete = [trial for trial in trials(folder) if trial.state == optuna.trial.TrialState.COMPLETE]
    rows = json.loads(out)
    assert 0 < len(rows) <= len(complete)
    assert {row["number"] for row in rows} <= {trial.number for trial in complete}
    for name in ("search", "ablation"):
        page = folder / f"{name}-again.html"
        code, _, err = command.run(capsys, "report", name, "--storage", "legacy.db", "--output", page)
        assert code == 0, err
        assert name in page.read_text()


def test_a_result_of_an_ablation_is_told(folder, idle, capsys):
    code, out, err = command.run(capsys, "ablate", "--from", "ablation.json")
    assert code == 0, err
    (row,) = [line for line in out.splitlines() if line.startswith("branch  no vertical band")][:1]
    assert "16.2 (8.8 to 23.7)" in row
    assert "+1.4 (-1.1 to +3.8)" in row


def test_an_ablation_goes_on(folder, idle, capsys):
    before, old = trials(folder, "ablation"), json.loads((folder / "ablation.json").read_text())
    words = ("--study-name", "ablation", "--results-file", "again.json", "--device", "cpu")
    code, _, err = command.run(capsys, *ABLATION, *words)
    assert code == 0, err
    assert trials(folder, "ablation") == before, "nothing is left to train"
    again = json.loads((folder / "again.json").read_text())
    accuracies = [[result["accuracies"] for result in told["results"]] for told in (old, again)]
    assert accuracies[0] == accuracies[1]


def test_the_dashboard_shows_a_storage(folder):
    searches, ablations = open_studies(["search", "ablation"], "legacy.db")
    follower = Follower(searches)
    with Server("127.0.0.1", 0, follower, ablations) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            page = urllib.request.urlopen(server.url, timeout=60).read().decode()
            words = f"data?run={follower.run}&version=0&have=0"
            news = json.loads(urllib.request.urlopen(server.url + words, timeout=60).read())
        finally:
            server.shutdown()
            thread.join()
    assert "inceptionnext_table8" in page
    assert [part["count"] for part in news["studies"][0]["parts"]] == [4]


def test_a_fidelity_record_is_told(folder, capsys):
    code, out, err = command.run(capsys, "fidelity", "--from", "fidelity.csv")
    assert code == 0, err
    (row,) = [line for line in out.splitlines() if line.startswith("6 epochs, batch 32  ")]
    assert row.split()[4] == "0.82"


def test_timed_networks_keep_their_keys():
    rows = json.loads((FILES / "benchmark.json").read_text())
    keyed = [row for row in rows if row.get("arch")]
    assert keyed
    assert all(Arch.from_dict(row["arch"]).key == row["key"] for row in keyed)
