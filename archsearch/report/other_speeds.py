"""A stored study with the speeds of another machine in place of those measured here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from archsearch.benchmark.speeds import Speeds
from archsearch.benchmark.timing import Timing
from archsearch.errors import OptionError
from archsearch.handover.candidates import Candidate
from archsearch.handover.confirmation import Confirmation
from archsearch.objectives import OBJECTIVES, FromTime, Objective, Tier
from archsearch.report.limits_elsewhere import LimitsElsewhere
from archsearch.report.view import StudyView
from archsearch.trial import Trial
from archsearch.utils.key_fields import key_fields

#: Kinds of step whose speed is added to a study without any: the first of these that the file has.
ADDED = ("infer", "latency", "train")


@dataclass(frozen=True)
class Elsewhere:
    """A study with another machine's speeds, and what they do not tell of it.

    Attributes:
        view: The study.
        unknown: Numbers of the complete trials that are left out as the file lacks a speed of theirs, ascending.
        untrained: Numbers of the trials that are left out as only constraints on speeds measured here kept them from
            training, ascending.
        unjudged: Constraints that are left out as the file does not tell enough to judge them.
    """

    view: StudyView
    unknown: list[int]
    untrained: list[int]
    unjudged: tuple[str, ...]


def with_speeds(view: StudyView, speeds: Speeds) -> Elsewhere:
    """Return a study with another machine's speeds, as if it had been timed there.

    Its measured objectives are read from the file; where it has none, the throughput of inference, or else another
    speed, becomes its last objective. Complete trials whose architecture lacks one in the file are left out.
    Constraints on speeds are judged by the file's. A confirmation's candidates are compared by the same speeds.

    Args:
        view: View of the study.
        speeds: Timings of another machine.

    Raises:
        OptionError: The file has none of the study's architectures.
    """
    objectives = _objectives(view, speeds)
    trials, left_out = [], []
    for trial in view.trials:
        if trial.state == "complete" and not speeds.knows(trial.arch, objectives):
            left_out.append(trial.number)
        else:
            trials.append(_rescored(trial, speeds.of(trial.arch)))
    if left_out and not any(trial.state == "complete" for trial in trials):
        wanted = ", ".join(o.name for o in objectives if o.tier is Tier.MEASURED)
        raise OptionError(
            f"--speeds {speeds.path}: it has {wanted} of none of the architectures of study {view.name!r}; "
            f"{timing_command(view.name, left_out)}"
        )
    limits = LimitsElsewhere.of(view, trials, speeds)
    judged = {trial.number: limits.judge(trial, objectives) for trial in trials}
    unjudged = tuple(map(str, limits.unjudged))
    recipe = view.recipe | {
        "constraints": [bound for bound in view.recipe.get("constraints", ()) if bound not in unjudged],
        "objectives": [objective.name for objective in objectives],
        "speeds": speeds.recipe(),
        "bench": key_fields(speeds.bench()),
    }
    kept = {name: axes for name, axes in view.importance.items() if OBJECTIVES[name].tier is not Tier.MEASURED}
    told = view.confirmation and _reconfirmed(view.confirmation, speeds, objectives)
    shown = [trial for trial in judged.values() if trial is not None]
    untrained = sorted(number for number, trial in judged.items() if trial is None)
    made = replace(view, recipe=recipe, trials=shown, importance=kept, confirmation=told)
    return Elsewhere(made, sorted(left_out), untrained, unjudged)


def timing_command(study: str, numbers: list[int]) -> str:
    """Return how to time trials on the other machine, in words.

    >>> timing_command("toy", [3, 5])
    '`benchmark study:toy#3 study:toy#5 --results-file FILE.json` times them there'
    """
    models = " ".join(f"study:{study}#{number}" for number in numbers)
    return f"`benchmark {models} --results-file FILE.json` times them there"


def _objectives(view: StudyView, speeds: Speeds) -> tuple[Objective, ...]:
    """The objectives of the study, with a speed among them."""
    own = tuple(OBJECTIVES[name] for name in view.recipe["objectives"])
    if any(objective.tier is Tier.MEASURED for objective in own):
        return own
    speed_of = {o.measured.step: o for o in OBJECTIVES.values() if isinstance(o.measured, FromTime)}
    timed = [speed_of[step] for step in ADDED]
    known = (added for added in timed if any(speeds.knows(arch, [added]) for arch in speeds.archs.values()))
    return *own, next(known, timed[0])


def _rescored(trial: Trial, timings: Mapping[str, Timing]) -> Trial:
    """A trial with the speeds of its timings, and none that was measured here."""
    known = trial.evaluation
    scores, details = _replaced(known.scores, known.details, timings)
    reused = {name: origin for name, origin in known.reused.items() if OBJECTIVES[name].measured is None}
    return replace(trial, evaluation=replace(known, scores=scores, details=details, reused=reused))


def _reconfirmed(confirmation: Confirmation, speeds: Speeds, objectives: tuple[Objective, ...]) -> Confirmation:
    """A confirmation whose candidates are compared by the speeds of the file."""

    def rescored(candidate: Candidate) -> Candidate:
        scores, details = _replaced(candidate.scores, candidate.details, speeds.of(candidate.arch))
        return replace(candidate, scores=scores, details=details)

    named = tuple(o.on(speeds.device).in_form(speeds.conditions.form) for o in objectives)
    return replace(confirmation, objectives=named, candidates=tuple(map(rescored, confirmation.candidates)))


def _replaced(
    scores: Mapping[str, float], details: Mapping[str, dict[str, Any]], timings: Mapping[str, Timing]
) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """Scores and the data behind them, with the speeds of timings and none that was measured here."""
    measured = {name: o.measured for name, o in OBJECTIVES.items() if o.measured is not None}
    scores = {name: value for name, value in scores.items() if name not in measured}
    details = {name: detail for name, detail in details.items() if name not in measured}
    for name, how in measured.items():
        timing = timings.get(how.step)
        value = None if timing is None else timing.score(how)
        if timing is not None and value is not None:
            scores[name], details[name] = value, timing.details()
    return scores, details
