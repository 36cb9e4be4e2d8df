"""Selection of pairs of variants to train within a budget: screening, then testing with other seeds.

Interactions are rare where neither part has an effect, so the pairs of the largest effects are screened. Everything
that selects a pair, the effects of its parts included, is estimated from the screening seeds alone, as the noise that
selects a pair would bias its estimate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from archsearch.ablation.interactions import interactions
from archsearch.ablation.outcome import Outcome
from archsearch.ablation.statistics import differences
from archsearch.ablation.variants import ListStudy, Variant, combine
from archsearch.arch import Arch
from archsearch.errors import ArchError, OptionError, StudyFileError
from archsearch.recipes import ProxyRecipe

#: One seed in so many is for screening, at least one.
SCREENING = 3
#: Number of seeds that a test needs.
FEWEST = 2


@dataclass(frozen=True)
class Budget:
    """Number of trainings of pairs, and their seeds.

    Attributes:
        trainings: Maximum number of trainings in all.
        screening: Seeds that select pairs; empty where all pairs are tested.
        testing: Seeds that test the selected pairs.
        screened: Number of pairs to screen.
    """

    trainings: int
    screening: tuple[int, ...]
    testing: tuple[int, ...]
    screened: int

    def tested(self, screened: int) -> int:
        """Return the number of pairs that can be tested after so many were screened."""
        return (self.trainings - screened * len(self.screening)) // len(self.testing)


def all_pairs(study: ListStudy, proxy: ProxyRecipe) -> list[Variant]:
    """Return the pairs of variants of different factors that can exist.

    Args:
        study: Study with the variants.
        proxy: Proxy recipe; a pair whose proxy network is that of a single variant is left out.
    """
    singles = [v for v in study.variants if len(v.parts) == 1 and v.base == study.baseline.name]
    known = {_proxy_arch(v, proxy) for v in study.variants if len(v.parts) < 2 and isinstance(v.network, Arch)}
    found = []
    for a, b in combinations(singles, 2):
        if a.factor == b.factor:
            continue
        try:
            both = combine(study, [a.name, b.name])
            proxy_arch = _proxy_arch(both, proxy)
        except (ArchError, StudyFileError):
            continue
        if proxy_arch not in known:
            found.append(both)
    return found


def _proxy_arch(variant: Variant, proxy: ProxyRecipe) -> Arch:
    network = variant.network
    if not isinstance(network, Arch):
        raise ArchError(f"{network} has no proxy network")
    return proxy.shrink(network, num_classes=10)


def plan_pairs(pairs: int, trainings: int, seeds: Sequence[int], used: Sequence[int] = ()) -> Budget:
    """Divide a budget: all of it to testing if it suffices for all pairs, else half of it to screening.

    Args:
        pairs: Number of pairs.
        trainings: Maximum number of trainings.
        seeds: Seeds of the ablation.
        used: Seeds that selected pairs in earlier runs and cannot test any more.

    Raises:
        OptionError: There is no pair, or there are too few trainings or seeds.

    >>> plan_pairs(40, 60, range(6))
    Budget(trainings=60, screening=(0, 1), testing=(2, 3, 4, 5), screened=15)
    >>> plan_pairs(10, 60, range(6)).screening
    ()
    """
    if not pairs:
        raise OptionError("--pairs: no two variants of different factors can be combined; leave it out")
    enough = pairs * len(seeds) <= trainings and not used
    chosen = [] if enough else [s for i, s in enumerate(seeds) if i < max(1, len(seeds) // SCREENING) or s in used]
    testing = [seed for seed in seeds if seed not in chosen]
    if len(testing) < FEWEST:
        raise OptionError(
            f"--pairs {trainings}: of {len(seeds)} seeds {len(chosen)} choose among {pairs} pairs, and testing takes "
            f"{FEWEST} others; give more --seeds" + ("" if used else f", or --pairs {pairs * max(FEWEST, len(seeds))}")
        )
    if enough:
        return Budget(trainings, (), tuple(testing), 0)
    screened = min(pairs, max(1, trainings // 2 // len(chosen)), (trainings - len(testing)) // len(chosen))
    if screened < 1:
        raise OptionError(f"--pairs {trainings}: one pair takes {len(seeds)} trainings; give at least that")
    return Budget(trainings, tuple(chosen), tuple(testing), screened)


def to_screen(pairs: Sequence[Variant], outcome: Outcome, budget: Budget) -> list[tuple[Variant, int]]:
    """Return the trainings that screen pairs.

    Args:
        pairs: All pairs.
        outcome: Outcome with the accuracies of single variants.
        budget: Budget from ``plan_pairs``.
    """
    first = sorted(pairs, key=lambda pair: -_product_of_effects(outcome, pair, budget.screening))[: budget.screened]
    return [(variant, seed) for seed in budget.screening for variant in first]


def _product_of_effects(outcome: Outcome, pair: Variant, seeds: Sequence[int]) -> float:
    a, b = (differences(outcome[name], outcome.baseline, seeds) for name in pair.parts)
    return abs(sum(a) * sum(b)) if a and b else 0.0


def to_test(pairs: Sequence[Variant], outcome: Outcome, budget: Budget) -> list[tuple[Variant, int]]:
    """Return the trainings that test the pairs with the largest interactions.

    Args:
        pairs: Screened pairs, or all of them.
        outcome: Outcome with their accuracies from screening.
        budget: Budget from ``plan_pairs``.
    """
    if budget.screening:
        found = {i.result.name: abs(i.excess.mean) for i in interactions(outcome, "none", budget.screening)}
        far = sorted(pairs, key=lambda pair: -found.get(pair.name, 0.0))
        pairs = far[: budget.tested(len(pairs))]
    return [(variant, seed) for seed in budget.testing for variant in pairs]
