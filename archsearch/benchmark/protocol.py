"""Warm-up and interleaved rounds, for any blocks of steps: nothing here depends on networks or devices."""

import math
import random
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from archsearch.recipes import BenchRecipe
from archsearch.stats.intervals import RETIMING, median, median_interval

#: Function that runs a number of steps and returns the seconds they took together.
Block = Callable[[int], float]

#: Blocks per median, and medians in a row that have to agree before a warm-up counts as settled.
WINDOW = 3
MEDIANS = 3
#: Largest relative difference between these medians.
TOLERANCE = 0.01
#: Looks at whether ratios are known well enough, maximum number of rounds until then, and seconds that rounds beyond
#: the recipe's may take after each look: what is not known then is timed again when the machine is less busy.
LOOKS, KNOWN_ROUNDS, KNOWN_S = 2, 50, 8.0
#: Factor on the planned length of a block, for devices that get faster as they warm up.
MARGIN = 1.2

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class WarmUp:
    """Outcome of a warm-up.

    Attributes:
        steps: Steps that make a block long enough.
        blocks: Number of blocks that were run.
        settled: Whether the last medians agreed.
        step_s: Seconds per step at the end, for choosing among layouts.
    """

    steps: int
    blocks: int
    settled: bool
    step_s: float


def warm_up(block: Block, bench: BenchRecipe) -> WarmUp:
    """Run blocks until they are long enough and their times agree, or the recipe's time limit ends the warm-up."""
    steps, blocks, spent = 1, 0, 0.0
    history: list[float] = []
    while True:
        seconds = block(steps)
        blocks, spent = blocks + 1, spent + seconds
        if seconds < bench.min_block_s:
            wanted = math.ceil(MARGIN * steps * bench.min_block_s / max(seconds, 1e-6))
            steps, history = max(steps + 1, min(wanted, 100 * steps)), []
            continue
        history.append(seconds / steps)
        done = settled(history)
        if (done and spent >= bench.warmup_s) or spent >= bench.warmup_limit_s:
            return WarmUp(steps, blocks, done, median(history[-WINDOW:]))


def settled(history: list[float]) -> bool:
    """Whether the medians of the last blocks, in groups of ``WINDOW``, agree within ``TOLERANCE``.

    >>> settled([9.0, 2.0, 2.0, 2.01, 2.0, 7.0, 2.0, 2.0, 2.0, 2.01]), settled([2.0, 2.0, 2.0] + [2.2] * 6)
    (True, False)
    """
    last = history[-WINDOW * MEDIANS :]
    if len(last) < WINDOW * MEDIANS:
        return False
    medians = [median(last[start : start + WINDOW]) for start in range(0, len(last), WINDOW)]
    return max(medians) <= (1 + TOLERANCE) * min(medians)


@dataclass(frozen=True)
class Pair:
    """A block of steps and the reference's block that it is compared with; each returns seconds per step.

    Attributes:
        own: Block of a candidate.
        reference: Block of the reference, timed right before or after it; None for the reference itself.
    """

    own: Callable[[], float]
    reference: Callable[[], float] | None

    def time(self, reference_first: bool) -> tuple[float, float | None]:
        """Time both right after each other, so that a noisy machine affects both alike; return their seconds."""
        if self.reference is None:
            return self.own(), None
        if reference_first:
            reference = self.reference()
            return self.own(), reference
        return self.own(), self.reference()


#: Seconds per step of a candidate and of the reference beside it, round by round.
Times = list[tuple[float, float | None]]


def interleave(
    pairs: Mapping[Key, Pair],
    bench: BenchRecipe,
    seed: int,
    on_error: Callable[[Key, Exception], None],
    on_round: Callable[[int, int], None] = lambda done, of: None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[Key, Times]:
    """Time every pair once per round, in a new random order each time.

    The scatter of the ratios in the first ``bench.rounds`` says how many rounds it takes until their
    intervals extend at most ``bench.tolerance`` to either side; that many are run, up to
    ``bench.max_rounds``. (Stopping as soon as the intervals are narrow would make them too narrow.)

    Args:
        pairs: Pairs by key.
        bench: Timing recipe.
        seed: Seed of the order.
        on_error: Callback that takes the key of a pair that raised, and the error; the pair is left out from then on.
        on_round: Progress callback that takes the numbers of finished and of planned rounds.
        clock: Clock for ``bench.patience_s``.

    Returns:
        Times of the pairs that did not raise, by key.
    """
    rng = random.Random(seed)
    starts = {key: rng.randrange(2) for key in pairs}  # the two take turns in going first, so that drift cancels
    times: dict[Key, Times] = {key: [] for key in pairs}
    number, rounds, looks, start = 0, bench.rounds, 0, clock()
    while number < rounds:
        number += 1
        order = list(times)
        rng.shuffle(order)
        for key in order:
            try:
                times[key].append(pairs[key].time(reference_first=(number + starts[key]) % 2 == 0))
            except Exception as error:  # one candidate fails, the others go on
                del times[key]
                on_error(key, error)
        if number == bench.rounds:
            rounds += _more_rounds(times, bench, clock() - start)
        if number == rounds and looks < LOOKS:
            looks += 1
            rounds += _rounds_to_know(times, bench, number, clock() - start)
        on_round(number, rounds)
    return times


def _more_rounds(times: Mapping[Key, Times], bench: BenchRecipe, seconds: float) -> int:
    """Return how many rounds to add to the first ones, which took ``seconds``."""
    needed = max((rounds_needed(own, bench.tolerance) for own in times.values()), default=0)
    affordable = bench.patience_s * bench.rounds / seconds if seconds else math.inf
    return max(0, math.floor(min(needed - bench.rounds, bench.max_rounds - bench.rounds, affordable)))


def _rounds_to_know(times: Mapping[Key, Times], bench: BenchRecipe, number: int, seconds: float) -> int:
    """Return how many rounds to add until every ratio is known as well as a study has to know it, if that pays.

    Args:
        times: Times so far.
        bench: Timing recipe.
        number: Number of rounds so far.
        seconds: Seconds that they took.
    """
    needed = max((rounds_needed(own, bench.known_within / RETIMING) for own in times.values()), default=0) - number
    affordable = KNOWN_S * number / seconds if seconds else math.inf
    return max(0, math.floor(min(needed, KNOWN_ROUNDS - number, affordable)))


def rounds_needed(times: Times, tolerance: float) -> int:
    """Return how many rounds it takes until the ratio's interval extends at most ``tolerance`` to either side.

    Args:
        times: Times of the first rounds.
        tolerance: Half the width of the interval, as a share of the ratio.

    >>> rounds_needed([(2.0, 1.0), (2.02, 1.01), (4.0, 2.0)], 0.01), rounds_needed([(2.0, None)], 0.01)
    (0, 0)
    >>> rounds_needed([(1.0, 0.98), (1.0, 1.0), (1.0, 1.02), (1.0, 1.0)], 0.01) > 4
    True
    """
    ratios = [reference / own for own, reference in times if reference is not None]
    if not ratios:
        return 0
    low, high = median_interval(ratios)
    half_width = (high - low) / 2 / median(ratios)
    return math.ceil(len(ratios) * (half_width / tolerance) ** 2) if tolerance else 0
