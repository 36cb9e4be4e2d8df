"""What a study survives: each test injects a fault and looks at what is on record afterwards."""

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import optuna
import pytest
import run_study
import worker_tasks
from optuna.trial import TrialState
from processes import alive, children
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from archsearch.errors import ArchsearchError, StorageError
from archsearch.search.definition import create_or_resume
from archsearch.search.engines.local import run_local
from archsearch.search.engines.runner import ProgressListener, Runner, run_here
from archsearch.search.search import Search
from archsearch.search.storage import mirror as mirror_module
from archsearch.search.storage import opening as storage_module
from archsearch.search.storage.lock import owned
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.storage.opening import open_storage

PROGRAM = Path(run_study.__file__)


def search_of(url, check=lambda: None):
    study = run_study.make_study()
    return Search(study, StorageMirror(create_or_resume(study, open_storage(url, create=True)), check))


def start(url, n_trials, workers=2, pause=0.05):
    words = [sys.executable, PROGRAM, url, n_trials, workers, pause]
    return subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def await_line(process, word):
    for line in process.stdout:
        if line.startswith(word):
            return line
    pytest.fail(f"it ended before it said {word!r}: {process.stderr.read()}")


def finished(url):
    """Values of the finished trials by number, and the keys of their architectures."""
    record = optuna.load_study(study_name="test", storage=open_storage(url, create=False))
    done = record.get_trials(states=(TrialState.COMPLETE,))
    return {t.number: (t.values, t.user_attrs["arch_key"]) for t in done if "duplicate_of" not in t.user_attrs}


def undisturbed(tmp_path, n_trials):
    search = search_of(f"sqlite:///{tmp_path}/undisturbed.db")
    run_here(Runner(search, n_trials, ProgressListener()), worker_tasks.make(0))
    return {t.arch.key: [t.evaluation.scores[o.name] for o in search.study.objectives] for t in search.trials}


def worker_pids(pid):
    """Of the children, those that were forked for a candidate: they have been told to be the first to die."""
    chosen = []
    for child in children(pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/oom_score_adj").read_text().strip() == "1000":
                chosen.append(child)
    return chosen


@pytest.mark.slow
def test_random_kills_lose_no_finished_trial_and_count_none_twice(tmp_path):
    """SIGKILL of the parent and of workers, more than 50 times at random moments, until the study is done."""
    url, n_trials, rng = f"sqlite:///{tmp_path}/s.db", 60, random.Random(7)
    kills = {"parent": 0, "worker": 0}
    known = {}
    process = start(url, n_trials, pause=0.1)
    while sum(kills.values()) < 54 or kills["parent"] < 20:
        await_line(process, "started")
        time.sleep(rng.uniform(0, 0.25))
        victim = "worker" if kills["worker"] < 34 and rng.random() < 0.65 else "parent"
        if victim == "worker":
            for pid in worker_pids(process.pid)[:1]:
                os.kill(pid, signal.SIGKILL)
                kills["worker"] += 1
        else:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills["parent"] += 1
            now = finished(url)
            assert known.items() <= now.items()
            known = now
            process = start(url, n_trials, pause=0.1)
        if process.poll() is not None:
            break
    _, complaints = process.communicate(timeout=120)
    assert process.returncode == 0, complaints
    assert sum(kills.values()) >= 50, kills
    after = finished(url)
    assert known.items() <= after.items()
    keys = [key for _, key in after.values()]
    assert len(keys) == len(set(keys))
    expected = undisturbed(tmp_path, n_trials)
    found = {key: values for values, key in after.values()}
    failed = {t.user_attrs["arch_key"] for t in failed_for_good(url)}  # whose workers were shot twice
    assert found.keys() | failed == expected.keys()
    assert not found.keys() & failed
    assert all(found[key] == expected[key] for key in found)
    record = optuna.load_study(study_name="test", storage=open_storage(url, create=False))
    assert not record.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))


def failed_for_good(url):
    record = optuna.load_study(study_name="test", storage=open_storage(url, create=False))
    return [t for t in record.get_trials(states=(TrialState.FAIL,)) if "lost" not in t.user_attrs]


@pytest.fixture
def listens():
    """A process that a shell started in its background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "write",
    ["create_new_trial", "get_trial_id_from_study_id_trial_number", "set_attrs", "set_trial_state_values"],
)
@pytest.mark.usefixtures("listens")
def test_an_interrupt_in_the_middle_of_a_write_leaves_no_trial_running(tmp_path, monkeypatch, write, late):
    url = f"sqlite:///{tmp_path}/s.db"
    search = search_of(url)
    owner = mirror_module if write == "set_attrs" else search.record._storage
    ask, calls = getattr(owner, write), itertools.count()

    def interrupted(*args, **kwargs):
        third = next(calls) == 2
        if third and not late:
            signal.raise_signal(signal.SIGINT)
        answer = ask(*args, **kwargs)
        if third and late:
            signal.raise_signal(signal.SIGINT)
        return answer

    monkeypatch.setattr(owner, write, interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_here(Runner(search, 6, ProgressListener()), worker_tasks.make(0))
    record = optuna.load_study(study_name="test", storage=open_storage(url, create=False))
    assert not record.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))
    run_here(Runner(search_of(url), 6, ProgressListener()), worker_tasks.make(0))
    assert {key: values for values, key in finished(url).values()} == undisturbed(tmp_path, 6)


@pytest.mark.usefixtures("listens")
def test_who_interrupts_twice_waits_for_nothing(tmp_path, monkeypatch):
    search = search_of(f"sqlite:///{tmp_path}/s.db")
    storage, written = search.record._storage, []

    def hangs(*args, **kwargs):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        written.append(args)

    monkeypatch.setattr(storage, "create_new_trial", hangs)
    with pytest.raises(KeyboardInterrupt):
        search.ask()
    assert not written
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_workers_end_with_their_parent(tmp_path):
    process = start(f"sqlite:///{tmp_path}/s.db", 50, pause=5)
    await_line(process, "started")
    await_line(process, "started")
    deadline = time.monotonic() + 30
    while len(workers := worker_pids(process.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) == 2
    process.kill()
    process.wait()
    while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in workers)


def memory_cage():
    """A control group with little memory, and the file that takes processes in; None where none can be made."""
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        folder = Path(root) / f"archsearch-{os.getpid()}"
        with contextlib.suppress(OSError):
            folder.mkdir()
            try:
                (folder / limit).write_text(str(1 << 30))
                return folder
            except OSError:
                folder.rmdir()
    return None


def test_a_worker_that_allocates_until_it_is_killed_costs_its_trial(tmp_path):
    cage = memory_cage()
    if cage is None:
        pytest.skip("no control group of memory can be made here")
    try:
        search = search_of(f"sqlite:///{tmp_path}/s.db")
        make = worker_tasks.Dangerous("allocate", tmp_path, every=4, always=True, cage=cage / "cgroup.procs")
        run_local(Runner(search, 10, ProgressListener()), make, 2)
    finally:
        deadline = time.monotonic() + 20
        while cage.exists() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):  # until the last of its processes is gone
                cage.rmdir()
            time.sleep(0.1)
    assert len(search.trials) == 10
    failed = [t for t in search.trials if t.state == "failed"]
    assert {t.arch.key for t in failed} == {t.arch.key for t in search.trials if make.dangerous(t.arch)}
    assert failed
    assert all("memory that runs out" in t.evaluation.error for t in failed)


class AtTrial(ProgressListener):
    """Does something, once, when so many trials have ended."""

    def __init__(self, number, act):
        self.left, self.act = number, act

    def ended(self, trial):
        self.left -= 1
        if self.left == 0:
            self.act()


def told(search):
    words = []
    search.mirror.trouble = words.append
    return words


def test_sqlite_that_another_program_locks_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setitem(storage_module.CONNECT, "sqlite", {"timeout": 0.2})
    path = tmp_path / "s.db"
    search = search_of(f"sqlite:///{path}")
    words = told(search)

    class Locks(ProgressListener):
        def started(self, candidate, worker):
            if candidate.number == 4:
                other = sqlite3.connect(path, check_same_thread=False)
                other.execute("BEGIN EXCLUSIVE")
                threading.Timer(3, other.close).start()

    run_local(Runner(search, 10, Locks()), worker_tasks.make, 2)
    assert words == ["waiting for the storage: database is locked"]
    assert len(search.trials) == len(finished(f"sqlite:///{path}")) == 10


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB that is all the tests' own."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(place):
    filler = place / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(b"x" * 4096)
            file.flush()
    return filler


def test_a_full_disk_is_waited_for(small_disk):
    url = f"sqlite:///{small_disk}/s.db"
    search = search_of(url)
    words = []

    def trouble(reason):
        words.append(reason)
        (small_disk / "filler").unlink()

    search.mirror.trouble = trouble
    run_local(Runner(search, 12, AtTrial(4, lambda: fill(small_disk))), worker_tasks.make, 2)
    assert words == ["waiting for the storage: database or disk is full"]
    assert len(finished(url)) == 12


def test_a_disk_that_stays_full_ends_the_run_and_loses_nothing(small_disk, tmp_path, monkeypatch):
    url = f"sqlite:///{small_disk}/s.db"
    monkeypatch.setattr(mirror_module, "PATIENCE_S", 2.0)
    search = search_of(url)
    with pytest.raises(ArchsearchError, match="database or disk is full; fix that and run this command again"):
        run_local(Runner(search, 12, AtTrial(4, lambda: fill(small_disk))), worker_tasks.make, 2)
    (small_disk / "filler").unlink()
    before = finished(url)
    assert len(before) >= 4
    again = search_of(url)
    run_local(Runner(again, 12, ProgressListener()), worker_tasks.make, 2)
    after = finished(url)
    assert before.items() <= after.items()
    assert {key for _, key in after.values()} == undisturbed(tmp_path, 12).keys()


def test_a_second_parent_is_turned_away(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    first = start(url, 50, pause=1)
    await_line(first, "started")
    second = start(url, 50)
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "is being run by another process; wait for it, or choose another --study-name" in out
    first.kill()
    first.wait()
    third = start(url, 2)
    assert third.wait(timeout=60) == 0


def test_a_second_parent_is_turned_away_by_postgresql_and_told_by_whom(postgres):
    url = postgres.database()
    first = start(url, 50, pause=1)
    await_line(first, "started")
    out, _ = (second := start(url, 50)).communicate(timeout=60)
    assert second.returncode == 2
    assert f"is being run by another process (process {first.pid} on " in out
    first.kill()
    first.wait()


def test_a_study_whose_parent_died_is_taken_over_at_once(postgres, tmp_path):
    """The lock is the server's: whether the parent was on this machine makes no difference to it."""
    url = postgres.database()
    first = start(url, 12, pause=0.3)
    for _ in range(3):
        await_line(first, "ended")
    first.kill()
    first.wait()
    before = finished(url)
    assert len(before) >= 3
    second = start(url, 12, pause=0.01)
    out, complaints = second.communicate(timeout=120)
    assert second.returncode == 0, out + complaints
    after = finished(url)
    assert before.items() <= after.items()
    assert {key for _, key in after.values()} == undisturbed(tmp_path, 12).keys()
    record = optuna.load_study(study_name="test", storage=open_storage(url, create=False))
    lost = {t.number for t in record.trials if "lost" in t.user_attrs}
    assert lost
    assert lost == {t.user_attrs["rerun_of"] for t in record.trials if "rerun_of" in t.user_attrs}


def test_postgresql_restarted_in_mid_study(postgres, tmp_path):
    url = postgres.database()
    with owned("test", url) as check:
        search = search_of(url, check)
        words = told(search)

        def restart():
            postgres.stop("immediate")  # as a crash does: connections are cut, nothing is said
            threading.Timer(3, postgres.start).start()

        run_local(Runner(search, 12, AtTrial(5, restart)), worker_tasks.make, 2)
    assert len(words) == 1
    assert words[0].startswith("waiting for the storage: ")
    assert {key for _, key in finished(url).values()} == undisturbed(tmp_path, 12).keys()


def cut_connections(url):
    engine = create_engine(storage_module.storage_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
        connection.execute(text(f"{others} and pid <> pg_backend_pid()"))
    engine.dispose()


def test_a_lost_connection_does_not_lose_the_study(postgres):
    url = postgres.database()
    with owned("test", url) as check:
        search = search_of(url, check)
        run_local(Runner(search, 8, AtTrial(3, lambda: cut_connections(url))), worker_tasks.make, 2)
        assert len(finished(url)) == 8
        with pytest.raises(StorageError, match="run by another process"), owned("test", url):
            pass


class HalfCut:
    """A way to a server that can be cut on one side: the server does not hear of it."""

    def __init__(self, port):
        self.port, self.pairs, self.listener = port, [], socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.port))
            self.pairs.append((near, far))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)

    def cut(self):
        for near, _ in self.pairs:
            with contextlib.suppress(OSError):
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                near.shutdown(socket.SHUT_RDWR)


def test_a_connection_that_is_lost_on_one_side_is_no_other_owner(postgres):
    """As by a firewall: the server goes on holding the lock for a connection that is gone."""
    direct = postgres.database()
    proxy = HalfCut(postgres.port)
    url = direct.replace(f":{postgres.port}/", f":{proxy.listener.getsockname()[1]}/")
    with owned("test", url) as check:
        search = search_of(url, check)
        run_local(Runner(search, 8, AtTrial(3, proxy.cut)), worker_tasks.make, 2)
        assert len(finished(direct)) == 8
        with pytest.raises(StorageError, match="run by another process"), owned("test", direct):
            pass
    proxy.listener.close()


class LosesAcknowledgements:
    """Optuna's storage whose server takes a new trial, and is gone before it says so; once."""

    def __init__(self, backend):
        self.original, self.written, self.lost = backend._get_prepared_new_trial, 0, False

    def __call__(self, study_id, template, session):
        made = self.original(study_id, template, session)
        self.written += 1
        if self.written == 5:
            self.lost = True
            session.commit()
            raise OperationalError("insert", {}, Exception("server closed the connection unexpectedly"))
        return made


def test_a_trial_that_was_written_without_word_of_it_counts_once(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    search = search_of(url)
    backend = search.record._storage._backend
    backend._get_prepared_new_trial = loses = LosesAcknowledgements(backend)
    run_local(Runner(search, 8, ProgressListener()), worker_tasks.make, 2)
    assert loses.lost
    assert {key for _, key in finished(url).values()} == undisturbed(tmp_path, 8).keys()
    again = search_of(url)
    assert len(again.trials) == len({t.arch.key for t in again.trials}) == 8
    assert again.reruns == []


def test_who_lost_the_study_to_another_stops_writing(postgres):
    url = postgres.database()
    with contextlib.ExitStack() as other, owned("test", url) as check:
        search = search_of(url, check)

        def rob():
            cut_connections(url)
            other.enter_context(owned("test", url))

        with pytest.raises(StorageError, match=r"was taken over by another process .*it goes on there"):
            run_local(Runner(search, 8, AtTrial(3, rob)), worker_tasks.make, 2)
        assert len(finished(url)) == 3


@pytest.mark.slow
def test_a_clock_that_jumps_ends_nothing_and_hurries_nothing(tmp_path, small_space):
    """A day forth, then two days back, while limits of a minute are counted."""
    library = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
    if library is None:
        pytest.skip("faketime is not installed here")
    offset = tmp_path / "offset"
    offset.write_text("+0")
    command = [sys.executable, PROGRAM.parents[1] / "cli.py", "study", "--space", small_space, "--objective",
               "accuracy,macs", "--proxy", "smoke", "--set", "proxy.train_samples=64", "--n-trials", "6",
               "--storage", tmp_path / "s.db", "--study-name", "test", "--trial-timeout", "60", "--timeout", "600",
               "--workers", "1"]  # fmt: skip
    faked = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
             "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}  # fmt: skip
    process = subprocess.Popen(
        list(map(str, command)), env={**os.environ, **faked}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    jumps = iter(("+1d", "-1d"))
    for line in process.stderr:
        if line.startswith(("[2/", "[4/")):
            offset.write_text(next(jumps))
    assert process.wait(timeout=120) == 0
    record = optuna.load_study(study_name="test", storage=open_storage(str(tmp_path / "s.db"), create=False))
    done = record.get_trials(states=(TrialState.COMPLETE,))
    assert len(finished(str(tmp_path / "s.db"))) == 6
    days = {t.datetime_complete.date() for t in done}
    assert len(days) == 3, days  # the clock did jump


def test_a_truncated_record_of_a_training_is_made_again(tmp_path):
    from archsearch.utils.disk_cache import DiskCache

    store = DiskCache(tmp_path)
    store.put({"a": 1}, [1, 2, 3])
    path = store.path({"a": 1})
    path.write_text(path.read_text()[:-2])
    assert store.get({"a": 1}) is None
    store.put({"a": 1}, [4])
    assert store.get({"a": 1}) == [4]


@pytest.mark.ray
@pytest.mark.slow
def test_a_ray_node_that_is_killed_costs_its_trials_one_try(tmp_path):
    """Two nodes on loopback, one of which dies with what it was doing."""
    if not find_spec("ray"):  # not imported here: it reads its settings from the environment then
        pytest.skip("Ray is not installed here")
    done = subprocess.run(
        [sys.executable, PROGRAM.with_name("run_two_nodes.py"), str(tmp_path / "s.db")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost" in done.stdout
    assert {key for _, key in finished(str(tmp_path / "s.db")).values()} == undisturbed(tmp_path, 30).keys()
    shutil.rmtree(tmp_path, ignore_errors=True)
