"""Effects of several changes at once: interactions of pairs, and main effects of a full factorial, in points."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from archsearch.ablation.outcome import Outcome, Result
from archsearch.ablation.statistics import for_means, rounding_error
from archsearch.stats.paired import Mean, estimate, holm


@dataclass(frozen=True)
class Interaction:
    """Interaction of two variants: how far their combination is from the sum of their effects.

    Attributes:
        result: The combination.
        excess: Accuracy beyond the sum, in points.
        p_holm: p-value, corrected for the number of combinations.
        seeds: Seeds that it was estimated from.
    """

    result: Result
    excess: Mean
    p_holm: float | None
    seeds: tuple[int, ...]


def interactions(outcome: Outcome, method: str = "t", seeds: Sequence[int] | None = None) -> list[Interaction]:
    """Estimate the interactions of all pairs that were trained with the same seeds as both parts and the baseline.

    Args:
        outcome: Outcome of the ablation.
        method: As for ``compare``.
        seeds: Seeds to use; None for all. Those that a pair was selected by would be biased in its favour.

    Returns:
        Interactions, the smallest p-value first.
    """
    names = {result.name for result in outcome.results}
    pairs = [result for result in outcome.results if len(result.parts) == 2 and names >= {*result.parts}]
    excesses = [(pair, _excess(outcome, pair, seeds)) for pair in pairs]
    floor = rounding_error(outcome, 4)
    found = [
        (pair, estimate(list(excess.values()), for_means(method), floor), tuple(excess))
        for pair, excess in excesses
        if excess
    ]
    corrected = holm([None if method == "none" else excess.p for _, excess, _ in found])
    made = [Interaction(pair, excess, p, used) for (pair, excess, used), p in zip(found, corrected, strict=True)]
    return sorted(made, key=lambda i: (i.excess.p is None, i.excess.p or 0, -abs(i.excess.mean)))


def _excess(outcome: Outcome, pair: Result, seeds: Sequence[int] | None) -> dict[int, float]:
    """Return accuracy beyond the sum of both effects by seed, in points."""
    (a, b), base = (outcome[name] for name in pair.parts), outcome.baseline
    shared = {*pair.accuracies} & {*a.accuracies} & {*b.accuracies} & {*base.accuracies}
    used = sorted(shared if seeds is None else shared & {*seeds})
    return {s: 100 * (pair.accuracies[s] - a.accuracies[s] - b.accuracies[s] + base.accuracies[s]) for s in used}


@dataclass(frozen=True)
class MainEffect:
    """Main effect of a value: its effect averaged over all combinations of the other factors' values.

    Attributes:
        name: Name of the variant that has the value alone.
        effect: Effect in points.
        p_holm: p-value, corrected for the number of values.
    """

    name: str
    effect: Mean
    p_holm: float | None


def main_effects(outcome: Outcome, method: str = "t") -> list[MainEffect]:
    """Estimate the main effects of a full factorial.

    Every combination with a value is compared to the same one without it, and the differences are averaged by seed.

    Args:
        outcome: Outcome of the ablation.
        method: As for ``compare``.
    """
    found: list[tuple[str, Mean]] = []
    for name in (result.name for result in outcome.results if len(result.parts) == 1):
        pairs = _with_and_without(outcome, name)
        means = _mean_differences(pairs)
        if means:
            floor = rounding_error(outcome, 2) / math.sqrt(len(pairs))
            found.append((name, estimate(means, for_means(method), floor)))
    corrected = holm([None if method == "none" else effect.p for _, effect in found])
    return [MainEffect(name, effect, p) for (name, effect), p in zip(found, corrected, strict=True)]


def _with_and_without(outcome: Outcome, name: str) -> list[tuple[Result, Result]]:
    """Return the combinations with a value, each beside the one that differs in nothing else."""
    by_parts = {frozenset(result.parts): result for result in outcome.results}
    pairs = [(r, by_parts.get(frozenset(r.parts) - {name})) for parts, r in by_parts.items() if name in parts]
    return [(a, b) for a, b in pairs if b is not None]


def _mean_differences(pairs: Sequence[tuple[Result, Result]]) -> list[float]:
    """Return the mean difference of pairs in points, for each seed that all of them have."""
    shared = set.intersection(*({*a.accuracies} & {*b.accuracies} for a, b in pairs)) if pairs else set()
    return [
        sum(100 * (a.accuracies[seed] - b.accuracies[seed]) for a, b in pairs) / len(pairs) for seed in sorted(shared)
    ]
