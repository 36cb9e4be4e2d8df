"""Constraints on speeds, judged anew by the speeds of another machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from archsearch.arch import Arch
from archsearch.benchmark.speeds import Speeds
from archsearch.errors import ArchError
from archsearch.evaluate.constraint import Constraint, parse_constraints
from archsearch.objectives import Objective, Tier
from archsearch.report.view import StudyView
from archsearch.trial import Trial


@dataclass(frozen=True)
class LimitsElsewhere:
    """Constraints of a study on measured quantities, for its trials with the scores of another machine.

    Attributes:
        judged: Constraint and the value that its bound is relative to.
        unjudged: Constraints that the speeds do not tell enough for.
    """

    judged: Mapping[Constraint, float]
    unjudged: tuple[Constraint, ...]

    @classmethod
    def of(cls, view: StudyView, trials: Sequence[Trial], speeds: Speeds) -> "LimitsElsewhere":
        """Find out which constraints can be judged: by speeds of all complete trials, and of the baseline if need be.

        Args:
            view: View of the study.
            trials: Its trials with the scores of the other machine.
            speeds: Timings of the other machine.
        """
        judged, unjudged = dict[Constraint, float](), list[Constraint]()
        complete = [trial.evaluation.scores for trial in trials if trial.state == "complete"]
        for constraint in parse_constraints(view.recipe.get("constraints", ())):
            if constraint.objective.tier is not Tier.MEASURED:
                continue
            unit = _baseline_value(view, constraint.objective, speeds) if constraint.of_baseline else 1.0
            if unit and all(constraint.objective.name in scores for scores in complete):
                judged[constraint] = unit
            else:
                unjudged.append(constraint)
        return cls(judged, tuple(unjudged))

    def judge(self, trial: Trial, objectives: Sequence[Objective]) -> Trial | None:
        """Return a trial with the state that it has by these constraints.

        Args:
            trial: Trial with the scores of the other machine.
            objectives: Objectives of the study.

        Returns:
            The trial; None where it was spared the training and breaks no constraint any more, so that it lacks scores.
        """
        known = trial.evaluation
        ours = {str(constraint) for constraint in (*self.judged, *self.unjudged)}
        excess = {name: share for name, share in known.excess.items() if name not in ours}
        for constraint, unit in self.judged.items():
            if constraint.objective.name in known.scores:
                excess[str(constraint)] = constraint.excess(known.scores[constraint.objective.name] / unit)
        made = replace(trial, evaluation=replace(known, excess=excess))
        if trial.state not in ("complete", "infeasible"):
            return made
        if made.evaluation.infeasible:
            return replace(made, state="infeasible")
        whole = all(objective.name in known.scores for objective in objectives)
        return replace(made, state="complete") if whole else None


def _baseline_value(view: StudyView, objective: Objective, speeds: Speeds) -> float | None:
    """The baseline's value of a measured quantity; None where the speeds have none."""
    try:
        baseline = Arch.from_dict(view.recipe["space"]["baseline"])
    except (KeyError, ArchError):  # a mixer that is not known here
        return None
    how = objective.measured
    timing = None if how is None else speeds.of(baseline).get(how.step)
    return None if timing is None or how is None else timing.score(how)
