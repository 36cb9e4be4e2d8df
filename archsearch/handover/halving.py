"""Successive halving over the candidates of a confirmation: close rivals get the seeds."""

import math
from collections.abc import Collection, Mapping

from archsearch.handover.confirmation import Confirmation

#: Number of seeds that every candidate is trained with, so that the noise of one training is known.
FIRST = 2
#: A candidate is decided once the probability of being on the front is this near to 0 or 1.
DECIDED = 0.05


def still_open(chances: Mapping[str, float | None]) -> list[str]:
    """Return the half of the candidates whose place is least decided, without those that are decided.

    Args:
        chances: Probability of being on the front, by the name of a candidate; None for one whose place does not
            depend on its accuracy.

    Returns:
        Names, the least decided first; among equals in the order given.

    >>> still_open({"a": 0.9, "b": 0.5, "c": 1.0, "d": 0.3})
    ['b', 'd']
    >>> still_open({"a": 0.99, "b": 0.02, "c": None})
    []
    """
    undecided = {
        name: abs(chance - 0.5)
        for name, chance in chances.items()
        if chance is not None and DECIDED <= chance <= 1 - DECIDED
    }
    return sorted(undecided, key=lambda name: undecided[name])[: math.ceil(len(chances) / 2)]


def close_rivals(confirmation: Confirmation, names: Collection[str]) -> list[str]:
    """Return those of some candidates that get one more seed (``still_open``).

    Args:
        confirmation: What is known by now.
        names: Names of the candidates that had as many seeds as any.
    """
    return still_open({one.candidate.name: one.chance for one in confirmation.members if one.candidate.name in names})
