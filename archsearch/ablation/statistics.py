"""Differences to what each variant is compared to, and verdicts against the paper.

Accuracies are given in percent here, and differences in points, as the paper prints them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from archsearch.ablation.outcome import Outcome, Result
from archsearch.stats.noise import pooled_deviation
from archsearch.stats.paired import UNEQUAL, Mean, estimate, holm, residual_noise, seeds_needed, unequal_noise

#: Corrected p-values below this count as a finding.
ALPHA = 0.05
AGREES, DISAGREES, CANNOT_TELL = "agrees", "disagrees", "cannot tell"


@dataclass(frozen=True)
class Comparison:
    """A network and its difference to what it is compared to.

    Attributes:
        result: The network.
        accuracy: Top-1 in percent, over its own seeds; None without any.
        difference: Difference to its base in points, over the seeds that both have; None for the baseline.
        p_holm: p-value of the difference, corrected for the number of comparisons in the study.
        paper: The same difference as the paper prints it.
        seeds_needed: Number of seeds to find the paper's difference in the observed noise by a single test (not
            corrected for others); None where the difference is 0 or unknown.
        verdict: Whether the sign of the difference is the paper's; empty without the paper's.
    """

    result: Result
    accuracy: Mean | None = None
    difference: Mean | None = None
    p_holm: float | None = None
    paper: float | None = None
    seeds_needed: int | None = None
    verdict: str = ""


@dataclass(frozen=True)
class FactorVerdict:
    """Verdict on a factor against the paper.

    Attributes:
        factor: Name of the factor.
        sign: Whether its variants are better or worse than their base as in the paper.
        signs: Number of variants with the paper's sign, of variants with a verdict, and of all that differ from their
            base in the paper.
        order: Whether its networks are in the paper's order.
        orders: The same three numbers for pairs of networks.
    """

    factor: str
    sign: str
    signs: tuple[int, int, int]
    order: str
    orders: tuple[int, int, int]


def percent(result: Result) -> dict[int, float]:
    """Return accuracies by seed, in percent."""
    return {seed: 100 * accuracy for seed, accuracy in result.accuracies.items()}


def differences(a: Result, b: Result, seeds: Sequence[int] | None = None) -> list[float]:
    """Return the accuracy of ``a`` minus that of ``b`` in points, for each seed that both have.

    Args:
        a: A network.
        b: The network to compare it to.
        seeds: Seeds to use; None for all.
    """
    shared = {*a.accuracies} & {*b.accuracies}
    used = sorted(shared if seeds is None else shared & {*seeds})
    return [100 * (a.accuracies[seed] - b.accuracies[seed]) for seed in used]


def compare(outcome: Outcome, method: str = "t") -> list[Comparison]:
    """Compare every network of an ablation to its base.

    Args:
        outcome: Outcome of the ablation.
        method: Method of the confidence intervals, of ``archsearch.stats.paired.METHODS``; ``none`` for means alone.
            ``pooled`` without a test for unequal noise, which ``Report.of`` makes first.
    """
    found = _estimates([(result, outcome[result.base]) for result in outcome.results], outcome, method)
    corrected = holm([None if each is None or method == "none" else each.p for each in found])
    deviation = typical_deviation(outcome)
    comparisons = []
    for result, difference, p in zip(outcome.results, found, corrected, strict=True):
        paper = paper_difference(result, outcome[result.base]) if result.base != result.name else None
        needed = seeds_needed(deviation, paper) if paper and deviation else None
        accuracy = _accuracy(outcome, result, method)
        if method == "none":
            accuracy, difference = _without_interval(accuracy), _without_interval(difference)
        word = verdict(paper, difference, p)
        comparisons.append(Comparison(result, accuracy, difference, p, paper, needed, word))
    return comparisons


def _estimates(pairs: Sequence[tuple[Result, Result]], outcome: Outcome, method: str) -> list[Mean | None]:
    """Estimate the difference within each pair; None for a network and itself, and without a seed that both have."""
    noise, floor = _noise(outcome), rounding_error(outcome, 2)
    values = [differences(a, b) if a.name != b.name else [] for a, b in pairs]
    return [estimate(each, method, floor, noise) if each else None for each in values]


def _accuracy(outcome: Outcome, result: Result, method: str) -> Mean | None:
    own = list(percent(result).values())
    return estimate(own, for_means(method), rounding_error(outcome, 1)) if own else None


def for_means(method: str) -> str:
    """Return the method for a single mean, which varies with the seed as pooled noise of differences does not."""
    return "t" if method == "pooled" else method


def _without_interval(found: Mean | None) -> Mean | None:
    return found and Mean(found.mean, found.sd, None, None, None, found.n)


def _noise(outcome: Outcome) -> tuple[float, int] | None:
    """Return the standard deviation of a difference at one seed, in points, and its degrees of freedom."""
    found = residual_noise({result.name: percent(result) for result in outcome.results if result.accuracies})
    return (math.sqrt(2) * found[0], found[1]) if found else None


def refuses_pooling(outcome: Outcome) -> float | None:
    """Return the p-value of the test for unequal noise where it is too small to pool the networks; None otherwise."""
    p = unequal_noise({result.name: percent(result) for result in outcome.results if result.accuracies})
    return p if p is not None and p < UNEQUAL else None


def rounding_error(outcome: Outcome, terms: int) -> float:
    """Return the standard deviation that rounding to whole images causes, in points.

    Args:
        outcome: Outcome of the ablation.
        terms: Number of accuracies that are added or subtracted.
    """
    samples = outcome.recipe.get("data", {}).get("val_samples") or 0
    return 100 / samples * math.sqrt(terms / 12) if samples else 0.0


def typical_deviation(outcome: Outcome) -> float | None:
    """Return the standard deviation of a difference between seeds in points, pooled over all comparisons."""
    pairs = [(result, outcome[result.base]) for result in outcome.results if result.base != result.name]
    pooled = pooled_deviation([differences(a, b) for a, b in pairs])
    return pooled[0] if pooled else None


def paper_difference(a: Result, b: Result) -> float | None:
    """Return the difference between two rows of the paper in points; None where one is missing."""
    return None if a.top1 is None or b.top1 is None else round(a.top1 - b.top1, 6)


def verdict(paper: float | None, found: Mean | None, p: float | None) -> str:
    """Return whether a difference has the paper's sign.

    Args:
        paper: The paper's difference; 0 has no sign.
        found: Difference here.
        p: Its corrected p-value.

    Returns:
        ``agrees``, ``disagrees`` or ``cannot tell``; empty without a sign or a difference to judge.

    >>> verdict(-0.4, Mean(-1.2, 0.3, -1.5, -0.9, 0.001, 5), 0.003)
    'agrees'
    """
    if not paper or found is None:
        return ""
    if p is None or p >= ALPHA:
        return CANNOT_TELL
    return AGREES if found.mean * paper > 0 else DISAGREES


def factor_verdicts(outcome: Outcome, comparisons: Sequence[Comparison], method: str = "t") -> list[FactorVerdict]:
    """Return a verdict on every factor of the paper's, by sign and by order.

    Args:
        outcome: Outcome of the ablation.
        comparisons: Its comparisons, from ``compare``.
        method: As for ``compare``; p-values of an order are corrected for the number of pairs in all factors.
    """
    pairs = {factor: _printed_pairs(outcome, factor) for factor in outcome.factors}
    orders = iter(_pair_verdicts([pair for group in pairs.values() for pair in group], outcome, method))
    found = []
    for factor, group in pairs.items():
        own = [next(orders) for _ in group]
        signs = [c.verdict for c in comparisons if c.result.factor == factor and c.verdict]
        if own and signs:
            found.append(FactorVerdict(factor, _joint(signs), _counts(signs), _joint(own), _counts(own)))
    return found


def _printed_pairs(outcome: Outcome, factor: str) -> list[tuple[Result, Result]]:
    """Return the pairs of networks of a factor, its base included, that differ in the paper."""
    return [(a, b) for a, b in combinations(outcome.group(factor), 2) if paper_difference(a, b)]


def _counts(words: Sequence[str]) -> tuple[int, int, int]:
    right, wrong = words.count(AGREES), words.count(DISAGREES)
    return right, right + wrong, len(words)


def _joint(words: Sequence[str]) -> str:
    return next((word for word in (DISAGREES, AGREES) if word in words), CANNOT_TELL)


def _pair_verdicts(pairs: Sequence[tuple[Result, Result]], outcome: Outcome, method: str) -> list[str]:
    found = _estimates(pairs, outcome, method)
    corrected = holm([None if each is None or method == "none" else each.p for each in found])
    return [
        verdict(paper_difference(a, b), each, p) or CANNOT_TELL
        for (a, b), each, p in zip(pairs, found, corrected, strict=True)
    ]
