"""``Trial``: the record of one candidate, and the pieces that it is made of."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsearch.arch import Arch


@dataclass(frozen=True)
class Epoch:
    """One epoch of a learning curve.

    Attributes:
        epoch: counted from 1.
        train_loss: mean over the epoch's samples (with label smoothing).
        accuracy: top-1 on the validation split, a fraction.
        seconds: training and validation together.
    """

    epoch: int
    train_loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Waiting:
    """Whoever evaluates waits for its device; ``holder`` says who has it."""

    holder: str


@dataclass(frozen=True)
class Evaluation:
    """What evaluating an architecture gave, finished or not.

    Attributes:
        scores: value per objective name, in the objective's unit.
        details: what stands behind a score (interval, block times), per objective name.
        curve: the learning curve of the proxy, as far as it came.
        seconds: wall time per phase (``count``, ``measure``, ``train``).
        error: why it ended early, in one line; None if it did not.
        traceback: of an error that nobody expected.
        pruned: Whether early stopping ended its training.
        reused: where a score was known before, per objective name (``STUDY#NUMBER``, or in words).
        excess: how far it is off each constraint that was checked, as a share of the bound; above 0 breaks it.
    """

    scores: dict[str, float] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    curve: tuple[Epoch, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    traceback: str | None = None
    pruned: bool = False
    reused: dict[str, str] = field(default_factory=dict)
    excess: dict[str, float] = field(default_factory=dict)

    @property
    def infeasible(self) -> bool:
        """Whether it breaks a constraint."""
        return any(share > 0 for share in self.excess.values())


#: Told after an epoch what is known by then, or of waiting; whether to go on.
ProgressCallback = Callable[[Evaluation | Waiting], bool]


@dataclass(frozen=True)
class Trial:
    """One finished, immutable record of a study.

    Attributes:
        number: within the study, from 0.
        state: ``complete``, ``pruned``, ``failed``, or ``infeasible`` where a constraint of the study is not met.
        arch: the target architecture.
        params: the axis values that made it.
        seed: of the proxy's initialisation, data order and augmentation.
        evaluation: scores, curve, timings, error.
        environment: device, versions, git commit.
    """

    number: int
    state: str
    arch: "Arch"
    params: dict[str, Any]
    seed: int
    evaluation: Evaluation
    environment: dict[str, Any]
