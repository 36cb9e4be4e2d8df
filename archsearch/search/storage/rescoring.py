"""Speeds of trials that were recorded before a study's speeds referred to a fixed speed of the reference.

Such a trial has the ratio to the reference and the reference's blocks in its details. Its scores are read as that ratio
times the fixed speed, which for a study without one comes from the blocks of its trials.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from archsearch.benchmark.reference_speed import DEVICE_FACTS, ReferenceSpeed
from archsearch.objectives import OBJECTIVES, FromTime
from archsearch.stats.intervals import retimed_half_width

#: Study attribute with the fixed speed of the reference by kind of step.
REFERENCE_SPEEDS = "reference_speeds"


class Rescoring:
    """Reads the trials of one study with the scores that they have beside a fixed speed of the reference."""

    def __init__(self, record: optuna.Study, names: Sequence[str]) -> None:
        """Read nothing yet.

        Args:
            record: Study in its storage.
            names: Names of its objectives, in the order of the recorded values.
        """
        self.record, self.names = record, tuple(names)

    @cached_property
    def speeds(self) -> dict[str, ReferenceSpeed]:
        """Speed of the reference by kind of step, as recorded or else from the trials' blocks."""
        recorded = self.record.user_attrs.get(REFERENCE_SPEEDS)
        if recorded is not None:
            return {kind: ReferenceSpeed.from_dict(data) for kind, data in recorded.items()}
        return speeds_from(self.record.get_trials(deepcopy=False))

    def __call__(self, frozen: FrozenTrial) -> FrozenTrial:
        """Return a trial with its scores; the same one where they stand."""
        details = frozen.user_attrs.get("details", {})
        scores = frozen.user_attrs.get("scores", {})
        former = [name for name in scores.keys() & details.keys() if _is_former(name, details[name])]
        fixed = {name: self.speeds[_step(name)].step_s for name in former if _step(name) in self.speeds}
        if not fixed:
            return frozen
        details = details | {name: {**details[name], "fixed_reference_s": seconds} for name, seconds in fixed.items()}
        scores = scores | {name: score_of(name, details[name], scores[name]) for name in fixed}
        other = copy.copy(frozen)
        other.user_attrs = {**frozen.user_attrs, "details": details, "scores": scores}
        if frozen.values is not None:
            pairs = zip(self.names, frozen.values, strict=True)
            other.values = [scores[name] if name in fixed else value for name, value in pairs]
        return other


def refixed(name: str, detail: Mapping[str, Any], fixed: Mapping[str, float]) -> dict[str, Any]:
    """Return the details of a timing beside another fixed speed of the reference.

    Args:
        name: Name of the objective.
        detail: What ``Timing.details`` returned.
        fixed: Seconds per step of the reference by kind of step.
    """
    if not _is_timed(name, detail) or _step(name) not in fixed:
        return dict(detail)
    return {**detail, "fixed_reference_s": fixed[_step(name)]}


def score_of(name: str, detail: Mapping[str, Any], recorded: float) -> float:
    """Return a speed from the details of its timing: the relative throughput times that of the fixed reference.

    Args:
        name: Name of the objective.
        detail: What ``Timing.details`` returned.
        recorded: Score to return where the timing has no ratio.
    """
    how = OBJECTIVES[name].measured
    if not isinstance(how, FromTime) or not detail.get("ratio") or "fixed_reference_s" not in detail:
        return recorded
    return how.value(detail["fixed_reference_s"] / detail["ratio"], detail["batch_size"])


def is_known(detail: Mapping[str, Any], within: float) -> bool:
    """Return whether a recorded timing is known well enough to be taken over.

    Args:
        detail: What ``Timing.details`` returned.
        within: As for ``Timing.known``.
    """
    ends = detail.get("ratio_interval")
    if not ends or not within:
        return not detail.get("conditions", {}).get("warnings")
    return retimed_half_width(detail["ratio"], (ends[0], ends[1])) <= within


def waited(detail: Mapping[str, Any], versions: Mapping[str, str]) -> bool:
    """Return whether a recorded timing is made of steps as they are timed now.

    On a GPU, the steps of a latency did not wait for each other in earlier versions.

    Args:
        detail: What ``Timing.details`` returned.
        versions: Versions that speeds depend on, from ``archsearch.nn.device.versions``.
    """
    return detail.get("kind") != "latency" or "cuda" not in versions or "single_steps_s" in detail


def same_runtime(detail: Mapping[str, Any]) -> bool:
    """Return whether a recorded timing is of the version of onnxruntime that is installed, or of none.

    Args:
        detail: What ``Timing.details`` returned.
    """
    if "runtime" not in detail:
        return True
    from archsearch.benchmark.onnx_steps import runtime_version

    return bool(detail["runtime"]["onnxruntime"] == runtime_version())


def speeds_from(trials: Iterable[FrozenTrial]) -> dict[str, ReferenceSpeed]:
    """Return the reference's speeds from the blocks that trials have recorded; nothing where none has.

    Args:
        trials: Trials of one study, of one device.
    """
    blocks: dict[str, tuple[list[float], list[float]]] = {}
    facts: dict[str, Any] = {}
    for trial in trials:
        for name, detail in trial.user_attrs.get("details", {}).items():
            if not _is_former(name, detail):
                continue
            quiet, disturbed = blocks.setdefault(_step(name), ([], []))
            (disturbed if detail.get("conditions", {}).get("warnings") else quiet).extend(detail["reference_s"])
            facts = facts or trial.user_attrs.get("environment", {})
    shown = {name: facts.get(name) for name in DEVICE_FACTS}
    return {
        kind: ReferenceSpeed.of(quiet, disturbed, shown, "blocks of its trials")
        for kind, (quiet, disturbed) in blocks.items()
        if quiet or disturbed
    }


def hosts_of(record: optuna.Study) -> list[str]:
    """Return the names of the hosts that a study's trials were timed on, sorted.

    Args:
        record: Study in its storage.
    """
    timed = [trial.user_attrs for trial in record.get_trials(deepcopy=False) if trial.user_attrs.get("details")]
    return sorted({attrs["environment"]["host"] for attrs in timed if "host" in attrs.get("environment", {})})


def _is_former(name: str, detail: Mapping[str, Any]) -> bool:
    """Whether a detail is a timing of ours beside a reference, recorded before there was a fixed speed."""
    return _is_timed(name, detail) and not {"fixed_reference_s", "device"} & detail.keys()


def _is_timed(name: str, detail: Mapping[str, Any]) -> bool:
    timed = name in OBJECTIVES and isinstance(OBJECTIVES[name].measured, FromTime)
    return timed and bool(detail.get("ratio")) and bool(detail.get("reference_s"))


def _step(name: str) -> str:
    how = OBJECTIVES[name].measured
    assert isinstance(how, FromTime)  # noqa: S101 - callers see to that
    return how.step
