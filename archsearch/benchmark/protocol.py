"""Warm-up and interleaved rounds; knows blocks of steps, and neither networks nor devices."""

import math
import random
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from archsearch.recipes import BenchRecipe
from archsearch.stats.intervals import median, median_interval

#: Runs a number of steps; returns the seconds that they took together.
Block = Callable[[int], float]

#: Blocks per median, and medians in a row that have to agree, when a warm-up is judged.
WINDOW = 3
MEDIANS = 3
#: How far they may lie apart.
TOLERANCE = 0.01
#: A block is planned this much longer than it has to be, for a device that gets faster.
MARGIN = 1.2

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class WarmUp:
    """How a warm-up went.

    Attributes:
        steps: that make a block long enough.
        blocks: that were run.
        settled: whether the last medians agreed.
        step_s: seconds per step at its end, for choosing among layouts.
    """

    steps: int
    blocks: int
    settled: bool
    step_s: float


def warm_up(block: Block, bench: BenchRecipe) -> WarmUp:
    """Runs blocks until they are long enough and settled, or the recipe's patience ends."""
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
    """A block to be timed, and the reference's that it is compared with; each returns seconds.

    Attributes:
        own: of a candidate.
        reference: timed right before or after it; None where there is none.
    """

    own: Callable[[], float]
    reference: Callable[[], float] | None

    def time(self, reference_first: bool) -> tuple[float, float | None]:
        """Seconds of both. Neighbours in time share what a noisy machine does to them."""
        if self.reference is None:
            return self.own(), None
        if reference_first:
            reference = self.reference()
            return self.own(), reference
        return self.own(), self.reference()


#: Seconds of a candidate and of the reference beside it, round by round.
Times = list[tuple[float, float | None]]


def interleave(
    pairs: Mapping[Key, Pair],
    bench: BenchRecipe,
    seed: int,
    on_error: Callable[[Key, Exception], None],
    on_round: Callable[[int, int], None] = lambda done, of: None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[Key, Times]:
    """Times every pair once per round, in a new random order each time.

    The first ``bench.rounds`` show how much the ratios scatter, and thereby how many rounds it takes
    until their intervals reach no further than ``bench.tolerance`` to either side; so many are run, at
    most ``bench.max_rounds``. (To stop as soon as intervals are narrow would make them too narrow.)

    Args:
        pairs: by key.
        bench: the recipe.
        seed: of the order.
        on_error: told whose block raised what; that pair is left out from then on.
        on_round: told after each round how many are done, and of how many.
        clock: for ``bench.patience_s``.

    Returns:
        Times of those that did not raise, by key.
    """
    rng = random.Random(seed)
    starts = {key: rng.randrange(2) for key in pairs}  # who goes first takes turns, so that drift cancels
    times: dict[Key, Times] = {key: [] for key in pairs}
    number, rounds, start = 0, bench.rounds, clock()
    while number < rounds:
        number += 1
        order = list(times)
        rng.shuffle(order)
        for key in order:
            try:
                times[key].append(pairs[key].time(reference_first=(number + starts[key]) % 2 == 0))
            except Exception as error:  # one candidate's end, not the others'
                del times[key]
                on_error(key, error)
        if number == bench.rounds:
            rounds += _more_rounds(times, bench, clock() - start)
        on_round(number, rounds)
    return times


def _more_rounds(times: Mapping[Key, Times], bench: BenchRecipe, seconds: float) -> int:
    """Rounds beyond the first, which took so many seconds."""
    needed = max((rounds_needed(own, bench.tolerance) for own in times.values()), default=0)
    affordable = bench.patience_s * bench.rounds / seconds if seconds else math.inf
    return max(0, math.floor(min(needed - bench.rounds, bench.max_rounds - bench.rounds, affordable)))


def rounds_needed(times: Times, tolerance: float) -> int:
    """Rounds until the interval of the ratio reaches ``tolerance`` of it to either side, judged by those there are.

    >>> rounds_needed([(2.0, 1.0), (2.02, 1.01), (4.0, 2.0)], 0.01), rounds_needed([(2.0, None)], 0.01)
    (0, 0)
    >>> rounds_needed([(1.0, 0.98), (1.0, 1.0), (1.0, 1.02), (1.0, 1.0)], 0.01) > 4
    True
    """
    ratios = [reference / own for own, reference in times if reference is not None]
    if not ratios:
        return 0
    low, high = median_interval(ratios)
    reach = (high - low) / 2 / median(ratios)
    return math.ceil(len(ratios) * (reach / tolerance) ** 2) if tolerance else 0
