"""The engines from the command line, as a user and a batch system see them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from command import refused, run
from optuna.trial import TrialState
from processes import children

from archsearch.search.storage.opening import open_storage

CLI = Path(__file__).parents[2] / "cli.py"
QUICK = ["--proxy", "smoke", "--set", "proxy.train_samples=64"]
#: Trainings that last, so that a study over the wide space is caught in its middle on any machine.
LONG = ["--epochs", "25", "--no-early-stopping"]


def words(space, storage, *more):
    command = [sys.executable, CLI, "study", "--space", space, "--objective", "accuracy,macs", "--storage", storage]
    return [*map(str, [*command, "--study-name", "s", *QUICK, *more])]


def trials(storage):
    return optuna.load_study(study_name="s", storage=open_storage(str(storage), create=False)).trials


def essence(storage):
    return {
        (t.user_attrs["arch_key"], t.state, tuple(t.values or ()))
        for t in trials(storage)
        if not {"lost", "duplicate_of"} & set(t.user_attrs)
    }


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--engine", "rya"], "unknown engine 'rya': did you mean 'ray'?"),
        (["--workers", "-1"], "'-1' is not a whole number"),
        (["--workers", "0", "--trial-timeout", "5"], "give --workers 1"),
        (["--trial-timeout", "0"], "'0' is not a number of seconds"),
        (["--ray-address", "auto"], "--ray-address is for --engine ray"),
        (["--gpus-per-trial", "1"], "--gpus-per-trial is for --engine ray"),
        (["--engine", "ray", "--workers", "0"], "leave --engine ray out"),
        (["--engine", "ray", "--gpus-per-trial", "0.5"], "infer_throughput is measured on a whole GPU; give 1, or"),
        (["--engine", "ray", "--gpus-per-trial", "1.5"], "neither a whole number nor a fraction"),
        (["--log-format", "xml"], "invalid choice: 'xml'"),
        (["--storage", "postgresql://nobody@127.0.0.1:1/none"], "connection"),
    ],
)
def test_wrong_options_are_refused(capsys, tmp_path, monkeypatch, options, complaint):
    monkeypatch.chdir(tmp_path)
    assert complaint in refused(capsys, tmp_path, "study", "--space", "inception_dw", *QUICK, *options)


@pytest.mark.ray
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--ray-address", "127.0.0.1:1"], "--ray-address 127.0.0.1:1: no Ray cluster answers there"),
        (["--ray-address", "127.0.0.1"], "write HOST:PORT, or auto"),
        (["--ray-address", "ray://127.0.0.1:10001"], "run the command on a machine of the cluster"),
    ],
)
def test_a_cluster_that_is_not_there_is_said_to_be(tmp_path, options, complaint):
    refused_by_ray([sys.executable, CLI], tmp_path, options, complaint)


@pytest.mark.ray
def test_where_no_cluster_runs_auto_says_how_to_start_one(tmp_path, tmp_path_factory, monkeypatch):
    """An interpreter that sees none, whatever runs beside this test."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path_factory.mktemp("ray")))
    code = (
        "import functools, sys; from ray._private import services; services.find_gcs_addresses = functools.cache(set); "
        "from archsearch.cli import main; sys.exit(main())"
    )
    complaint = "--ray-address auto: no Ray cluster runs on this machine; start one (ray start --head)"
    refused_by_ray([sys.executable, "-c", code], tmp_path, ["--ray-address", "auto"], complaint)


@pytest.mark.ray
def test_a_cluster_that_has_ended_is_said_not_to_answer(tmp_path, monkeypatch):
    """As where one that was killed has left its address behind, or its last process has not noticed yet."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    complaint = ":1 (Connection refused); start one (ray start --head)"  # after the address that Ray makes of it
    refused_by_ray([sys.executable, CLI], tmp_path, ["--ray-address", "auto"], complaint)


def refused_by_ray(program, tmp_path, options, complaint):
    command = words("inception_dw", tmp_path / "s.db", "--engine", "ray", *options)[2:]
    done = subprocess.run([*map(str, program), *command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.iterdir())


def test_without_ray_a_line_says_what_to_install(tmp_path):
    """An interpreter to which Ray is unknown."""
    code = (
        "import sys; sys.modules['ray'] = None; from archsearch.cli import main; "
        f"sys.exit(main({words('inception_dw', tmp_path / 's.db', '--engine', 'ray')[2:]!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "archsearch: error: --engine ray needs Ray: pip install 'archsearch[ray]'\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.ray
@pytest.mark.slow
def test_a_study_is_the_same_with_workers_and_on_ray(small_space, tmp_path):
    """Really trained. One thread each, as the order of sums is part of a training's numbers."""
    storages = {engine: tmp_path / f"{engine}.db" for engine in ("local", "ray")}
    for engine, storage in storages.items():
        command = words(
            small_space, storage, "--engine", engine, "--workers", "2", "--n-trials", "5", "--sampler", "random",
            "--retrain"
        )  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "5 trials in" in done.stderr
        expected = ("[", "study s: ", "page: ", "proxy network of the baseline: ", "Proxy maps of ", "Large enough ")
        noise = [line for line in done.stderr.splitlines() if not line.startswith(expected)]
        assert not [line for line in noise if "draws repeated" not in line], done.stderr
        assert (tmp_path / "s.html").stat().st_size > 1_000_000
    assert essence(storages["ray"]) == essence(storages["local"])
    environments = [t.user_attrs["environment"] for t in trials(storages["ray"]) if "environment" in t.user_attrs]
    assert {environment["threads"] for environment in environments} == {1}


@pytest.mark.slow
def test_json_lines_tell_the_progress(small_space, tmp_path):
    command = words(small_space, tmp_path / "s.db", "--n-trials", "3", "--log-format", "json", "--workers", "1")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"event", "time"} <= set(event) for event in events)
    by_kind = {kind: [e for e in events if e["event"] == kind] for kind in {e["event"] for e in events}}
    assert [e["trial"] for e in by_kind["started"]] == sorted(e["trial"] for e in by_kind["ended"])
    assert {e["worker"] for e in by_kind["started"]} == {"worker 0"}
    last = by_kind["ended"][-1]
    assert (last["done"], last["of"], last["failed"], last["left_s"]) == (3, 3, 0, None)
    assert set(last["scores"]) >= {"accuracy", "macs"}
    assert set(last["front"]) <= {e["trial"] for e in by_kind["ended"]}
    assert 0 <= last["hypervolume"] <= 1
    assert {"loss", "accuracy"} & {key.split("_")[-1] for key in by_kind["epoch"][0]}
    assert by_kind["finished"][0]["page"].endswith("s.html")


def test_complaints_are_json_too(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for form in (["--log-format", "json"], ["--log-format=json"]):
        code, out, err = run(capsys, "study", "--space", "inception_wd", *form)
        assert code == 2
        assert out == ""
        told = json.loads(err)
        assert told["event"] == "failed"
        assert "did you mean 'inception_dw'" in told["text"]


def await_trials(process, storage, count):
    """Until so many trials of a study under way are complete, and another one runs."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
        try:
            known = trials(storage)
        except Exception:  # the storage is being made
            continue
        states = [t.state for t in known]
        if states.count(TrialState.COMPLETE) >= count and TrialState.RUNNING in states:
            return
    process.kill()
    told = process.communicate()
    pytest.fail(f"it did not get that far: exit {process.returncode}, {told}")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_sigterm_leaves_a_study_that_goes_on(wide_space, tmp_path, engine):
    """As Slurm sends it: to every process of the step."""
    storage = tmp_path / "s.db"
    long = words(wide_space, storage, "--n-trials", "30", *LONG, "--engine", engine, "--workers", "2")
    process = subprocess.Popen(long, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    await_trials(process, storage, 2)
    start = time.monotonic()
    if engine == "local":
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert time.monotonic() - start < 30, "Slurm's patience"
    assert err.rstrip().endswith("archsearch: terminated")
    assert "Traceback" not in err
    assert "trial" in out  # the front so far
    assert not any(t.state == TrialState.RUNNING for t in trials(storage))
    lost = [t for t in trials(storage) if "lost" in t.user_attrs]
    assert 1 <= len(lost) <= 2
    done = len(essence(storage))
    again = subprocess.run(
        words(wide_space, storage, "--n-trials", str(done + 1), *LONG),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"trial {lost[0].number} was lost with its process and will run again" in again.stderr
    rerun = [t.user_attrs["rerun_of"] for t in trials(storage) if "rerun_of" in t.user_attrs]
    assert rerun == [lost[0].number]


@pytest.mark.ray
@pytest.mark.slow
def test_a_study_on_ray_goes_on_after_its_driver_was_killed(wide_space, tmp_path):
    storage = tmp_path / "s.db"
    options = ("--engine", "ray", "--workers", "2", *LONG)
    driver = subprocess.Popen(
        words(wide_space, storage, "--n-trials", "30", *options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    await_trials(driver, storage, 1)
    cluster = children(driver.pid)
    driver.kill()
    driver.wait()
    before = {t.number: t.values for t in trials(storage) if t.state == TrialState.COMPLETE}
    left = [t.number for t in trials(storage) if t.state == TrialState.RUNNING]
    assert left
    total = len(before) + 1
    again = subprocess.run(
        words(wide_space, storage, "--n-trials", str(total), *options), capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    after = {t.number: t.values for t in trials(storage) if t.state == TrialState.COMPLETE}
    assert before.items() < after.items()
    reruns = [t.user_attrs["rerun_of"] for t in trials(storage) if "rerun_of" in t.user_attrs]
    assert reruns == left[:1]
    for pid in cluster:  # they would take a minute to see that nobody is there
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.serial
@pytest.mark.slow
def test_timing_has_the_machine_to_itself(small_space, tmp_path):
    """Two workers that train and time in turns: while one times, the other does not train."""
    storage = tmp_path / "s.db"
    command = [sys.executable, CLI, "study", "--space", small_space, "--storage", storage, "--study-name", "s",
               "--proxy", "smoke", "--bench", "smoke", "--set", "proxy.train_samples=2048", "bench.img_size=32",
               "bench.min_block_s=0.2",  # the kernel counts in steps of 10 ms
               "--epochs", "8", "--n-trials", "6", "--workers", "2", "-q"]  # fmt: skip
    subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    timed = [t.user_attrs["details"]["infer_throughput"] for t in trials(storage) if "details" in t.user_attrs]
    assert len(timed) == 6
    busy = [timing["conditions"]["other_cores"] for timing in timed]
    assert sorted(busy)[3] < 0.3, busy  # a training that went on would keep one core busy
