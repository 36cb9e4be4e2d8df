"""Limits by a clock of the test's own; real workers are tested by what uses them (``tests/search``)."""

import pytest

from archsearch import workers
from archsearch.workers import WAIT_S, Limit


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(workers.time, "monotonic", made)
    return made


def test_a_limit_is_over_when_its_time_is_up(clock):
    limit = Limit(10)
    clock.now += 10
    assert not limit.over
    clock.now += 0.1
    assert limit.over


def test_what_others_took_is_forgiven(clock):
    limit = Limit(10)
    clock.now += 600
    limit.forgive(595)
    assert not limit.over
    clock.now += 6
    assert limit.over


def test_waiting_is_not_counted_and_does_not_last_for_ever(clock):
    limit = Limit(10)
    clock.now += 4
    limit.wait()
    clock.now += WAIT_S
    assert not limit.over
    limit.go_on()
    clock.now += 5.9
    assert not limit.over, "six seconds were left"
    clock.now += 0.2
    assert limit.over
    stuck = Limit(10)
    stuck.wait()
    stuck.wait()
    clock.now += WAIT_S + 10.1
    assert stuck.over
