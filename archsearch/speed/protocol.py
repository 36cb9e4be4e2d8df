"""Warm-up and interleaved rounds; knows blocks of steps, and neither networks nor devices."""

import math
import random
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from archsearch.analysis.intervals import median, median_interval
from archsearch.recipes import Bench

#: Runs a number of steps; returns the seconds that they took together.
Block = Callable[[int], float]

#: Blocks per median, and medians in a row that have to agree, when a warm-up is judged.
WINDOW = 3
MEDIANS = 3
#: How far they may lie apart.
TOLERANCE = 0.01
#: Rounds between two looks at how precise the ratios are.
LOOK_EVERY = 5
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


def warm_up(block: Block, bench: Bench) -> WarmUp:
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
    bench: Bench,
    seed: int,
    on_round: Callable[[int], None] = lambda done: None,
) -> tuple[dict[Key, Times], dict[Key, Exception]]:
    """Times every pair once per round, in a new random order each time.

    After ``bench.rounds``, rounds go on until every ratio to the reference is known within
    ``bench.tolerance``, up to ``bench.max_rounds``. A pair that raises is left out from then on.

    Args:
        pairs: by key.
        bench: the recipe.
        seed: of the order.
        on_round: told after each round how many are done.

    Returns:
        Times by key, and the errors of those that raised.
    """
    rng = random.Random(seed)
    starts = {key: rng.randrange(2) for key in pairs}  # who goes first takes turns, so that drift cancels
    times: dict[Key, Times] = {key: [] for key in pairs}
    errors: dict[Key, Exception] = {}
    for number in range(1, max(bench.rounds, bench.max_rounds) + 1):
        order = [key for key in pairs if key not in errors]
        rng.shuffle(order)
        for key in order:
            try:
                times[key].append(pairs[key].time(reference_first=(number + starts[key]) % 2 == 0))
            except Exception as error:  # one candidate's end, not the others'
                errors[key] = error
                del times[key]
        on_round(number)
        looked_at = number >= bench.rounds and (number - bench.rounds) % LOOK_EVERY == 0
        if looked_at and all(precise(pairs, bench.tolerance) for pairs in times.values()):
            break
    return times, errors


def precise(times: Times, tolerance: float) -> bool:
    """Whether the interval of the ratio reaches no further than ``tolerance`` of it to either side, on average.

    >>> precise([(2.0, 1.0), (2.02, 1.01), (4.0, 2.0)], 0.01), precise([(2.0, 1.0), (2.0, 1.1), (2.0, 1.2)], 0.01)
    (True, False)
    """
    ratios = [reference / own for own, reference in times if reference is not None]
    if not ratios:
        return True
    low, high = median_interval(ratios)
    return high - low <= 2 * tolerance * median(ratios)
