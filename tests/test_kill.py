"""A study whose process is killed in the middle of a trial, from the outside, as a user's would be."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

CLI = Path(__file__).parents[1] / "cli.py"
OPTIONS = [
    "--proxy",
    "smoke",
    "--bench",
    "smoke",
    "--set",
    "bench.img_size=32",
    "proxy.train_samples=1024",
    "--study-name",
    "k",
]


def command(space, storage, n_trials, *more):
    words = ["study", "--space", str(space), "--storage", str(storage), "--n-trials", str(n_trials), *OPTIONS, *more]
    return [sys.executable, str(CLI), *words]


def trials(storage):
    return optuna.load_study(study_name="k", storage=f"sqlite:///{storage}").trials


def wait_for_running_trial(storage, after):
    """Until a trial is under way, with `after` trials finished before it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.05)
        try:
            known = trials(storage)
        except Exception:  # the storage is being made
            continue
        done = sum(t.state == TrialState.COMPLETE for t in known)
        if done >= after and known[-1].state == TrialState.RUNNING and "seed" in known[-1].user_attrs:
            return
    pytest.fail("no trial was started")


def start(*args):
    """As from a terminal: a shell that starts tests in the background has them ignore Ctrl-C."""
    listens = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    return subprocess.Popen(
        command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listens
    )


@pytest.mark.slow
def test_sigkill_costs_one_trial_which_runs_again(small_space, tmp_path):
    storage = tmp_path / "s.db"
    process = start(small_space, storage, 3)
    wait_for_running_trial(storage, after=1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = trials(storage)
    assert before[-1].state == TrialState.RUNNING

    done = subprocess.run(command(small_space, storage, 3), capture_output=True, text=True, check=True)
    after = trials(storage)
    lost = before[-1].number
    assert f"trial {lost} was lost with its process and will run again" in done.stderr
    assert after[lost].state == TrialState.FAIL
    assert after[lost].user_attrs["lost"]
    again = next(t for t in after if t.user_attrs.get("rerun_of") == lost)
    assert again.user_attrs["arch_key"] == after[lost].user_attrs["arch_key"]
    finished = [t for t in after if t.state == TrialState.COMPLETE and "duplicate_of" not in t.user_attrs]
    assert len(finished) == 3
    for old in before[:-1]:
        assert after[old.number].values == old.values


@pytest.mark.slow
def test_ctrl_c_ends_cleanly_and_one_process_owns_the_study(wide_space, tmp_path):
    storage = tmp_path / "s.db"
    long = (wide_space, storage, 30, "--epochs", "4")  # it still runs when the second comes
    process = start(*long)
    wait_for_running_trial(storage, after=1)
    second = subprocess.run(command(*long), capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert "being run by another process" in second.stderr
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert not any(t.state == TrialState.RUNNING for t in trials(storage))
    assert (tmp_path / "k.html").stat().st_size > 1_000_000
