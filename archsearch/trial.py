"""``Trial``, the record of one candidate, its parts, and the events that lead to it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.errors import OptionError

if TYPE_CHECKING:
    from archsearch.arch import Arch

#: Prefix of a study's trials where other names may stand beside them, and the mark before the number of a trial.
STUDY, MARK = "study:", "#"
#: What the names of files of networks end in, which are no trials.
FILES = (".json", ".safetensors")


def parse_trial(reference: str) -> tuple[str, int] | None:
    """Return the study and the number of a trial that a user names, ``STUDY#NUMBER`` or ``study:STUDY#NUMBER``.

    Args:
        reference: Network as the user wrote it.

    Returns:
        Both; None for what names no trial: a file, a folder, or a name without either mark.

    Raises:
        OptionError: The number or the study is missing, or the number is none.

    >>> parse_trial("study:night#3"), parse_trial("a#b#3"), parse_trial("convnext_tiny")
    (('night', 3), ('a#b', 3), None)
    """
    prefix = STUDY if reference.startswith(STUDY) else ""
    rest = reference.removeprefix(prefix)
    if not prefix and (MARK not in rest or rest.endswith(FILES) or Path(rest).is_dir()):
        return None
    study, mark, number = rest.rpartition(MARK)
    if not study or not number.isascii() or not number.isdigit():
        example = f"{prefix}{study if mark else rest}"
        raise OptionError(
            f"{reference}: write STUDY{MARK}NUMBER with the number of a trial, as {example or 'night'}{MARK}3"
        )
    return study, int(number)


@dataclass(frozen=True)
class Epoch:
    """One epoch of a learning curve.

    Attributes:
        epoch: Number of the epoch, from 1.
        train_loss: Mean loss over the epoch's samples, with label smoothing.
        accuracy: Top-1 on the validation split, a fraction.
        seconds: Wall time of training and validation.
        val_loss: Mean cross-entropy on the validation split, in nats; None where an earlier version did not note it.
    """

    epoch: int
    train_loss: float
    accuracy: float
    seconds: float
    val_loss: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """Results of evaluating an architecture, complete or not.

    Attributes:
        scores: Value per objective name, in the objective's unit.
        details: Data behind a counted or measured score (interval, block times), per objective name.
        curve: Learning curve of the proxy network, as far as it was trained.
        seconds: Wall time per phase (``count``, ``measure``, ``train``).
        error: Reason for failure, in one line; None without one.
        traceback: Traceback of an unexpected error.
        pruned: Whether early stopping ended its training.
        reused: Origin of each score that was known before (``STUDY#NUMBER``, or in words), per objective name.
        excess: Relative violation of each constraint that was checked; the constraint is broken above 0.
        accuracies: Accuracy per training seed, whose mean is the score; empty in studies that train one seed per
            candidate.
        seed_error: Reason why training with a further seed failed, in one line; None without one.
        put_off: Reason why a speed has to be timed again in another minute, in one line; None without one; kept in a
            trial that failed by it.
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
    accuracies: dict[int, float] = field(default_factory=dict)
    seed_error: str | None = None
    put_off: str | None = None

    @property
    def infeasible(self) -> bool:
        """Whether it breaks a constraint."""
        return any(share > 0 for share in self.excess.values())

    @property
    def disturbances(self) -> list[str]:
        """What disturbed its timings, each once, but for those whose score holds as it is relative to the reference."""
        bent = [detail for detail in self.details.values() if "fixed_reference_s" not in detail]
        return list(dict.fromkeys(word for one in bent for word in one.get("conditions", {}).get("warnings", ())))


def finite(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the scores that are finite numbers.

    >>> finite({"macs": 1e9, "accuracy": math.nan, "latency_ms": math.inf})
    {'macs': 1000000000.0}
    """
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def refuse_non_finite(evaluation: Evaluation) -> Evaluation:
    """Return an evaluation without the scores that are NaN or infinite; with any of them it is a failed one.

    Fronts, hypervolumes and models are of finite numbers: an infinite score is no good or bad one, it is a defect.
    """
    per_seed = {f"accuracy with seed {seed}": value for seed, value in evaluation.accuracies.items()}
    known = per_seed | evaluation.scores
    broken = [f"{name} is {value}" for name, value in known.items() if not math.isfinite(value)]
    if not broken:
        return evaluation
    return replace(
        evaluation,
        scores=finite(evaluation.scores),
        accuracies={} if any(name.startswith("accuracy") for name in broken) else evaluation.accuracies,
        excess=finite(evaluation.excess),
        error=evaluation.error or f"{broken[0]}, which is no finite number",
    )


@dataclass(frozen=True)
class EpochDone:
    """One more epoch of a candidate's first training is done.

    Attributes:
        known: Results so far; the last epoch of the curve is the new one.
    """

    known: Evaluation

    @property
    def epoch(self) -> Epoch:
        """The new epoch."""
        return self.known.curve[-1]


@dataclass(frozen=True)
class SeedDone:
    """A candidate is trained with one more seed, and could be trained with another.

    Attributes:
        known: Results so far, with the accuracy of each seed.
    """

    known: Evaluation


@dataclass(frozen=True)
class Waiting:
    """A candidate waits for its device.

    Attributes:
        holder: Process that holds the device, in words; empty where it belongs to the same study.
    """

    holder: str


@dataclass(frozen=True)
class GoingOn:
    """A candidate no longer waits for its device."""


#: Progress that a worker reports on its candidate.
WorkerEvent = EpochDone | SeedDone | Waiting | GoingOn
#: Progress callback; returns False to stop the training (after an epoch), or to train no further seed.
ProgressCallback = Callable[[WorkerEvent], bool]
#: Callback that takes who holds the device, in words, if it has to be waited for (``OWN`` where it is the same
#: run), and None when the wait is over.
OnWait = Callable[[str | None], None]
#: Holder of a device that belongs to the same run as the process that waits for it.
OWN = ""


def ignore_wait(holder: str | None) -> None:
    """Ignore that the device has to be waited for."""


@dataclass(frozen=True)
class Trial:
    """The immutable record of a finished candidate of a study.

    Attributes:
        number: Number within the study, from 0.
        state: ``complete``, ``pruned``, ``failed``, or ``infeasible`` where it breaks a constraint of the study.
        arch: Target architecture.
        params: Values of the open axes of the search space.
        seed: Seed of the proxy network's initialisation, data order and augmentation.
        evaluation: Scores, learning curve, timings, error.
        environment: Device, versions, git commit.
    """

    number: int
    state: str
    arch: "Arch"
    params: dict[str, Any]
    seed: int
    evaluation: Evaluation
    environment: dict[str, Any]
