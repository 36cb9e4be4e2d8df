"""What happens to the jobs of worker processes."""

from dataclasses import dataclass
from typing import Any

#: Number of workers that may die with a job before the job is to blame.
ATTEMPTS = 2


@dataclass(frozen=True)
class Said:
    """Progress of a job, whose worker waits for ``Workers.answer``.

    Attributes:
        worker: Index of the worker.
        what: Progress, of any type.
    """

    worker: int
    what: Any


@dataclass(frozen=True)
class Done:
    """The end of a job.

    Attributes:
        worker: Index of the worker.
        result: Result of the job.
    """

    worker: int
    result: Any


@dataclass(frozen=True)
class Died:
    """The death of a worker, and with it of its job; the next job gets a new process.

    Attributes:
        worker: Index of the worker.
        reason: Cause of death, in words.
        late: Whether it was killed because its job took too long.
        started: Whether it had been ready for jobs.
        shared: Whether the jobs of other workers ended with it, so that its own job need not be to blame.
    """

    worker: int
    reason: str
    late: bool = False
    started: bool = True
    shared: bool = False

    @property
    def blamed(self) -> bool:
        """Whether its job may be to blame."""
        return self.started and not self.shared


Event = Said | Done | Died
