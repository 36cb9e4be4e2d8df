"""Time limits of jobs."""

import math
import time

#: Minimum seconds that a job may wait for its device, beside its limit.
WAIT_S = 600.0


class TimeLimit:
    """A time limit by the monotonic clock, which leaves out time that is not the job's fault."""

    def __init__(self, seconds: float) -> None:
        """Start the clock.

        Args:
            seconds: Time that the job may take; infinity for any.
        """
        self.seconds, self.deadline = seconds, time.monotonic() + seconds
        self._waits_since: float | None = None

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self.deadline

    def extend(self, seconds: float) -> None:
        """Add time that others took."""
        self.deadline += seconds

    def wait(self) -> None:
        """Stop counting until ``go_on``, as the job waits for its device; that has a limit of its own."""
        if self._waits_since is None and math.isfinite(self.deadline):
            self._waits_since = time.monotonic()
            self.deadline += max(self.seconds, WAIT_S)

    def go_on(self) -> None:
        """Count again: the job reported something."""
        if self._waits_since is not None:
            self.deadline += time.monotonic() - self._waits_since - max(self.seconds, WAIT_S)
            self._waits_since = None
