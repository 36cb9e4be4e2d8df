"""An outcome together with the statistics that follow from it."""

from dataclasses import dataclass, field, replace

from archsearch.ablation.interactions import Interaction, MainEffect, interactions, main_effects
from archsearch.ablation.outcome import Outcome
from archsearch.ablation.small_maps_rows import SmallMapsRows
from archsearch.ablation.statistics import Comparison, FactorVerdict, compare, factor_verdicts, refuses_pooling
from archsearch.stats.paired import FEWEST_RESAMPLED


@dataclass(frozen=True)
class Report:
    """An ablation and its statistics.

    Attributes:
        outcome: Outcome of the ablation.
        method: Method of the confidence intervals, of ``archsearch.stats.paired.METHODS``, or ``none``.
        unequal: p-value of the test for unequal noise, where it forbids the pooled intervals that were asked for; None
            otherwise.
        comparisons: Comparison of every network to its base.
        verdicts: Verdict on every factor against the paper.
        interactions: Interactions of pairs, the smallest p-value first.
        effects: Main effects, of a full factorial.
        small_maps: Rows that compare kernel sizes which the proxy's maps are too small to judge.
    """

    outcome: Outcome
    method: str
    unequal: float | None
    comparisons: list[Comparison]
    verdicts: list[FactorVerdict]
    interactions: list[Interaction]
    effects: list[MainEffect]
    small_maps: SmallMapsRows = field(default_factory=SmallMapsRows)

    @classmethod
    def of(cls, outcome: Outcome, method: str = "t") -> "Report":
        """Analyse an outcome.

        Args:
            outcome: Outcome of an ablation.
            method: Method of the confidence intervals, as far as the number of seeds and, for ``pooled``, the noise of
                the networks allow it; otherwise ``t``.
        """
        method = "t" if method == "bootstrap" and len(outcome.seeds) < FEWEST_RESAMPLED else method
        method = "none" if len(outcome.seeds) < 2 else method
        listed = without_pairs(outcome)
        unequal = refuses_pooling(listed) if method == "pooled" else None
        method = "t" if unequal is not None else method
        comparisons = compare(listed, method)
        return cls(
            outcome,
            method,
            unequal,
            comparisons,
            factor_verdicts(listed, comparisons, method),
            interactions(outcome, method, outcome.pairs.get("tested")) if outcome.pairs or outcome.full else [],
            main_effects(outcome, method) if outcome.full else [],
            SmallMapsRows.of(outcome) if outcome.seeds else SmallMapsRows(),
        )


def without_pairs(outcome: Outcome) -> Outcome:
    """Return the outcome without combinations, which change nothing about the rest; unchanged for a full factorial."""
    return outcome if outcome.full else replace(outcome, results=outcome.singles)
