"""What a target costs, before anything is trained: counted, then timed, and held against constraints."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from archsearch.arch import Arch
from archsearch.benchmark.timing import Timing
from archsearch.complexity.counts import count, count_activations
from archsearch.errors import TrialError
from archsearch.evaluate.constraint import Constraint
from archsearch.nn import build
from archsearch.objectives import OBJECTIVES, FromDevice, FromTime, Objective, Tier

#: An architecture and the kinds of step that are wanted, to their timings.
TimeIt = Callable[[Arch, tuple[str, ...]], Mapping[str, Timing]]


def never(arch: Arch, kinds: tuple[str, ...]) -> Mapping[str, Timing]:
    """Where there is nothing to time with."""
    raise TrialError("a speed is wanted, and there is nothing to time it with")


@dataclass
class Costs:
    """What is known of a target's costs.

    Attributes:
        scores: by objective.
        details: behind those that were timed.
    """

    scores: dict[str, float] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)

    def count(self, arch: Arch, quantities: Iterable[str] = ()) -> None:
        """Counts parameters and MACs, and activations where they are among the quantities."""
        model = build(arch)
        complexity = count(model, arch.img_size)
        self.scores.update(params=complexity.params, macs=complexity.macs)
        if "activations" in quantities:
            self.scores["activations"] = count_activations(model, arch.img_size)

    def time(self, arch: Arch, speeds: Iterable[str], time_it: TimeIt) -> list[str]:
        """Times what the named objectives need; tells which of them were known from an earlier timing."""
        measured = {name: how for name in speeds if (how := OBJECTIVES[name].measured)}
        timings = time_it(arch, tuple(dict.fromkeys(how.step for how in measured.values()))) if measured else {}
        for name, how in measured.items():
            timing = timings[how.step]
            self.scores[name] = _score(name, how, timing)
            self.details[name] = timing.details()
        return [name for name, how in measured.items() if timings[how.step].recalled]

    def ratio(self, name: str) -> float | None:
        """Of a speed to the bench's reference, above 1 where it is better; None where there is none."""
        timed = isinstance(OBJECTIVES[name].measured, FromTime)
        return self.details.get(name, {}).get("ratio") if timed else None


def _score(name: str, how: FromTime | FromDevice, timing: Timing) -> float:
    if isinstance(how, FromTime):
        return how.value(timing.step_s, timing.setting.batch_size)
    value: float | None = getattr(timing, how.field)
    if value is None:
        raise TrialError(f"{name} is read from {how.source}, and this device has none")
    return value


class Limits:
    """Constraints, and the baseline that they compare with, which is counted and timed when it is first needed."""

    def __init__(self, constraints: Iterable[Constraint], baseline: Arch, time_it: TimeIt) -> None:
        """Args: constraints: of a study; baseline: of its space; time_it: times the baseline."""
        self.constraints, self.baseline, self.time_it = tuple(constraints), baseline, time_it
        self._costs = Costs()

    def names(self, tier: Tier) -> list[str]:
        """Names of what has to be known of a candidate."""
        return [c.objective.name for c in self.constraints if c.objective.tier is tier]

    def excess(self, costs: Costs, tier: Tier) -> dict[str, float]:
        """How far a candidate is off the constraints of one tier; above 0 breaks one."""
        return {str(c): c.excess(self._value(c, costs)) for c in self.constraints if c.objective.tier is tier}

    def _value(self, constraint: Constraint, costs: Costs) -> float:
        objective = constraint.objective
        value = costs.scores[objective.name]
        if not constraint.of_baseline:
            return value
        self._know(objective)
        own, baseline = costs.ratio(objective.name), self._costs.ratio(objective.name)
        if own is None or baseline is None:
            return value / self._costs.scores[objective.name]
        # Both were timed beside the reference, so that a machine that has become slower in between changes nothing.
        return own / baseline if objective.direction == "maximize" else baseline / own

    def _know(self, objective: Objective) -> None:
        if objective.name in self._costs.scores:
            return
        try:
            if objective.tier is Tier.COUNTED:
                self._costs.count(self.baseline, self.names(Tier.COUNTED))
            else:
                self._costs.time(self.baseline, self.names(Tier.MEASURED), self.time_it)
        except TrialError as error:
            raise TrialError(f"the baseline, which a constraint compares with: {error}") from error
