"""One process that times for all processes of a run; real processes, small networks."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tiny
import torch

from archsearch.arch.networks import TimmModel
from archsearch.benchmark.channels import Program
from archsearch.benchmark.exclusive import training_lock
from archsearch.benchmark.jobs import Job
from archsearch.benchmark.process import ProcessDied, TimingProcess
from archsearch.benchmark.timer import Timer, Timings
from archsearch.errors import OptionError, TrialError
from archsearch.nn.device import environment
from archsearch.recipes import BenchRecipe
from archsearch.trial import OWN

BENCH = BenchRecipe(2, precision="fp32", rounds=4, max_rounds=4, min_block_s=0.002, warmup_s=0.0, warmup_limit_s=0.05)
QUICK = Job((tiny.PLAIN,), tiny.SMALL, BENCH)


@pytest.fixture
def run(tmp_path_factory, monkeypatch):
    """Name of a run, whose locks are its own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("locks")))
    monkeypatch.setattr("tempfile.tempdir", None)
    return "test"


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid, seconds=10.0):
    deadline = time.monotonic() + seconds
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not runs(pid)


def program(*processes):
    """The process that one of several has started for all of them."""
    (found,) = [p._channel._program for p in processes if p._channel._program is not None]
    assert isinstance(found, Program)
    return found.process


def until(happened, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert happened()


def test_processes_of_a_run_share_one_that_times(run):
    with TimingProcess("cpu", run=run) as first, TimingProcess("cpu", run=run) as second:
        times = [process.run(QUICK)[0].timings[0].blocks_s for process in (first, second)]
        assert times[0] != times[1]
        pid = program(first, second).pid
        first.close()
        assert second.run(QUICK)[0].timings[0].blocks_s
    assert gone(pid)  # with the last of its clients


def test_jobs_take_turns_and_those_who_wait_hear_of_it(run):
    first, second = TimingProcess("cpu", run=run), TimingProcess("cpu", run=run)
    heard, events, ended = [], [], []
    first.listen = lambda event: heard.append(event["event"])
    second.listen = lambda event: events.append(dict(event))
    job = dataclasses.replace(QUICK, bench=dataclasses.replace(BENCH, rounds=100, max_rounds=0))
    long = threading.Thread(target=lambda: ended.append(("first", first.run(job))))
    short = threading.Thread(target=lambda: ended.append(("second", second.run(QUICK))))
    long.start()
    until(lambda: "round" in heard)
    short.start()
    long.join()
    short.join()
    assert [who for who, _ in ended] == ["first", "second"]
    assert events[0] == {"event": "waiting", "holder": OWN}
    assert events[1] == {"event": "going_on"}
    first.close()
    second.close()


def test_a_job_whose_process_is_gone_frees_the_device_and_the_next_one_starts_anew(run, tmp_path):
    """A network that hangs is ended with the worker that it belongs to; the others do not notice."""
    hangs = subprocess.Popen(
        [sys.executable, "-c", HANGS, run], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": PATH}
    )
    pid = int(hangs.stdout.readline())
    facts = environment(torch.device("cpu"))
    timer, waits, found = Timer(tiny.BENCH, "cpu", Timings(tmp_path, facts), run=run), [], []
    timer.on_wait = waits.append
    thread = threading.Thread(target=lambda: found.append(timer(tiny.PLAIN, ("infer",))))
    thread.start()
    until(lambda: waits)
    hangs.kill()
    thread.join()
    assert found[0]["infer"].blocks_s
    assert waits[0] == OWN
    assert gone(pid)
    timer.close()
    hangs.wait()


PATH = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
HANGS = """
import sys
from archsearch.benchmark.jobs import Job
from archsearch.benchmark.process import TimingProcess
import tiny
from archsearch.benchmark.jobs import Job
from archsearch.recipes import BenchRecipe
process = TimingProcess("cpu", run=sys.argv[1])
process.listen = lambda event: event["event"] == "round" and event["number"] == 1 and print(
    process._channel._program.process.pid, flush=True)
process.run(Job((tiny.PLAIN,), tiny.SMALL, BenchRecipe(2, precision="fp32", rounds=10**6)))
"""


def test_a_process_that_dies_costs_the_job_that_it_was_at(run, tmp_path):
    facts = environment(torch.device("cpu"))
    with Timer(tiny.BENCH, "cpu", Timings(tmp_path, facts), run=run) as timer:
        timer(tiny.SMALL, ("infer",))
        timer._process._channel._program.process.kill()
        assert timer(tiny.PLAIN, ("infer",))["infer"].blocks_s  # it had not begun

        def kill(event):
            if event["event"] == "round":
                timer._process._channel._program.process.kill()

        timer._process.listen = kill
        with pytest.raises(TrialError, match="the process that timed it ended"):
            timer(tiny.PLAIN, ("infer", "latency"))


def test_a_device_that_does_not_exist_is_refused_to_all(run):
    for _ in range(2):
        with pytest.raises(OptionError, match="no device 'cuda:99' here"):
            TimingProcess("cuda:99", run=run)


def test_what_a_job_asks_for_in_vain_costs_that_job(run):
    with TimingProcess("cpu", run=run) as process:
        with pytest.raises(OptionError, match="the reference cannot be timed"):
            process.run(dataclasses.replace(QUICK, reference=TimmModel("nosuch")))
        assert process.run(QUICK)[0].timings


def test_waiting_for_trainings_of_the_same_run_is_told_apart(run):
    with TimingProcess("cpu", run=run) as process:
        events = []
        process.listen = lambda event: events.append(dict(event))
        with training_lock("cpu", run=run):
            thread = threading.Thread(target=process.run, args=(QUICK,))
            thread.start()
            until(lambda: any(event["event"] == "waiting" for event in events))
        thread.join()
    assert [event for event in events if event["event"] == "waiting"] == [{"event": "waiting", "holder": OWN}]


def test_it_survives_signals_that_are_sent_to_all(run):
    with TimingProcess("cpu", run=run) as process:
        os.kill(program(process).pid, signal.SIGINT)
        os.kill(program(process).pid, signal.SIGTERM)
        assert process.run(QUICK)[0].timings


def test_a_dead_process_before_its_job_is_told_from_one_that_died_with_it(run):
    with TimingProcess("cpu", run=run) as process:
        program(process).kill()
        with pytest.raises(ProcessDied) as caught:
            process.run(QUICK)
        assert not caught.value.begun


@pytest.mark.parametrize("shared", [False, True])
def test_a_process_that_dies_before_it_is_ready_costs_a_candidate(shared, run, tmp_path):
    """And is not started again and again for it."""
    (tmp_path / "dies.py").write_text("import os\nos._exit(3)\n")
    timings = Timings(tmp_path / "timings", environment(torch.device("cpu")))
    with Timer(tiny.BENCH, "cpu", timings, (tmp_path / "dies.py",), run=run if shared else "") as timer:
        for network in (tiny.SMALL, tiny.PLAIN):
            with pytest.raises(TrialError, match=r"the process that timed it ended \(exit code 3"):
                timer(network, ("infer",))
