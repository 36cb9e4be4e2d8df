import dataclasses
import random
from statistics import median

import pytest

from archsearch.benchmark.protocol import Pair, interleave, warm_up
from archsearch.benchmark.timing import Setting, Timing
from archsearch.recipes import BenchRecipe

BENCH = BenchRecipe(rounds=10, max_rounds=10, min_block_s=0.0, warmup_s=0.0, warmup_limit_s=100.0)
SETTING = Setting("infer", "eager", "channels_last", "fp32", 4, 224)


class Machine:
    """Owns a clock. A step takes its nominal time, times what the machine's ``pace`` is at that moment."""

    def __init__(self, pace=lambda now: 1.0):
        self.now, self.pace, self.ran = 0.0, pace, []

    def step(self, name, nominal):
        seconds = nominal * self.pace(self.now)
        self.now += seconds
        self.ran.append(name)
        return seconds

    def block(self, name, nominal):
        return lambda steps: sum(self.step(name, nominal) for _ in range(steps))

    def pair(self, name, nominal, reference=0.5):
        return Pair(lambda: self.step(name, nominal), lambda: self.step("reference", reference))


def unexpected(key, error):
    raise error


def timing(times):
    return Timing(SETTING, tuple(own for own, _ in times), tuple(reference for _, reference in times))


def measured(pace, rounds=20):
    machine = Machine(pace)
    bench = dataclasses.replace(BENCH, rounds=rounds, max_rounds=rounds)
    pairs = {"fast": machine.pair("fast", 0.25), "slow": machine.pair("slow", 1.0)}
    times = interleave(pairs, bench, 0, unexpected)
    return {name: timing(values) for name, values in times.items()}, machine


def test_a_slow_down_in_the_middle_moves_speeds_and_not_ratios():
    """From the middle on, the machine takes half as long again for everything."""
    _, steady = measured(lambda now: 1.0)
    quiet, _ = measured(lambda now: 1.0)
    throttled, _ = measured(lambda now: 1.5 if now > 0.4 * steady.now else 1.0)
    for name, ratio in (("fast", 2.0), ("slow", 0.5)):
        assert quiet[name].ratio == ratio
        assert throttled[name].ratio == pytest.approx(ratio, rel=1e-3)
        assert throttled[name].throughput < 0.7 * quiet[name].throughput
        # One network after the other, as is usually done, takes the slow-down for a difference between networks.
    assert quiet["fast"].throughput / throttled["slow"].throughput > 5


def test_slow_drift_cancels_as_well():
    drifting, machine = measured(lambda now: 1.0 + now / 100, rounds=40)
    assert machine.pace(machine.now) > 1.7
    assert drifting["fast"].ratio == pytest.approx(2.0, rel=0.005)
    assert drifting["slow"].ratio == pytest.approx(0.5, rel=0.005)
    low, high = drifting["slow"].throughput_interval
    assert high / low > 1.05


def test_a_noisy_neighbour_that_comes_and_goes():
    """Two states, each for some twenty blocks: what shared hosts do."""
    rng = random.Random(1)
    states = [1.8 if rng.random() < 0.4 else 1.0 for _ in range(200)]
    noisy, _ = measured(lambda now: states[int(now / 8) % 200], rounds=40)
    assert noisy["slow"].ratio == pytest.approx(0.5, rel=0.01)
    first, last = median(noisy["slow"].blocks_s[:5]), max(noisy["slow"].blocks_s)
    assert last >= 1.8 * min(first, 1.0)


def test_every_round_has_everything_in_a_new_order():
    _, machine = measured(lambda now: 1.0)
    rounds = [machine.ran[start : start + 4] for start in range(0, len(machine.ran), 4)]
    assert len(rounds) == 20
    for ran in rounds:
        assert sorted(ran) == ["fast", "reference", "reference", "slow"]
        assert {ran[0], ran[1]} in ({"fast", "reference"}, {"slow", "reference"})
    assert len({tuple(ran) for ran in rounds}) > 2
    assert [ran[0] == "reference" for ran in rounds] not in ([True] * 20, [False] * 20)


def test_the_seed_decides_the_order():
    orders = []
    for seed in (0, 0, 1):
        machine = Machine()
        interleave({n: machine.pair(n, 1.0) for n in "abcdef"}, BENCH, seed, unexpected)
        orders.append(machine.ran)
    assert orders[0] == orders[1] != orders[2]


def test_rounds_go_on_until_ratios_are_known():
    rng = random.Random(0)
    bench = dataclasses.replace(BENCH, rounds=10, max_rounds=1000, tolerance=0.01)
    for noise in (0.0, 0.1):  # the fake clock costs no real second, so patience does not end
        machine, told = Machine(lambda now, noise=noise: 1 + noise * rng.random()), []
        pairs = {"a": machine.pair("a", 1.0)}
        times = interleave(pairs, bench, 0, unexpected, lambda *said, told=told: told.append(said))
        count = len(times["a"])
        assert told[-1] == (count, count)
        assert told[0] == (1, 10)
        assert count == 10 if not noise else 20 < count < 1000
        low, high = timing(times["a"]).ratio_interval
        assert high - low <= 0.02 * 1.3 * timing(times["a"]).ratio


def test_patience_ends():
    machine, rng = Machine(), random.Random(0)
    wild = Pair(lambda: rng.random() + 0.1, lambda: rng.random() + 0.1)
    bench = dataclasses.replace(BENCH, max_rounds=25)
    times = interleave({"a": wild, "b": machine.pair("b", 1.0)}, bench, 0, unexpected)
    assert len(times["a"]) == len(times["b"]) == 25


def test_patience_is_a_matter_of_seconds_too():
    rng = random.Random(0)
    machine = Machine(lambda now: 1 + rng.random())
    bench = dataclasses.replace(BENCH, rounds=10, max_rounds=1000, tolerance=0.001, patience_s=60.0)
    times = interleave({"a": machine.pair("a", 1.0)}, bench, 0, unexpected, clock=lambda: machine.now)
    assert 10 < len(times["a"]) < 50
    assert 22 + 40 < machine.now < 22 + 80


def test_one_that_fails_is_left_out():
    machine, told, errors = Machine(), [], {}
    calls = iter(range(100))

    def fails_third():
        if next(calls) == 2:
            raise MemoryError("no more")
        return 1.0

    pairs = {"bad": Pair(fails_third, None), "good": machine.pair("good", 1.0)}
    times = interleave(pairs, BENCH, 0, errors.__setitem__, lambda done, of: told.append(done))
    assert set(times) == {"good"}
    assert len(times["good"]) == 10
    assert isinstance(errors["bad"], MemoryError)
    assert told == list(range(1, 11))


def test_warm_up_goes_on_until_blocks_agree():
    machine = Machine(lambda now: max(1.0, 3.0 - now / 10))
    warm = warm_up(machine.block("a", 1.0), BENCH)
    assert warm.settled
    assert warm.step_s == 1.0
    assert 20 + 5 <= machine.now <= 20 + 12  # nine blocks agree, but for the first of a group perhaps


def test_warm_up_is_as_long_as_asked():
    machine = Machine()
    warm = warm_up(machine.block("a", 0.01), dataclasses.replace(BENCH, warmup_s=1.0))
    assert warm.settled
    assert machine.now >= 1.0


def test_what_never_settles_is_marked():
    rng = random.Random(0)
    machine = Machine(lambda now: 1 + rng.random())
    warm = warm_up(machine.block("a", 1.0), dataclasses.replace(BENCH, warmup_limit_s=30.0))
    assert not warm.settled
    assert 30 <= machine.now < 33


def test_blocks_are_long_enough_for_the_clock():
    machine = Machine(lambda now: 400.0 if now == 0 else 1.0)  # the first step compiles
    warm = warm_up(machine.block("a", 0.003), dataclasses.replace(BENCH, min_block_s=0.05))
    assert 0.05 <= warm.steps * 0.003 <= 0.07
    assert warm.step_s == pytest.approx(0.003)


def test_smoke_recipes_run_each_step_once():
    machine = Machine()
    warm = warm_up(machine.block("a", 1.0), dataclasses.replace(BENCH, warmup_limit_s=0.0))
    assert (warm.steps, warm.blocks, warm.settled) == (1, 1, False)


@pytest.mark.parametrize(("scatter", "most", "known"), [(0.0, 10, True), (0.6, 50, True), (9.0, 50, False)])
def test_rounds_are_added_until_a_ratio_is_known_as_well_as_a_study_needs_it(scatter, most, known):
    rng = random.Random(0)
    machine = Machine(lambda now: 1 + scatter * rng.random())
    bench = dataclasses.replace(BENCH, max_rounds=0, known_within=0.1)
    times = interleave({"a": machine.pair("a", 0.025, 0.025)}, bench, 0, unexpected, clock=lambda: machine.now)["a"]
    assert 10 <= len(times) <= most
    assert timing(times).known(0.1) == known
    assert (len(times) > 10) == (scatter > 0)
    plain = interleave(
        {"a": machine.pair("a", 0.025, 0.025)}, dataclasses.replace(bench, known_within=0.0), 0, unexpected
    )
    assert len(plain["a"]) == 10


def test_rounds_that_would_take_too_long_are_left_for_another_minute():
    rng = random.Random(0)
    machine = Machine(lambda now: 1 + 3 * rng.random())
    bench = dataclasses.replace(BENCH, max_rounds=0, known_within=0.01)
    times = interleave({"a": machine.pair("a", 0.5)}, bench, 0, unexpected, clock=lambda: machine.now)["a"]
    assert 10 < len(times) < 20
