"""Interrupts (Ctrl-C, SIGTERM): their handlers, and what must not be cut in two."""

import signal
import threading
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any

#: Signals whose handlers raise an exception wherever the program happens to be.
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def set_handlers(handlers: Mapping[int, Any]) -> None:
    """Set signal handlers; do nothing outside of the main thread, the only one that signals interrupt.

    Args:
        handlers: Handler by the number of its signal.
    """
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)


class DeferredInterrupts:
    """Hold back the first interrupt until the end of a context; a second one interrupts at once.

    Signals that this process ignores, or that end it without a handler, are left as they are. Does nothing outside of
    the main thread.

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
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        self._handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
        set_handlers(dict.fromkeys(self._handlers, self._hold))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        set_handlers(self._handlers)
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
