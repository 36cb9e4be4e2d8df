"""Most of what real workers do is tested by what uses them (``tests/search``)."""

import time

import worker_tasks

from archsearch.utils.workers import Done, Event, Said, Workers


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
