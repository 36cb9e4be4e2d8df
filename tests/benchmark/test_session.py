"""Who is timed again after what; the processes are scripted (``test_process`` has real ones)."""

import dataclasses

import pytest
import tiny

from archsearch.benchmark.jobs import Job, Measured
from archsearch.benchmark.process import ProcessDied
from archsearch.benchmark.session import Session
from archsearch.benchmark.timing import Setting, Timing
from archsearch.errors import ArchsearchError, OptionError
from archsearch.recipes import BenchRecipe

NETWORKS = tuple(tiny.SMALL.replace(num_classes=n) for n in (2, 3, 4))
JOB = Job(NETWORKS, tiny.SMALL, BenchRecipe(batch_size=8, precision="fp32"))
NO_ROOM = Measured(deferred=True)


class Scripted(Session):
    """Answers by a function of the group instead of starting processes."""

    def __init__(self, answer, fit_batch=False):
        self.answer, self.fit_batch, self.groups, self.events = answer, fit_batch, [], []
        self.listen = lambda event: self.events.append(event["event"])

    def _in_one_process(self, job, group):
        self.groups.append(list(group))
        assert len(self.groups) < 20, "goes on forever"
        return self.answer(job, group)


def fine(index):
    return Measured(params=index)


def test_those_that_do_not_fit_take_their_turn():
    session = Scripted(lambda job, group: [fine(group[0]), *[NO_ROOM] * (len(group) - 1)])
    assert [m.params for m in session.run(JOB)] == [0, 1, 2]
    assert session.groups == [[0, 1, 2], [1, 2], [2]]
    assert session.events == ["deferred", "deferred"]


def test_where_nobody_fits_each_takes_its_turn_alone():
    session = Scripted(lambda job, group: [fine(0)] if len(group) == 1 else [NO_ROOM] * len(group))
    assert len(session.run(JOB)) == 3
    assert session.groups == [[0, 1, 2], [0], [1], [2]]


def died_at(index):
    def answer(job, group):
        if 1 in group:
            raise ProcessDied("SIGKILL", index(group))
        return [fine(i) for i in group]

    return answer


def test_a_death_is_charged_to_whom_it_hit():
    session = Scripted(died_at(lambda group: group.index(1)))
    results = session.run(JOB)
    assert [m.error for m in results] == [None, "SIGKILL", None]
    assert session.groups == [[0, 1, 2], [0, 2]]


def test_a_death_that_nobody_saw_coming_is_found_one_by_one():
    session = Scripted(died_at(lambda group: None))
    assert [m.error for m in session.run(JOB)] == [None, "SIGKILL", None]
    assert session.groups == [[0, 1, 2], [0], [1], [2]]
    assert session.events == ["died", "died"]


def test_a_death_at_the_reference_ends_all():
    session = Scripted(died_at(lambda group: -1))
    assert [m.error for m in session.run(JOB)] == ["SIGKILL"] * 3


@pytest.mark.parametrize("error", [OptionError("the reference cannot be timed"), ArchsearchError("KeyError: 'x'")])
def test_what_is_known_survives_a_later_groups_failure(error):
    def answer(job, group):
        if len(group) < 3:
            raise error
        return [fine(0), NO_ROOM, NO_ROOM]

    results = Scripted(answer).run(JOB)
    assert results[0] == fine(0)
    assert [m.error for m in results[1:]] == [str(error)] * 2


def test_what_is_wrong_from_the_beginning_is_said_at_once():
    def answer(job, group):
        raise OptionError("cpu has no TF32")

    with pytest.raises(OptionError, match="no TF32"):
        Scripted(answer).run(JOB)


def out_of_memory(above, kind="train"):
    def answer(job, group):
        batch = job.bench.batch_size
        setting = Setting(kind, "eager", "channels_last", "fp32", 1 if kind == "latency" else batch, 64)
        failed = Timing(setting, error=f"out of memory at batch {batch}")
        return [Measured(timings=(failed,) if batch > above else (), params=batch + 100 * job.probe) for _ in group]

    return answer


def test_the_batch_stays_unless_it_may_shrink():
    assert all(m.out_of_memory for m in Scripted(out_of_memory(2)).run(JOB))
    session = Scripted(out_of_memory(2), fit_batch=True)
    assert [m.params for m in session.run(JOB)] == [2] * 3
    assert session.events == ["refitted", "refitted"]
    assert len(session.groups) == 4  # loaded at 8, 4 and 2, then timed once


def test_one_image_that_does_not_fit_is_no_reason_to_shrink():
    session = Scripted(out_of_memory(0, "latency"), fit_batch=True)
    assert [m.params for m in session.run(JOB)] == [8] * 3


def test_a_reference_that_does_not_fit_is():
    known = Measured(reference_errors=("train, eager, channels_last: out of memory at batch 8",))
    assert known.out_of_memory
    assert not dataclasses.replace(known, reference_errors=("train: ValueError",)).out_of_memory
