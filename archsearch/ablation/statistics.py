"""What an ablation says: differences to what each variant is compared to, and verdicts against the paper.

Accuracies are given in percent here, and differences in points, as the paper prints them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from archsearch.ablation.outcome import Outcome, Result
from archsearch.stats.paired import Mean, estimate, holm, residual_noise, seeds_needed

#: Corrected p-values below this count as a finding.
ALPHA = 0.05
AGREES, DISAGREES, CANNOT_TELL = "agrees", "disagrees", "cannot tell"


@dataclass(frozen=True)
class Comparison:
    """A network and what it is compared to.

    Attributes:
        result: the network.
        accuracy: its top-1 in percent, over its own seeds; None without any.
        difference: to its base in points, over the seeds that both have; None for the baseline.
        p_holm: of the difference, corrected for the number of comparisons in the study.
        paper: the same difference as the paper prints it.
        seeds_needed: to find the paper's difference in the observed noise by a test of its own (not corrected for
            others); None where the difference is 0 or unknown.
        verdict: whether the sign of the difference is the paper's; empty without the paper's.
    """

    result: Result
    accuracy: Mean | None = None
    difference: Mean | None = None
    p_holm: float | None = None
    paper: float | None = None
    seeds_needed: int | None = None
    verdict: str = ""


@dataclass(frozen=True)
class Judgement:
    """A factor against the paper.

    Attributes:
        factor: its name.
        sign: whether its variants are better or worse than their base as the paper says, as far as that can be told.
        signs: variants with the paper's sign, those that can be told, and all that differ from their base there.
        order: whether its networks stand in the paper's order, likewise.
        orders: pairs in the paper's order, those that can be told, and all that differ there.
    """

    factor: str
    sign: str
    signs: tuple[int, int, int]
    order: str
    orders: tuple[int, int, int]


@dataclass(frozen=True)
class Interaction:
    """A combination of two variants: how far it is from the sum of what each of them does.

    Attributes:
        result: the combination.
        excess: accuracy beyond that sum, in points.
        p_holm: corrected for the number of combinations.
        seeds: that it was estimated from.
    """

    result: Result
    excess: Mean
    p_holm: float | None
    seeds: tuple[int, ...]


def percent(result: Result) -> dict[int, float]:
    """Accuracies by seed, in percent."""
    return {seed: 100 * accuracy for seed, accuracy in result.accuracies.items()}


def differences(a: Result, b: Result, seeds: Sequence[int] | None = None) -> list[float]:
    """Points that ``a`` is better by, at each seed that both have, or at those of ``seeds``."""
    shared = {*a.accuracies} & {*b.accuracies}
    counted = sorted(shared if seeds is None else shared & {*seeds})
    return [100 * (a.accuracies[seed] - b.accuracies[seed]) for seed in counted]


def compare(outcome: Outcome, method: str = "t") -> list[Comparison]:
    """Every network of an ablation against what it is compared to.

    Args:
        outcome: of the ablation.
        method: of ``archsearch.stats.paired.METHODS``, or ``none`` for means alone.
    """
    noise, floor = _noise(outcome), _floor(outcome, 2)
    rows: list[tuple[Result, Mean | None, Mean | None]] = []
    for result in outcome.results:
        own = list(percent(result).values())
        accuracy = estimate(own, _for_means(method), _floor(outcome, 1)) if own else None
        values = differences(result, outcome[result.base]) if result.base != result.name else []
        rows.append((result, accuracy, estimate(values, method, floor, noise) if values else None))
    corrected = holm([None if found is None or method == "none" else found.p for _, _, found in rows])
    deviation = typical_deviation(outcome)
    comparisons = []
    for (result, accuracy, found), p in zip(rows, corrected, strict=True):
        paper = paper_difference(result, outcome[result.base]) if result.base != result.name else None
        needed = seeds_needed(deviation, paper) if paper and deviation else None
        if method == "none":
            accuracy, found = _bare(accuracy), _bare(found)
        word = verdict(paper, found, p)
        comparisons.append(Comparison(result, accuracy, found, p, paper, needed, word))
    return comparisons


def _for_means(method: str) -> str:
    """A mean of its own carries what its seeds do to all networks, which the pooled noise leaves out."""
    return "t" if method == "pooled" else method


def _bare(found: Mean | None) -> Mean | None:
    return found and Mean(found.mean, found.sd, None, None, None, found.n)


def _noise(outcome: Outcome) -> tuple[float, int] | None:
    """Of a difference between two networks at one seed."""
    found = residual_noise({result.name: percent(result) for result in outcome.results if result.accuracies})
    return (math.sqrt(2) * found[0], found[1]) if found else None


def _floor(outcome: Outcome, terms: int) -> float:
    """Deviation that rounding to whole images gives a sum of so many accuracies, in points."""
    samples = outcome.recipe.get("data", {}).get("val_samples") or 0
    return 100 / samples * math.sqrt(terms / 12) if samples else 0.0


def typical_deviation(outcome: Outcome) -> float | None:
    """Standard deviation of a difference between two seeds' trainings, over all comparisons, in points."""
    squares = [
        (len(found) - 1, estimate(found).sd)
        for result in outcome.results
        if result.base != result.name and len(found := differences(result, outcome[result.base])) > 1
    ]
    freedom = sum(n for n, _ in squares)
    return math.sqrt(sum(n * (sd or 0.0) ** 2 for n, sd in squares) / freedom) if freedom else None


def paper_difference(a: Result, b: Result) -> float | None:
    """Points between two rows of the paper; None where one of them is none."""
    return None if a.top1 is None or b.top1 is None else round(a.top1 - b.top1, 6)


def verdict(paper: float | None, found: Mean | None, p: float | None) -> str:
    """Whether a difference has the paper's sign.

    >>> verdict(-0.4, Mean(-1.2, 0.3, -1.5, -0.9, 0.001, 5), 0.003)
    'agrees'
    """
    if not paper or found is None:  # a printed difference of 0 has no sign
        return ""
    if p is None or p >= ALPHA:
        return CANNOT_TELL
    return AGREES if found.mean * paper > 0 else DISAGREES


def judge(outcome: Outcome, comparisons: Sequence[Comparison], method: str = "t") -> list[Judgement]:
    """Every factor of the paper's against the paper, by sign and by order.

    The order of two networks is told from their difference, corrected for the number of pairs in all factors.
    """
    pairs = {factor: _printed_pairs(outcome, factor) for factor in outcome.factors}
    told = _told([pair for group in pairs.values() for pair in group], outcome, method)
    judged = []
    for factor, group in pairs.items():
        words = [c.verdict for c in comparisons if c.result.factor == factor and c.verdict]
        if group and words:
            orders = [told.pop(0) for _ in group]
            judged.append(Judgement(factor, _joint(words), _counts(words), _joint(orders), _counts(orders)))
        else:
            del told[: len(group)]
    return judged


def _printed_pairs(outcome: Outcome, factor: str) -> list[tuple[Result, Result]]:
    """Networks of a factor, and their base, that the paper tells apart."""
    return [(a, b) for a, b in combinations(outcome.group(factor), 2) if paper_difference(a, b)]


def _counts(words: Sequence[str]) -> tuple[int, int, int]:
    right, wrong = words.count(AGREES), words.count(DISAGREES)
    return right, right + wrong, len(words)


def _joint(words: Sequence[str]) -> str:
    return next((word for word in (DISAGREES, AGREES) if word in words), CANNOT_TELL)


def _told(pairs: Sequence[tuple[Result, Result]], outcome: Outcome, method: str) -> list[str]:
    """A verdict for each pair."""
    noise, floor = _noise(outcome), _floor(outcome, 2)
    values = [differences(a, b) for a, b in pairs]
    found = [estimate(v, method, floor, noise) if v else None for v in values]
    ps = [None if f is None or method == "none" else f.p for f in found]
    return [
        verdict(paper_difference(a, b), f, p) or CANNOT_TELL
        for (a, b), f, p in zip(pairs, found, holm(ps), strict=True)
    ]


def interactions(outcome: Outcome, method: str = "t", seeds: Sequence[int] | None = None) -> list[Interaction]:
    """Combinations of two variants whose parts and baseline were trained with the same seeds.

    Args:
        outcome: of the ablation.
        method: as for ``compare``.
        seeds: that count; None for all. Those that a combination was chosen by would flatter it.

    Returns:
        The surest first.
    """
    floor = _floor(outcome, 4)
    names = {result.name for result in outcome.results}
    found: list[tuple[Result, Mean, tuple[int, ...]]] = []
    for result in outcome.results:
        if len(result.parts) == 2 and names >= {*result.parts}:
            excess = _excess(outcome, result, seeds)
            if excess:
                found.append((result, estimate(list(excess.values()), _for_means(method), floor), tuple(excess)))
    corrected = holm([None if method == "none" else estimated.p for _, estimated, _ in found])
    made = [Interaction(r, e, p, s) for (r, e, s), p in zip(found, corrected, strict=True)]
    return sorted(made, key=lambda i: (i.excess.p is None, i.excess.p or 0, -abs(i.excess.mean)))


def _excess(outcome: Outcome, result: Result, seeds: Sequence[int] | None) -> dict[int, float]:
    (a, b), base = (outcome[name] for name in result.parts), outcome.baseline
    shared = {*result.accuracies} & {*a.accuracies} & {*b.accuracies} & {*base.accuracies}
    counted = sorted(shared if seeds is None else shared & {*seeds})
    return {s: 100 * (result.accuracies[s] - a.accuracies[s] - b.accuracies[s] + base.accuracies[s]) for s in counted}


@dataclass(frozen=True)
class MainEffect:
    """What a value does on average over all choices of the other factors, in points; ``p_holm`` is corrected."""

    name: str
    effect: Mean
    p_holm: float | None


def main_effects(outcome: Outcome, method: str = "t") -> list[MainEffect]:
    """Of a full factorial: every combination with a value against the same one without it, averaged per seed."""
    by_parts = {frozenset(result.parts): result for result in outcome.results}
    found: list[tuple[str, Mean]] = []
    for name in (result.name for result in outcome.results if len(result.parts) == 1):
        with_it = [result for parts, result in by_parts.items() if name in parts]
        pairs = [(r, by_parts.get(frozenset(r.parts) - {name})) for r in with_it]
        complete = [(a, b) for a, b in pairs if b is not None]
        shared = set.intersection(*({*a.accuracies} & {*b.accuracies} for a, b in complete)) if complete else set()
        means = [
            sum(100 * (a.accuracies[seed] - b.accuracies[seed]) for a, b in complete) / len(complete)
            for seed in sorted(shared)
        ]
        if means:
            floor = _floor(outcome, 2) / math.sqrt(len(complete))
            found.append((name, estimate(means, _for_means(method), floor)))
    corrected = holm([None if method == "none" else effect.p for _, effect in found])
    return [MainEffect(name, effect, p) for (name, effect), p in zip(found, corrected, strict=True)]
