"""Costs of a target network that are known before training, and the constraints on them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

from archsearch.arch import Arch
from archsearch.benchmark.timing import Timing
from archsearch.complexity.parts import PartCounter
from archsearch.errors import TrialError
from archsearch.evaluate.constraint import Constraint
from archsearch.objectives import OBJECTIVES, FromDevice, FromTime, Objective, Tier
from archsearch.stats.intervals import retimed


class TimeIt(Protocol):
    """Times a target network."""

    def __call__(self, arch: Arch, kinds: tuple[str, ...], anew: bool = False, /) -> Mapping[str, Timing]:
        """Return a timing per kind of step.

        Args:
            arch: Target architecture.
            kinds: Kinds of step.
            anew: Whether a timing that is known already does not do.
        """


def never(arch: Arch, kinds: tuple[str, ...], anew: bool = False) -> Mapping[str, Timing]:
    """Refuse to time, where an evaluation has no timer."""
    raise TrialError("a speed is wanted, and there is nothing to time it with")


@cache
def _counter(activations: bool) -> PartCounter:
    """The counter of this process: candidates share their parts, so that counting one takes microseconds."""
    return PartCounter(activations)


@dataclass
class Costs:
    """Counted and measured scores of a target network, as far as they are known.

    Attributes:
        scores: Value per objective name.
        details: Timing behind each measured score, per objective name; also of one that is not known well enough yet.
        within: Half the width of its interval, as a share, within which a speed has to be known to be a score; 0 takes
            any.
    """

    scores: dict[str, float] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    within: float = 0.0

    def count(self, arch: Arch, quantities: Iterable[str] = ()) -> None:
        """Count parameters and MACs, and activations where they are among the quantities."""
        counts = _counter("activations" in quantities)(arch)
        self.scores.update({name: int(value) for name, value in counts.items()})

    def time(self, arch: Arch, speeds: Iterable[str], time_it: TimeIt) -> list[str]:
        """Time the network for some objectives.

        Args:
            arch: Target architecture.
            speeds: Names of measured objectives.
            time_it: Times the network.

        Returns:
            Names of those objectives whose timing was in the cache.
        """
        measured = {name: how for name in speeds if (how := OBJECTIVES[name].measured)}
        kinds = tuple(dict.fromkeys(how.step for how in measured.values()))
        closer = any(self._is_known(name) for name in measured)  # whose timing may be in the cache
        timings = {} if not kinds else time_it(arch, kinds, True) if closer else time_it(arch, kinds)
        for name, how in measured.items():
            timing = timings[how.step]
            if name in self.details:  # it was put off, or its speed is needed closer
                timing = timing.joined(Timing.from_details(self.details[name]))
            self.details[name] = timing.details()
            if not self.within or timing.known(self.within):
                self.scores[name] = _score(name, how, timing)
        return [name for name, how in measured.items() if timings[how.step].recalled]

    def _is_known(self, name: str) -> bool:
        """Whether an objective has a timing that could be scored."""
        return name in self.details and Timing.from_details(self.details[name]).known(self.within)

    def doubts(self, speeds: Iterable[str]) -> str | None:
        """Return why some measured objectives cannot be scored yet, in words; None where all can."""
        doubtful = [name for name in speeds if name not in self.scores]
        return "; ".join(f"{name}: {_in_doubt(self.details[name])}" for name in doubtful) or None


def _in_doubt(details: Mapping[str, Any]) -> str:
    rounds, ends = len(details["blocks_s"]), details["ratio_interval"]
    if ends is None:
        return f"{'; '.join(details['conditions'].get('warnings', ()))}"
    low, high = retimed(details["ratio"], tuple(ends))
    return f"after {rounds} rounds its relative throughput is between {low:.2f} and {high:.2f}"


def _score(name: str, how: FromTime | FromDevice, timing: Timing) -> float:
    value = timing.score(how)
    if value is None:
        source = how.source if isinstance(how, FromDevice) else how.step
        raise TrialError(f"{name} is read from {source}, and this device has none")
    return value


class NotYet(TrialError):
    """A speed that a constraint refers to is not known well enough yet."""


class Limits:
    """Constraints of a study, and the baseline that they refer to, counted and timed when first needed."""

    def __init__(self, constraints: Iterable[Constraint], baseline: Arch, time_it: TimeIt, within: float = 0.0) -> None:
        """Count and time nothing yet.

        Args:
            constraints: Constraints of the study.
            baseline: Baseline of its search space.
            time_it: Times the baseline.
            within: As for ``Costs``.
        """
        self.constraints, self.baseline, self.time_it = tuple(constraints), baseline, time_it
        self._costs = Costs(within=within)

    def names(self, tier: Tier) -> list[str]:
        """Return the names of the constrained quantities of a tier."""
        return [c.objective.name for c in self.constraints if c.objective.tier is tier]

    def excess(self, costs: Costs, tier: Tier) -> dict[str, float]:
        """Return the relative violation of each constraint of a tier; a candidate breaks it above 0.

        Raises:
            NotYet: A speed of the candidate or of the baseline is not known well enough yet.
        """
        return {str(c): c.excess(self._value(c, costs)) for c in self.constraints if c.objective.tier is tier}

    def _value(self, constraint: Constraint, costs: Costs) -> float:
        objective = constraint.objective
        if doubts := costs.doubts([objective.name]) if objective.tier is Tier.MEASURED else None:
            raise NotYet(doubts)
        value = costs.scores[objective.name]
        if not constraint.of_baseline:
            return value
        self._know(objective)
        return value / self._costs.scores[objective.name]

    def _know(self, objective: Objective) -> None:
        if objective.name in self._costs.scores:
            return
        try:
            if objective.tier is Tier.COUNTED:
                self._costs.count(self.baseline, self.names(Tier.COUNTED))
            else:
                self._costs.time(self.baseline, self.names(Tier.MEASURED), self.time_it)
        except TrialError as error:
            raise TrialError(f"the baseline that a constraint refers to: {error}") from error
        if objective.name not in self._costs.scores:
            raise NotYet(f"the baseline that a constraint refers to: {self._costs.doubts([objective.name])}")
