"""Candidates of a confirmation: the front of a study, the baseline of its space, and dominated trials as controls."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from archsearch.arch import Arch
from archsearch.objectives import Objective
from archsearch.stats.fronts import costs, nondominated
from archsearch.stats.noise import AccuracyNoise, front_chances, with_level_seeds
from archsearch.trial import Trial


@dataclass(frozen=True)
class Candidate:
    """A network that a confirmation trains.

    Attributes:
        arch: Target architecture.
        role: Why it is trained: ``front`` (of the search's scores), ``contender`` (next to it by P(front)),
            ``baseline`` (of the space) or ``control`` (dominated).
        baseline: Whether it is the baseline of the space, whatever its role.
        number: Number of its trial; None for a baseline that the study has not evaluated.
        scores: Scores of the search by objective; counted ones alone for such a baseline.
        details: Data behind its measured scores, as in ``Evaluation.details``.
        accuracies: Accuracy of the search per seed, where it trained with several.
    """

    arch: Arch
    role: str
    baseline: bool = False
    number: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    accuracies: Mapping[int, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name in tables and files: ``trial 3``, or ``baseline``."""
        return "baseline" if self.number is None else f"trial {self.number}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data for ``from_dict``."""
        return {**asdict(self), "arch": self.arch.key_fields()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Candidate":
        """Read what ``to_dict`` returned."""
        accuracies = {int(seed): value for seed, value in data["accuracies"].items()}  # JSON's keys are texts
        return cls(**{**data, "arch": Arch.from_dict(data["arch"]), "accuracies": accuracies})


def choose(
    trials: Sequence[Trial],
    objectives: Sequence[Objective],
    noise: AccuracyNoise | None,
    baseline: Arch,
    top: int | None = None,
    controls: int = 3,
) -> list[Candidate]:
    """Choose what a confirmation trains.

    Args:
        trials: Trials of the study.
        objectives: Objectives of the study; accuracy is among them.
        noise: Noise of the study's accuracies.
        baseline: Baseline of the space.
        top: Number of members: those of the front first, then others, by the probability of being on the front; None
            for the whole front.
        controls: Number of dominated trials, spread evenly over the accuracies.

    Returns:
        Members, the baseline unless it is one of them, then controls; each architecture once. Empty without a
        complete trial.
    """
    complete = [trial for trial in with_level_seeds(trials) if trial.state == "complete"]
    if not complete:
        return []
    chances = front_chances(complete, objectives, noise)
    likely = [0.0] * len(complete) if chances is None else chances.tolist()
    front = nondominated(costs(complete, objectives))

    def candidate(place: int, role: str) -> Candidate:
        trial = complete[place]
        known, same = trial.evaluation, trial.arch == baseline
        return Candidate(trial.arch, role, same, trial.number, known.scores, known.details, known.accuracies)

    order = sorted(range(len(complete)), key=lambda i: (not front[i], -likely[i], complete[i].number))
    members = order[: int(front.sum()) if top is None else top]
    chosen = [candidate(place, "front" if front[place] else "contender") for place in members]
    rest = [place for place in order if place not in members]
    if not any(one.baseline for one in chosen):
        tried = next((place for place in rest if complete[place].arch == baseline), None)
        chosen.append(Candidate(baseline, "baseline", True) if tried is None else candidate(tried, "baseline"))
        rest = [place for place in rest if place != tried]
    dominated = sorted((i for i in rest if not front[i]), key=lambda i: -complete[i].evaluation.scores["accuracy"])
    return chosen + [candidate(place, "control") for place in _spread(dominated, controls)]


def _spread(places: Sequence[int], number: int) -> list[int]:
    """Return some of the places, spread evenly.

    >>> _spread(range(10), 3), _spread(range(2), 3)
    ([1, 5, 8], [0, 1])
    """
    number = min(number, len(places))
    return [places[int((i + 0.5) * len(places) / number)] for i in range(number)]
