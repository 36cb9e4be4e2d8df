import os
import signal
import subprocess
import sys
import time

import pytest

from archsearch.benchmark import exclusive

HOLDER = """
import sys, time
from archsearch.benchmark.exclusive import timing_lock, training_lock
with {"alone": timing_lock, "shared": training_lock}[sys.argv[1]](sys.argv[2], run="".join(sys.argv[4:])):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(exclusive.tempfile, "tempdir", None)
    monkeypatch.setattr(exclusive, "PATIENCE", 0.4)


def holder(how, seconds=60.0, device="gpu", run=""):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, how, device, str(seconds), *[run][: len(run)]],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    return process


def took(context, words=None):
    start = time.monotonic()
    with context("gpu", (words if words is not None else []).append):
        return time.monotonic() - start


@pytest.mark.parametrize("how", ["alone", "shared"])
def test_timing_waits_for_whoever_has_the_device(how):
    words, process = [], holder(how, 1.5)
    assert took(exclusive.timing_lock, words) > 1.0
    process.wait()
    doing = {"alone": "timing", "shared": "training"}[how]
    assert words == [f"process {process.pid} is {doing} (-c {how} gpu 1.5)", None]


@pytest.mark.parametrize(("run", "own"), [("ours", True), ("theirs", False), ("", False)])
def test_a_holder_of_the_same_run_is_nobody_elses(run, own):
    words, process = [], holder("alone", 1.5, run=run)
    with exclusive.training_lock("gpu", words.append, "ours"):
        process.wait()
    assert (words == [exclusive.OWN, None]) == own


def test_training_waits_for_timing_and_not_for_training():
    first = holder("shared")
    assert took(exclusive.training_lock) < 1.0
    first.kill()
    first.wait()
    second = holder("alone", 1.5)
    assert took(exclusive.training_lock) > 1.0
    second.wait()


def test_devices_do_not_wait_for_each_other():
    other = holder("alone", device="another")
    assert took(exclusive.timing_lock) < 1.0
    other.kill()
    other.wait()


@pytest.mark.parametrize("how", ["alone", "shared"])
def test_the_lock_of_a_dead_process_is_free(how):
    process = holder(how)
    process.send_signal(signal.SIGKILL)
    process.wait()
    words = []
    assert took(exclusive.timing_lock, words) < 1.0
    assert words == []


def test_holders_that_are_gone_are_forgotten(tmp_path):
    dead = holder("shared")
    dead.kill()
    dead.wait()
    note = next(tmp_path.rglob(f"{dead.pid}-*.json"))
    alive = holder("shared", 1.5)
    words = []
    took(exclusive.timing_lock, words)
    alive.wait()
    assert str(alive.pid) in words[0]
    assert str(dead.pid) not in words[0]
    assert not note.exists()


def test_an_error_inside_gives_the_device_back():
    with pytest.raises(ZeroDivisionError), exclusive.timing_lock("gpu"):
        raise ZeroDivisionError
    assert took(exclusive.timing_lock) < 1.0
    assert os.getpid()


@pytest.mark.parametrize("how", ["timing_lock", "training_lock"])
def test_it_is_known_when_a_device_was_given_back(how):
    assert not exclusive.given_back_within("gpu", 60.0)
    with getattr(exclusive, how)("gpu"):
        assert not exclusive.given_back_within("gpu", 60.0)
    assert exclusive.given_back_within("gpu", 60.0)
    assert not exclusive.given_back_within("another", 60.0)
    time.sleep(0.05)
    assert not exclusive.given_back_within("gpu", 0.01)
