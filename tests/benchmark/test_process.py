"""Real processes, small networks."""

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

from archsearch.arch.networks import TimmModel
from archsearch.benchmark.exclusive import timing_lock
from archsearch.benchmark.jobs import Job
from archsearch.benchmark.process import ProcessDied, TimingProcess
from archsearch.benchmark.session import Session
from archsearch.errors import OptionError
from archsearch.recipes import BenchRecipe

BENCH = BenchRecipe(
    batch_size=2,
    precision="fp32",
    layout="both",
    rounds=4,
    max_rounds=4,
    min_block_s=0.002,
    warmup_s=0.0,
    warmup_limit_s=0.05,
)
JOB = Job((tiny.PLAIN, tiny.SMALL), tiny.SMALL, BENCH, ("infer", "latency", "train"), thorough=True)


@pytest.fixture(scope="module")
def process():
    with TimingProcess("cpu") as process:
        yield process


def test_a_process_knows_its_device(process):
    assert process.facts["kind"] == process.facts["device"] == "cpu"
    assert not process.facts["tf32"]


def test_everything_of_a_network_is_timed_beside_the_reference(process):
    plain, reference = process.run(JOB)
    assert plain.params > reference.params > 40_000
    assert plain.macs > 0
    assert plain.activations > 0
    assert plain.environment["torch"]
    settings = {(t.setting.kind, t.setting.layout, t.setting.batch_size) for t in plain.timings}
    layouts = ("channels_first", "channels_last")
    assert settings == {(k, lay, 1 if k == "latency" else 2) for k in ("infer", "latency", "train") for lay in layouts}
    for timing in plain.timings:
        assert len(timing.blocks_s) == len(timing.reference_s) == 4
        assert 0.05 < timing.ratio < 20
        assert timing.steps_per_block * timing.step_s >= 0.001
        assert timing.conditions["load_average"] is not None
        if timing.setting.kind == "latency":
            middle, tail = timing.single_steps_s
            assert min(timing.blocks_s) / 3 < middle <= tail
            assert middle < 1.5 * max(timing.blocks_s)
        else:
            assert timing.single_steps_s is None
    for kind in ("infer", "latency", "train"):
        ours = [t for t in plain.timings if t.setting.kind == kind]
        (best,) = [t for t in ours if t.best]
        assert best.ratio == max(t.ratio for t in ours)
        own = [t.ratio for t in reference.timings if t.setting.kind == kind]
        assert 1.0 in own  # the reference is compared with itself in its better layout


def test_a_process_answers_again(process):
    one = dataclasses.replace(JOB, networks=(tiny.PLAIN,), kinds=("infer",))
    first, second = process.run(one)[0], process.run(one)[0]
    assert first.timings[0].blocks_s != second.timings[0].blocks_s
    assert first.timings[0].settled in (True, False)


def test_networks_that_do_not_exist_leave_the_others_alone(process):
    job = dataclasses.replace(JOB, networks=(TimmModel("nosuch"), tiny.PLAIN), kinds=("infer",))
    wrong, right = process.run(job)
    assert "unknown network of timm's 'nosuch'" in wrong.error
    assert wrong.users_fault
    assert right.timings[0].blocks_s


def test_sizes_that_a_network_cannot_take(process):
    too_small = dataclasses.replace(JOB, networks=(TimmModel("deit_tiny_patch16_224", 8), tiny.PLAIN), kinds=("train",))
    wrong, right = process.run(too_small)
    assert "deit_tiny_patch16_224" in wrong.error
    assert wrong.users_fault
    assert right.timings[0].blocks_s


def test_what_the_device_cannot_do_is_refused_and_the_process_lives(process):
    with pytest.raises(OptionError, match="cpu has no TF32"):
        process.run(dataclasses.replace(JOB, bench=dataclasses.replace(BENCH, precision="tf32")))
    with pytest.raises(OptionError, match="mode cudagraph needs a CUDA device"):
        process.run(dataclasses.replace(JOB, modes=("eager", "cudagraph")))
    with pytest.raises(OptionError, match=r"the reference cannot be timed: unknown network of timm's"):
        process.run(dataclasses.replace(JOB, reference=TimmModel("nosuch")))
    assert process.run(dataclasses.replace(JOB, kinds=("infer",)))


@pytest.mark.serial
def test_rooflines(process):
    (measured, _) = process.run(dataclasses.replace(JOB, kinds=("infer",), roofline=True))
    roofs, parts = measured.roofline["roofs"], measured.roofline["parts"]
    assert roofs["flops_per_s"] > 1e9
    assert roofs["bytes_per_s"] > 1e8
    stages = [part for part in parts if part["level"] == 0]
    assert [part["name"] for part in stages] == ["stem", *(f"stage {i}" for i in range(1, 5)), "head"]
    assert sum(part["flops"] for part in stages) == pytest.approx(2 * measured.macs * 2, rel=0.05)
    for part in parts:
        assert part["seconds"] >= 0
    first = parts.index(stages[1])
    inside = list(parts[first + 1 : parts.index(stages[2])])
    assert sum(part["seconds"] for part in inside) == pytest.approx(stages[1]["seconds"], rel=0.2)


def test_no_such_device():
    with pytest.raises(OptionError, match="no device 'cuda:99' here"):
        TimingProcess("cuda:99")


def test_a_process_that_waits_for_the_device_says_so(process):
    events = []
    process.listen = lambda event: events.append(dict(event))
    with timing_lock("cpu"):
        thread = threading.Thread(target=process.run, args=(dataclasses.replace(JOB, kinds=("infer",)),))
        thread.start()
        deadline = time.monotonic() + 20
        while (not events or events[-1]["event"] == "loading") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert {event["event"] for event in events[:-1]} == {"loading"}  # networks are built without the device
        assert events[-1]["event"] == "waiting"
        assert f"process {os.getpid()} is timing" in events[-1]["holder"]
        waited = len(events)
    thread.join()
    assert events[waited]["event"] == "going_on"
    process.listen = lambda event: None
    assert events[-1]["event"] == "round"


def test_a_process_that_is_killed_is_noticed():
    with TimingProcess("cpu") as process:

        def kill(event):
            if event["event"] == "loading":
                os.kill(process._channel.process.pid, signal.SIGKILL)

        process.listen = kill
        with pytest.raises(ProcessDied, match="SIGKILL") as caught:
            process.run(JOB)
    assert caught.value.index == 0


def test_a_process_ends_with_its_parent():
    parent = """
import os, signal, sys
sys.path[:0] = ["tests", "tests/benchmark"]
import dataclasses
from archsearch.benchmark.process import TimingProcess
from test_process import JOB
process = TimingProcess("cpu")
print(process._channel.process.pid, flush=True)
process.listen = lambda event: event["event"] == "round" and os.kill(os.getpid(), signal.SIGKILL)
process.run(dataclasses.replace(JOB, bench=dataclasses.replace(JOB.bench, rounds=10**6)))
"""
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    deadline = time.monotonic() + 10
    while _runs(int(done.stdout)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _runs(int(done.stdout))
    with timing_lock("cpu"):  # and has left the device
        pass


def test_it_has_all_cores_though_its_parent_is_pinned_to_one():
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:1])
    try:
        with TimingProcess("cpu", cores=allowed) as whole, TimingProcess("cpu") as inherited:
            assert sorted(os.sched_getaffinity(whole._channel.process.pid)) == allowed
            assert sorted(os.sched_getaffinity(inherited._channel.process.pid)) == allowed[:1]
    finally:
        os.sched_setaffinity(0, allowed)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_death_costs_the_network_that_was_loaded():
    """The process is killed whenever it loads the first network; the other is timed all the same."""
    with Session("cpu") as session:
        processes = []

        def listen(event):
            if event["event"] == "loading" and event["index"] == 0:
                running = next(p for p in reversed(started) if p.poll() is None)
                processes.append(running.pid)
                running.kill()

        started, popen = [session._process._channel.process], subprocess.Popen

        def remembered(*args, **kwargs):
            started.append(popen(*args, **kwargs))
            return started[-1]

        subprocess.Popen = remembered
        try:
            session.listen = listen
            dead, alive = session.run(dataclasses.replace(JOB, networks=(tiny.PLAIN, tiny.SMALL), kinds=("infer",)))
        finally:
            subprocess.Popen = popen
    assert len(processes) == 1
    assert "SIGKILL" in dead.error
    assert alive.timings[0].blocks_s


LIMITED = """
import dataclasses, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
import tiny
from archsearch.benchmark.session import Session
from test_process import JOB
events = []
with Session("cpu", listen=lambda event: events.append(event), fit_batch=sys.argv[2] == "fit") as session:
    bench = dataclasses.replace(JOB.bench, batch_size=1 << 16, layout="channels_last", rounds=1, max_rounds=1)
    for measured in session.run(dataclasses.replace(JOB, bench=bench, kinds=("infer", "latency"))):
        for timing in measured.timings:
            print(timing.setting.kind, timing.setting.batch_size, timing.error)
print(*[event["batch_size"] for event in events if event["event"] == "refitted"])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are Linux's")
@pytest.mark.slow
@pytest.mark.parametrize("how", ["as it is", "fit"])
def test_a_batch_that_does_not_fit_says_so_and_shrinks_only_if_asked(how):
    """65,536 images of 64 px are 3 GiB; the process may have 5.5, of which torch itself takes 3."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(11 * 2**29), how],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(["tests", "tests/benchmark", os.environ.get("PYTHONPATH", "")]),
        },
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    if how == "as it is":
        assert sorted(lines[:4]) == ["infer 65536 out of memory at batch 65536"] * 2 + ["latency 1 None"] * 2
    else:
        batch = int(lines[-1].split()[-1])
        assert sorted(lines[:4]) == [f"infer {batch} None"] * 2 + ["latency 1 None"] * 2
        assert batch < 1 << 16
