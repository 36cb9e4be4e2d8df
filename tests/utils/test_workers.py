"""Limits by a clock of the test's own; most of what real workers do is tested by what uses them (``tests/search``)."""

import math
import time

import pytest
import worker_tasks

from archsearch.utils import time_limit
from archsearch.utils.time_limit import WAIT_S, TimeLimit
from archsearch.utils.workers import Done, Event, Said, Workers


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(time_limit.time, "monotonic", made)
    return made


def test_a_limit_is_over_when_its_time_is_up(clock):
    limit = TimeLimit(10)
    clock.now += 10
    assert not limit.over
    clock.now += 0.1
    assert limit.over


def test_what_others_took_is_extendn(clock):
    limit = TimeLimit(10)
    clock.now += 600
    limit.extend(595)
    assert not limit.over
    clock.now += 6
    assert limit.over


def test_waiting_is_not_counted_and_does_not_last_for_ever(clock):
    limit = TimeLimit(10)
    clock.now += 4
    limit.wait()
    clock.now += WAIT_S
    assert not limit.over
    limit.go_on()
    clock.now += 5.9
    assert not limit.over, "six seconds were left"
    clock.now += 0.2
    assert limit.over
    stuck = TimeLimit(10)
    stuck.wait()
    stuck.wait()
    clock.now += WAIT_S + 10.1
    assert stuck.over


def test_no_limit_stays_none_when_a_job_has_waited(clock):
    """Infinity less infinity would be a deadline that never is and never comes, which the parent looks for all day."""
    limit = TimeLimit(math.inf)
    limit.wait()
    clock.now += 5
    limit.go_on()
    assert limit.deadline == math.inf
    assert not limit.over


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
