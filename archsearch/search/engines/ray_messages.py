"""What actors of Ray report to the driver; both import this module, so it loads neither Ray nor Optuna."""

from dataclasses import dataclass
from typing import Any

from archsearch.trial import Evaluation, WorkerEvent


@dataclass(frozen=True)
class Begun:
    """An actor begins with a candidate, or cannot evaluate any.

    Attributes:
        error: Reason why it cannot; None where it begins.
    """

    error: Exception | None = None


@dataclass(frozen=True)
class Message:
    """One report of an actor on its candidate. A class, as Tune would take a mapping apart.

    Attributes:
        what: Progress, or at the end the evaluation.
        environment: Environment of the evaluation; None before the candidate's last message.
    """

    what: Evaluation | WorkerEvent | Begun
    environment: dict[str, Any] | None = None
