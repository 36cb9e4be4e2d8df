"""Costs that are held against constraints, and candidates that break one."""

import dataclasses

import pytest
import tiny

from archsearch.benchmark.timing import Setting, Timing
from archsearch.errors import TrialError
from archsearch.evaluate.constraint import parse_constraints
from archsearch.evaluate.costs import Costs, Limits, never
from archsearch.objectives import Tier


def timing(own, reference, kind="infer"):
    setting = Setting(kind, "eager", "channels_last", "fp32", 2, 64)
    return Timing(setting, (own,) * 3, (reference,) * 3, fixed_s=0.010)


class Clock:
    """Times the small network in 10 ms and the plain one in 8 ms, on a machine that slows down from call to call."""

    def __init__(self, slower=1.0):
        self.slower, self.calls = slower, []

    def __call__(self, arch, kinds):
        self.calls.append((arch, kinds))
        factor = self.slower ** (len(self.calls) - 1)
        own = 0.010 if arch == tiny.SMALL else 0.008
        return {kind: timing(own * factor, 0.010 * factor, kind) for kind in kinds}


def limits(*texts, clock=never):
    return Limits(parse_constraints(texts), tiny.SMALL, clock)


def test_counts_are_compared_with_numbers_and_with_the_baselines():
    costs, small = Costs(), Costs()
    costs.count(tiny.PLAIN)
    small.count(tiny.SMALL)
    found = limits("macs <= 1e6", "params <= 2 * baseline", "params >= baseline").excess(costs, Tier.COUNTED)
    share = costs.scores["params"] / small.scores["params"]
    assert list(found.values()) == pytest.approx([costs.scores["macs"] / 1e6 - 1, share / 2 - 1, 1 - share])


def test_a_tier_that_is_not_asked_for_is_not_looked_at():
    both = limits("macs <= 1e6", "infer_throughput >= 10")
    assert both.names(Tier.COUNTED) == ["macs"]
    assert both.names(Tier.MEASURED) == ["infer_throughput"]
    assert list(both.excess(Costs({"macs": 2e6}), Tier.COUNTED)) == ["macs <= 1000000"]


@pytest.mark.parametrize("slower", [1.0, 1.3])
def test_speeds_are_compared_as_they_were_beside_the_reference(slower):
    """So that a machine that has become slower between candidate and baseline changes nothing."""
    clock, costs = Clock(slower), Costs()
    bound = limits("infer_throughput >= 1.2 * baseline", "latency_ms <= 0.9 * baseline", clock=clock)
    costs.time(tiny.PLAIN, bound.names(Tier.MEASURED), clock)
    found = bound.excess(costs, Tier.MEASURED)
    assert found["infer_throughput >= 1.2 * baseline"] == pytest.approx((1.2 - 1.25) / 1.2)
    assert found["latency_ms <= 0.9 * baseline"] == pytest.approx((0.8 - 0.9) / 0.9)


def test_energy_is_read_from_a_step_of_inference():
    told = {"infer": dataclasses.replace(timing(0.01, 0.01), energy_mj=12.5)}
    costs = Costs()
    costs.time(tiny.PLAIN, ["energy_mj", "infer_throughput"], lambda arch, kinds: {kind: told[kind] for kind in kinds})
    assert costs.scores["energy_mj"] == 12.5
    with pytest.raises(TrialError, match="energy_mj is read from the energy counter of an NVIDIA GPU"):
        Costs().time(tiny.PLAIN, ["energy_mj"], lambda arch, kinds: {"infer": timing(0.01, 0.01)})


def test_the_baseline_is_timed_once():
    clock = Clock()
    bound = limits("infer_throughput >= baseline", clock=clock)
    for _ in range(3):
        costs = Costs()
        costs.time(tiny.PLAIN, ["infer_throughput"], clock)
        bound.excess(costs, Tier.MEASURED)
    assert [arch for arch, _ in clock.calls].count(tiny.SMALL) == 1


def test_what_a_speed_and_a_constraint_both_need_is_timed_once():
    clock, costs = Clock(), Costs()
    costs.time(tiny.PLAIN, ["infer_throughput", "infer_throughput"], clock)
    assert clock.calls == [(tiny.PLAIN, ("infer",))]
    assert costs.scores["infer_throughput"] == pytest.approx(2 / 0.008)
