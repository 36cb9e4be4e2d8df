"""Interrupts that wait; what they wait for in a study is tested with its storage (``tests/search/engines``)."""

import signal
import threading

from archsearch.utils.interrupts import SIGNALS, DeferredInterrupts


def test_another_thread_uses_what_the_main_one_used_before():
    deferred, done = DeferredInterrupts(), []
    before = [signal.getsignal(number) for number in SIGNALS]

    def work():
        with deferred:
            done.append(threading.current_thread())

    work()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [threading.main_thread(), thread]
    assert [signal.getsignal(number) for number in SIGNALS] == before
