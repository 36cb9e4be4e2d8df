"""Trials as Optuna keeps them: user attributes under documented names, both ways.

arch          the target, all fields           seed         of the proxy's training
arch_key      its hash                         environment  device, versions, commit
params        values of the open axes          error        why a trial failed
scores        value per objective              traceback    of an unexpected failure
details       interval and blocks of a timing  lost         its process ended; run again
curve         one entry per epoch              rerun_of     number of the lost trial
seconds       wall time per phase              duplicate_of number of the same architecture
stopped       training ended early             deaths       of workers that had it
reused        score: where it was known       draw         how many draws came before
                                               start_from   who named it, if not the sampler

How far a trial is off the study's constraints is kept as Optuna keeps constraints; an infeasible one is complete there,
with an infinitely bad value for each score that it was spared.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from archsearch.arch import Arch
from archsearch.errors import ArchError
from archsearch.objectives import Objective
from archsearch.trial import Epoch, Evaluation, Trial

#: Of a finished trial, as ``Trial`` has it.
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "stopped", TrialState.FAIL: "failed"}


def start_attrs(arch: Arch, params: dict[str, Any], seed: int) -> dict[str, Any]:
    """What is known before a trial starts."""
    return {"arch": arch.to_dict(), "arch_key": arch.key, "params": params, "seed": seed}


def end_attrs(evaluation: Evaluation, environment: dict[str, Any]) -> dict[str, Any]:
    """What is known after it; empty parts are left out."""
    attrs = {**asdict(evaluation), "environment": environment}
    del attrs["excess"]  # kept as Optuna's constraints
    attrs["curve"] = [asdict(epoch) for epoch in evaluation.curve]
    return {name: value for name, value in attrs.items() if value not in (None, False, {}, [], ())}


def to_trial(frozen: FrozenTrial) -> Trial:
    """The record of a finished trial."""
    attrs = frozen.user_attrs
    return Trial(
        number=frozen.number,
        state=_state(frozen),
        arch=Arch.from_dict(attrs["arch"]),
        params=attrs["params"],
        seed=attrs["seed"],
        evaluation=Evaluation(
            scores=attrs.get("scores", {}),
            details=attrs.get("details", {}),
            curve=tuple(Epoch(**entry) for entry in attrs.get("curve", ())),
            seconds=attrs.get("seconds", {}),
            error=attrs.get("error"),
            traceback=attrs.get("traceback"),
            stopped=attrs.get("stopped", False),
            excess=frozen.constraints,
            reused=attrs.get("reused", {}),
        ),
        environment=attrs.get("environment", {}),
    )


def _state(frozen: FrozenTrial) -> str:
    """As on record; one that was not evaluated, or not only, because of a constraint is infeasible."""
    violated = any(share > 0 for share in frozen.constraints.values())
    return "infeasible" if violated and not {"error", "stopped"} & set(frozen.user_attrs) else STATES[frozen.state]


def values_of(evaluation: Evaluation, objectives: Sequence[Objective]) -> list[float]:
    """What Optuna is told of a complete trial; what an infeasible one was spared is infinitely bad.

    (Models of Optuna's take that for the worst that they have seen; a number would be one to learn from.)
    """
    worst = {"maximize": -math.inf, "minimize": math.inf}
    spared = {o.name: worst[o.direction] for o in objectives} if evaluation.infeasible else {}
    return [(spared | evaluation.scores)[o.name] for o in objectives]


def is_candidate(frozen: FrozenTrial) -> bool:
    """Whether a trial is the finished record of an architecture: not lost, not a duplicate."""
    return (
        frozen.state in STATES and not {"lost", "duplicate_of"} & set(frozen.user_attrs) and "arch" in frozen.user_attrs
    )


def trials_of(study: optuna.Study) -> list[Trial]:
    """The finished candidates of a study, in order."""
    return [to_trial(frozen) for frozen in study.get_trials(deepcopy=False) if is_candidate(frozen)]


class Tail:
    """The finished candidates of a study, as they come.

    Attributes:
        running: trials that were under way at the last look.
        trouble: why a trial could not be read; None where all could.
    """

    def __init__(self, study: optuna.Study) -> None:
        """Args: study: open; nothing is read yet."""
        self.study, self.running = study, 0
        self.trouble: str | None = None
        self._open: set[int] = set()
        self._seen = 0

    def look(self) -> list[Trial]:
        """Those that have finished since the last look, in the order in which they did."""
        known = self.study.get_trials(deepcopy=False)
        fresh = [known[number] for number in sorted({*self._open, *range(self._seen, len(known))})]
        self._open = {frozen.number for frozen in fresh if not frozen.state.is_finished()}
        self._seen = len(known)
        self.running = sum(frozen.state == TrialState.RUNNING for frozen in fresh)
        ended = sorted((frozen for frozen in fresh if is_candidate(frozen)), key=_end)
        return [trial for trial in map(self._read, ended) if trial is not None]

    def _read(self, frozen: FrozenTrial) -> Trial | None:
        try:
            return to_trial(frozen)
        except (ArchError, KeyError, TypeError, ValueError) as error:
            self.trouble = f"trial {frozen.number} of {self.study.study_name} cannot be read: {error}"
            return None


def _end(frozen: FrozenTrial) -> tuple[datetime, int]:
    return frozen.datetime_complete or datetime.max, frozen.number
