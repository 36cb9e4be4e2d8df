"""Which pairs of variants are trained, within a budget: screening, then testing with other seeds.

Interactions rarely hide where neither part does anything, so the pairs of the largest effects are screened. Whatever
chooses a pair, the effects of its parts included, is estimated from the screening seeds alone: noise that won a pair
its place would flatter it.
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

#: One seed of so many screens, at least one.
SCREENING = 3
#: Seeds that a test needs.
FEWEST = 2


@dataclass(frozen=True)
class Budget:
    """Trainings of pairs, and the seeds that they are made with.

    Attributes:
        trainings: in all.
        screening: seeds that choose; empty where all pairs are tested.
        testing: seeds that test what was chosen.
        screened: how many pairs are screened.
    """

    trainings: int
    screening: tuple[int, ...]
    testing: tuple[int, ...]
    screened: int

    def tested(self, screened: int) -> int:
        """How many pairs are tested after so many were screened."""
        return (self.trainings - screened * len(self.screening)) // len(self.testing)


def all_pairs(study: ListStudy, proxy: ProxyRecipe) -> list[Variant]:
    """Every combination of two variants of different factors that can exist and is no variant itself."""
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
    """How a budget is spent: on all pairs where it suffices, else half of it on screening.

    Args:
        pairs: how many there are.
        trainings: the budget.
        seeds: of the ablation.
        used: seeds that chose pairs in earlier runs; they test nothing any more.

    Raises:
        OptionError: there is no pair, or the budget or the seeds are too few.

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
    """Trainings that say which pairs are worth testing."""
    first = sorted(pairs, key=lambda pair: -_promise(outcome, pair, budget.screening))[: budget.screened]
    return [(variant, seed) for seed in budget.screening for variant in first]


def _promise(outcome: Outcome, pair: Variant, seeds: Sequence[int]) -> float:
    a, b = (differences(outcome[name], outcome.baseline, seeds) for name in pair.parts)
    return abs(sum(a) * sum(b)) if a and b else 0.0


def to_test(pairs: Sequence[Variant], outcome: Outcome, budget: Budget) -> list[tuple[Variant, int]]:
    """Trainings that test the pairs farthest from the sum of their parts.

    Args:
        pairs: that were screened, or all of them.
        outcome: with their screening.
        budget: of ``plan_pairs``.
    """
    if budget.screening:
        found = {i.result.name: abs(i.excess.mean) for i in interactions(outcome, "none", budget.screening)}
        far = sorted(pairs, key=lambda pair: -found.get(pair.name, 0.0))
        pairs = far[: budget.tested(len(pairs))]
    return [(variant, seed) for seed in budget.testing for variant in pairs]
