"""Limits by a clock of the test's own."""

import math

import pytest

from archsearch.utils import time_limit
from archsearch.utils.time_limit import WAIT_S, TimeLimit


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
