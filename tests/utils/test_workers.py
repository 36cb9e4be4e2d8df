"""Most of what real workers do is tested by what uses them (``tests/search``)."""

import os
import signal
import time

import pytest
import worker_tasks

from archsearch.errors import ArchsearchError
from archsearch.utils.worker_events import Died, Done, Event, Said
from archsearch.utils.workers import Workers


def test_a_parent_of_a_job_that_has_waited_sleeps():
    """It has the same processor as what is timed."""
    with Workers(worker_tasks.make_patient, 1) as processes:
        processes.start(0, 1.0)
        event: Event | None = None
        while not isinstance(event, Done):
            for event in processes.events(0.5):
                if isinstance(event, Said):
                    processes.answer(0, None, waits=event.what == "waits")
                    before = time.process_time()
        assert time.process_time() - before < 0.3, "of a second"


def until(processes, wanted, answer=True):
    """Return the events of a kind until there are as many as wanted."""
    found = []
    end = time.monotonic() + 60
    while len(found) < wanted:
        assert time.monotonic() < end, f"only {found}"
        for event in processes.events(0.5):
            if isinstance(event, Said) and answer:
                processes.answer(event.worker, None)
            elif not isinstance(event, Said):
                found.append(event)
    return sorted(found, key=lambda event: event.worker)


@pytest.fixture
def pair(tmp_path):
    """Two workers of one process."""
    with Workers(worker_tasks.Side(tmp_path), 2, together=[(0, 1)]) as processes:
        yield processes


def test_workers_of_a_process_work_at_the_same_time(pair):
    for worker in pair.idle:
        pair.start(worker, "meet")
    one, other = until(pair, 2)
    assert one.result[0] == other.result[0]
    assert one.result[1] != other.result[1]


def test_the_death_of_a_shared_process_blames_nobody_and_separates_its_workers(pair):
    pair.start(0, "hang")
    pair.start(1, "die")
    deaths = until(pair, 2)
    assert [(death.worker, death.shared, death.blamed) for death in deaths] == [(0, True, False), (1, True, False)]
    assert "SIGKILL" in deaths[0].reason
    for worker in pair.idle:
        pair.start(worker, "meet")
    one, other = until(pair, 2)
    assert one.result[0] != other.result[0]
    pair.start(1, "die")
    (death,) = until(pair, 1)
    assert (death.shared, death.blamed) == (False, True)


def test_an_error_in_a_shared_process_blames_nobody_either(pair):
    pair.start(0, "hang")
    pair.start(1, "fail")
    deaths = until(pair, 2)
    assert {death.blamed for death in deaths} == {False}
    assert "nobody expected this" in deaths[1].reason


def test_one_that_takes_too_long_is_alone_to_blame(pair):
    pair.start(0, "hang", 0.5)
    pair.start(1, "hang")
    late, other = until(pair, 2)
    assert (late.late, late.blamed, late.reason) == (True, True, "took longer than 0.5 s")
    assert (other.late, other.blamed) == (False, False)
    for worker in pair.idle:
        pair.start(worker, "meet")
    one, other = until(pair, 2)
    assert one.result[0] == other.result[0], "they share a process again"


def test_a_process_is_replaced_after_its_last_job(pair):
    for worker in pair.idle:
        pair.start(worker, "meet")
    (before, _), _ = (done.result for done in until(pair, 2))
    pair.start(0, "hang")
    pair.start(1, "last")
    (last,) = until(pair, 1)
    assert last.result[0] == before
    assert pair.idle == [], "nothing begins in a process that is to be replaced"
    os.kill(before, signal.SIGKILL)
    until(pair, 1)
    pair.start(0, "say")
    (done,) = until(pair, 1)
    assert done.result[0] != before


def test_a_process_of_one_worker_is_replaced_after_its_last_job(tmp_path):
    with Workers(worker_tasks.Side(tmp_path), 1) as processes:
        pids = []
        for job in ("last", "say", "say"):
            assert processes.idle == [0]
            processes.start(0, job)
            (done,) = until(processes, 1)
            pids.append(done.result[0])
    assert pids[0] != pids[1] == pids[2]


def test_a_result_sent_before_the_end_counts(pair):
    pair.start(1, "die soon")
    pair.start(0, "say")
    time.sleep(3)  # the one has sent its result, and the process is gone
    one, other = until(pair, 2)
    assert isinstance(one, Done)
    assert isinstance(other, Died)
    assert other.blamed, "it was the only one at work"


def test_a_process_that_cannot_start_says_why():
    with Workers(worker_tasks.make_nothing, 2, together=[(0, 1)]) as processes:

        def start_all(times):
            for _ in range(times):
                for worker in processes.idle:
                    processes.start(worker, "say")
                events = list(processes.events(5))
            return events

        assert {event.blamed for event in start_all(1)} == {False}
        with pytest.raises(ArchsearchError, match="no memory on the device, 3 times in a row"):
            start_all(10)


def test_no_workers_at_all_are_refused():
    with pytest.raises(ValueError, match="a job needs at least 1 worker"):
        Workers(worker_tasks.make_patient, 0)
