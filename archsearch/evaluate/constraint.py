"""Constraints on counted and measured quantities, as users write them: ``macs <= 1.5e9``."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from archsearch.errors import OptionError, unknown
from archsearch.objectives import OBJECTIVES, Objective, Tier

#: Suffixes of numbers.
SUFFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_NUMBER = r"(?P<number{}>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)\s*(?P<suffix{}>[kMGT]?)"
_FORM = re.compile(
    r"\s*(?P<name>\w+)\s*(?P<relation><=|>=)\s*(?:"
    + _NUMBER.format(1, 1)
    + r"(?P<after>\s*\*\s*baseline)?|(?P<before>baseline)(?:\s*\*\s*"
    + _NUMBER.format(2, 2)
    + r")?)\s*"
)


@dataclass(frozen=True)
class Constraint:
    """A bound on a quantity of candidates, checked before they are trained.

    Attributes:
        objective: Constrained quantity.
        relation: ``<=`` or ``>=``.
        bound: Bound in the quantity's unit, or relative to the baseline's value.
        of_baseline: Whether the bound is relative to the baseline's value.
    """

    objective: Objective
    relation: str
    bound: float
    of_baseline: bool = False

    def __str__(self) -> str:
        bound = f"{self.bound:.15g}" + (" * baseline" if self.of_baseline else "")
        return f"{self.objective.name} {self.relation} {bound}"

    def excess(self, value: float) -> float:
        """Return the relative violation of the bound; 0 or less where it is kept.

        Args:
            value: Value in the quantity's unit, or relative to the baseline's.

        >>> parse_constraint("macs <= 2e9").excess(3e9)
        0.5
        >>> parse_constraint("infer_throughput >= 0.5 * baseline").excess(1.0)
        -1.0
        """
        over = value - self.bound if self.relation == "<=" else self.bound - value
        return over / self.bound if self.bound else over


def parse_constraint(text: str) -> Constraint:
    """Return a constraint from ``QUANTITY <= NUMBER`` or ``QUANTITY >= NUMBER * baseline``.

    Args:
        text: Constraint in words; numbers may end with k, M, G or T, and ``baseline`` is that of the search space.

    Raises:
        OptionError: The text is no constraint, or its quantity is unknown, or known only after training.

    >>> str(parse_constraint("params<=30M"))
    'params <= 30000000'
    >>> str(parse_constraint("latency_ms <= baseline"))
    'latency_ms <= 1 * baseline'
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise OptionError(
            f"constraint {text!r} is not understood; write it as 'macs <= 1.5e9' or "
            "'infer_throughput >= 0.95 * baseline', with <= or >="
        )
    name, groups = found["name"], found.groupdict()
    if name not in OBJECTIVES:
        raise OptionError(f"constraint {text!r}: {unknown('quantity', name, constrainable())}")
    if OBJECTIVES[name].tier is Tier.TRAINED:
        raise OptionError(
            f"constraint {text!r}: {name} is known only after training, and constraints are checked before; "
            f"make {name} an objective, or constrain one of {', '.join(constrainable())}"
        )
    bound = (
        float(groups["number1"] or groups["number2"] or "1") * SUFFIXES[groups["suffix1"] or groups["suffix2"] or ""]
    )
    if math.isinf(bound):
        raise OptionError(f"constraint {text!r}: the bound is too large for a number; give a smaller one")
    return Constraint(OBJECTIVES[name], found["relation"], bound, bool(groups["after"] or groups["before"]))


def parse_constraints(texts: Iterable[str]) -> tuple[Constraint, ...]:
    """Return several constraints, sorted and without repetitions.

    Raises:
        OptionError: One of them cannot be parsed.
    """
    return tuple(sorted({*map(parse_constraint, texts)}, key=str))


def missed(excess: Mapping[str, float]) -> str:
    """Return which constraints a candidate breaks, and by how much, in words.

    Args:
        excess: Relative violation of each constraint; 0 or less where it is kept.

    >>> missed({"macs <= 2e9": 0.25, "params <= 30M": -0.5, "activations <= 1M": 1e-6})
    'macs <= 2e9 by 25%, activations <= 1M by less than 0.1%'
    """
    broken = {name: share for name, share in excess.items() if share > 0}
    return ", ".join(f"{name} by {_percent(share)}" for name, share in broken.items())


def _percent(share: float) -> str:
    if share < 0.001:
        return "less than 0.1%"
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def constrainable() -> list[str]:
    """Return the names of the quantities that are known before training."""
    return [objective.name for objective in OBJECTIVES.values() if objective.tier is not Tier.TRAINED]
