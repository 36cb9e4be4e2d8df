"""Conversion between trials and Optuna's records of them.

User attributes of a trial:

arch          target architecture                 seed          seed of the training
arch_key      hash of the architecture            environment   device, versions, commit
params        values of the open axes             error         reason of a failure
scores        value per objective                 traceback     traceback of an unexpected failure
details       interval and blocks of a timing     lost          reason why its process ended; it runs again
curve         learning curve, per epoch           rerun_of      number of the lost trial that it repeats
seconds       wall time per phase                 duplicate_of  number of the trial that it was written twice for
stopped       whether it was pruned               deaths        number of workers that died with it
reused        origin of each reused score         draw          number of draws before it
                                                  start_from    origin of a start point, not of the sampler

Violations of a study's constraints are kept as Optuna's constraints. An infeasible trial is complete to Optuna, with an
infinitely bad value for each score that was not computed. A trial with a score that is NaN or infinite is a failed one;
earlier versions recorded it as complete, and it is read as failed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from archsearch.arch import Arch
from archsearch.errors import ArchError
from archsearch.objectives import Objective
from archsearch.search.definition import RECIPE
from archsearch.search.storage.rescoring import Rescoring
from archsearch.trial import Epoch, Evaluation, Trial, refuse_non_finite

#: State of a finished trial in ``Trial`` by Optuna's state.
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
#: Attribute of a pruned trial; it keeps the name that it has in the storages of earlier versions.
PRUNED = "stopped"


def start_attrs(arch: Arch, params: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the user attributes of a trial that starts."""
    return {"arch": arch.key_fields(), "arch_key": arch.key, "params": params, "seed": seed}


def end_attrs(evaluation: Evaluation, environment: dict[str, Any]) -> dict[str, Any]:
    """Return the user attributes that a finished trial adds; empty ones are left out."""
    attrs = {**asdict(evaluation), "environment": environment}
    del attrs["excess"]  # stored as Optuna's constraints
    attrs[PRUNED] = attrs.pop("pruned")
    attrs["details"] |= _seed_details(attrs.pop("accuracies"), attrs.pop("seed_error"))
    attrs["curve"] = [asdict(epoch) for epoch in evaluation.curve]
    return {name: value for name, value in attrs.items() if value not in (None, False, {}, [], ())}


def _seed_details(accuracies: Mapping[int, float], error: str | None) -> dict[str, Any]:
    """Return the stored form of the accuracies per seed, an entry of ``details``; empty where there are none."""
    if not accuracies:
        return {}
    note = {"note": error} if error else {}
    return {"accuracy": {"seeds": list(accuracies), "values": list(accuracies.values()), **note}}


def accuracies_of(attrs: Mapping[str, Any]) -> dict[int, float]:
    """Return the accuracies per seed from a trial's attributes; empty in a study of one seed per candidate."""
    stored = attrs.get("details", {}).get("accuracy", {})
    return dict(zip(stored.get("seeds", ()), stored.get("values", ()), strict=True))


def to_trial(frozen: FrozenTrial) -> Trial:
    """Return the record of a finished trial."""
    attrs = frozen.user_attrs
    evaluation = refuse_non_finite(_evaluation(frozen))
    return Trial(
        number=frozen.number,
        state="failed" if evaluation.error is not None else _state(frozen),
        arch=Arch.from_dict(attrs["arch"]),
        params=attrs["params"],
        seed=attrs["seed"],
        evaluation=evaluation,
        environment=attrs.get("environment", {}),
    )


def _evaluation(frozen: FrozenTrial) -> Evaluation:
    """Return the evaluation as recorded."""
    attrs = frozen.user_attrs
    details: dict[str, dict[str, Any]] = attrs.get("details", {})
    return Evaluation(
        scores=attrs.get("scores", {}),
        details={name: detail for name, detail in details.items() if name != "accuracy"},
        curve=tuple(Epoch(**entry) for entry in attrs.get("curve", ())),
        seconds=attrs.get("seconds", {}),
        error=attrs.get("error"),
        traceback=attrs.get("traceback"),
        pruned=attrs.get(PRUNED, False),
        excess=frozen.constraints,
        reused=attrs.get("reused", {}),
        accuracies=accuracies_of(attrs),
        seed_error=details.get("accuracy", {}).get("note"),
    )


def _state(frozen: FrozenTrial) -> str:
    """Return the state as recorded; ``infeasible`` for a trial that violates a constraint."""
    violated = any(share > 0 for share in frozen.constraints.values())
    return "infeasible" if violated and PRUNED not in frozen.user_attrs else STATES[frozen.state]


def values_of(evaluation: Evaluation, objectives: Sequence[Objective]) -> list[float]:
    """Return the values of a complete trial for Optuna, infinitely bad where an infeasible one was not evaluated.

    Optuna's samplers clip infinite values to the worst finite ones; a made-up number would mislead their models.
    """
    worst = {"maximize": -math.inf, "minimize": math.inf}
    spared = {o.name: worst[o.direction] for o in objectives} if evaluation.infeasible else {}
    return [(spared | evaluation.scores)[o.name] for o in objectives]


def is_candidate(frozen: FrozenTrial) -> bool:
    """Whether a trial is the finished record of an architecture, neither lost nor a duplicate."""
    return (
        frozen.state in STATES and not {"lost", "duplicate_of"} & set(frozen.user_attrs) and "arch" in frozen.user_attrs
    )


def trials_of(study: optuna.Study) -> list[Trial]:
    """Return the finished candidates of a study, by number."""
    scored = rescoring_of(study)
    return [to_trial(scored(frozen)) for frozen in study.get_trials(deepcopy=False) if is_candidate(frozen)]


def rescoring_of(study: optuna.Study) -> Rescoring:
    """Return the reader of a study's scores; without a recipe the study has none to read."""
    return Rescoring(study, study.user_attrs.get(RECIPE, {}).get("objectives", ()))


class Tail:
    """Reader of a study's finished candidates, as they are recorded.

    Attributes:
        running: Number of trials that were running at the last look.
        trouble: Why a trial could not be read; None if all could.
    """

    def __init__(self, study: optuna.Study) -> None:
        """Prepare; nothing is read yet.

        Args:
            study: Study in its storage.
        """
        self.study, self.running = study, 0
        self.trouble: str | None = None
        self._scored = rescoring_of(study)
        self._open: set[int] = set()
        self._seen = 0

    def look(self) -> list[Trial]:
        """Return the candidates that have finished since the last look, in the order in which they finished."""
        known = self.study.get_trials(deepcopy=False)
        fresh = [known[number] for number in sorted({*self._open, *range(self._seen, len(known))})]
        self._open = {frozen.number for frozen in fresh if not frozen.state.is_finished()}
        self._seen = len(known)
        self.running = sum(frozen.state == TrialState.RUNNING for frozen in fresh)
        ended = sorted((frozen for frozen in fresh if is_candidate(frozen)), key=_end)
        return [trial for trial in map(self._read, ended) if trial is not None]

    def _read(self, frozen: FrozenTrial) -> Trial | None:
        try:
            return to_trial(self._scored(frozen))
        except (ArchError, KeyError, TypeError, ValueError) as error:
            self.trouble = f"trial {frozen.number} of {self.study.study_name} cannot be read: {error}"
            return None


def _end(frozen: FrozenTrial) -> tuple[datetime, int]:
    return frozen.datetime_complete or datetime.max, frozen.number
