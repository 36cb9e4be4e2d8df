"""Interrupts (Ctrl-C, SIGTERM) that wait for the end of what must not be cut in two."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

#: Signals whose handlers raise an exception wherever the program happens to be.
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class DeferredInterrupts:
    """Hold back the first interrupt until the end of a context; a second one interrupts at once.

    Signals that this process ignores, or that end it without a handler, are left as they are. Does nothing outside of
    the main thread, which is the only one that signals interrupt.

    >>> done = []
    >>> try:
    ...     with DeferredInterrupts():
    ...         signal.raise_signal(signal.SIGINT)
    ...         done.append("all of it")
    ... except KeyboardInterrupt:
    ...     print("interrupted, after", *done)
    interrupted, after all of it
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}
        self._held: int | None = None

    def __enter__(self) -> "DeferredInterrupts":
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            self._handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
            for number in self._handlers:
                signal.signal(number, self._hold)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self.deliver()

    def deliver(self) -> None:
        """Interrupt now if an interrupt was held back."""
        if self._held is not None:
            held, self._held = self._held, None
            self._handlers[held](held, None)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self._held is not None:
            self.deliver()
        self._held = number
