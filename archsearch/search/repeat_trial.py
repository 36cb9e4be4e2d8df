"""Evaluate one trial of a study again, to compare it with what is on record."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archsearch.errors import ArchsearchError, OptionError
from archsearch.objectives import OBJECTIVES
from archsearch.search.definition import create_or_resume, load
from archsearch.search.dispatch import work_of
from archsearch.search.execute import Progress
from archsearch.search.fixed_speed import fixed_speeds, step_seconds
from archsearch.search.place import place_of
from archsearch.search.resolve import ResolvedStudy, define, resolve
from archsearch.search.spec import Engine, StudySpec
from archsearch.search.storage.opening import in_words, open_storage
from archsearch.search.storage.records import trials_of
from archsearch.trial import Evaluation, Trial

if TYPE_CHECKING:
    from archsearch.search.definition import Study


@dataclass(frozen=True)
class Score:
    """One score, on record and now; None where it is not known."""

    score: str
    recorded: float | None
    now: float | None


@dataclass(frozen=True)
class Repetition:
    """A trial on record, and its evaluation now.

    Attributes:
        study: Name of the study.
        trial: The trial on record.
        now: What evaluating its architecture again gave.
    """

    study: str
    trial: Trial
    now: Evaluation

    @property
    def scores(self) -> list[Score]:
        """Every score that is on record or known now."""
        before, now = self.trial.evaluation.scores, self.now.scores
        return [Score(name, before.get(name), now.get(name)) for name in OBJECTIVES if name in {*before, *now}]


def repeat(spec: StudySpec | ResolvedStudy, number: int, progress: Progress | None = None) -> Repetition:
    """Count, time and train the architecture of a finished trial again, in this process; the study stays as it is.

    Args:
        spec: What the study was asked to do; its engine does not matter.
        number: Number of the trial.
        progress: Shows remarks and the progress of decoding images.

    Raises:
        OptionError: The study has no such trial.
        ArchsearchError: The evaluation fails now.
    """
    from archsearch.evaluate.evaluator import evaluate_again
    from archsearch.evaluate.machine import Machine, devices_for

    shown = progress or Progress()
    resolved = spec if isinstance(spec, ResolvedStudy) else resolve(spec.in_this_process(), create=False)
    spec = resolved.spec
    with place_of(Engine(workers=0), spec.device) as place:
        study, data = define(resolved, place, shown.track)
        trial = _recorded(spec.storage, study, number)
        speeds = fixed_speeds(study, spec.storage, place, False, shown.say)
        work = work_of(spec, study, Machine.here(devices_for(spec.device), 0), step_seconds(speeds))
        source = dataclasses.replace(work.source, retrain=True)
        shown.say(f"trial {trial.number} of {study.name} again; this changes nothing on record")
        now = evaluate_again(dataclasses.replace(work, source=source, remeasure=True, data=data), trial)
    if now.error is not None and (now.error != trial.evaluation.error or not now.scores):
        when = "fails now" if now.error != trial.evaluation.error else "fails again, as on record"
        raise ArchsearchError(f"trial {trial.number} {when}: {now.error}")
    return Repetition(study.name, trial, now)


def _recorded(url: str, study: "Study", number: int) -> Trial:
    """The finished trial of a number, of the study as it was begun."""
    storage = open_storage(url, create=False)
    with in_words():
        load(study.name, storage)  # so that none is made
        trials = {trial.number: trial for trial in trials_of(create_or_resume(study, storage))}
    if number not in trials:
        raise OptionError(
            f"--repeat {number}: study {study.name!r} has no finished trial of that number "
            "with an architecture of its own; see `pareto STUDY --all`"
        )
    return trials[number]
