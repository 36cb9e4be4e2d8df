"""Constraints as text, and what they make of values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsearch.errors import OptionError
from archsearch.evaluate.constraint import Constraint, constrainable, parse_constraint, parse_constraints
from archsearch.objectives import OBJECTIVES


@pytest.mark.parametrize(
    ("text", "name", "relation", "bound", "of_baseline"),
    [
        ("macs <= 1.5e9", "macs", "<=", 1.5e9, False),
        ("macs<=1.5G", "macs", "<=", 1.5e9, False),
        ("  params  <=  30 M ", "params", "<=", 30e6, False),
        ("infer_throughput >= 0.95 * baseline", "infer_throughput", ">=", 0.95, True),
        ("infer_throughput>=baseline*.95", "infer_throughput", ">=", 0.95, True),
        ("latency_ms <= baseline", "latency_ms", "<=", 1.0, True),
        ("train_throughput >= 1000", "train_throughput", ">=", 1000.0, False),
    ],
)
def test_what_is_understood(text, name, relation, bound, of_baseline):
    found = parse_constraint(text)
    assert found == Constraint(OBJECTIVES[name], relation, pytest.approx(bound), of_baseline)
    assert parse_constraint(str(found)) == found


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("macs", "not understood; write it as 'macs <= 1.5e9'"),
        ("macs < 1e9", "with <= or >="),
        ("macs <= -1", "not understood"),
        ("macs <= 1e9 and params <= 3e6", "not understood"),
        ("macs <= 1..5", "not understood"),
        ("", "not understood"),
        ("macs <= 1e999", "too large for a number"),
        ("mac <= 1e9", "did you mean 'macs'"),
        ("accuracy >= 0.7", "known only after training"),
    ],
)
def test_what_is_not(text, complaint):
    with pytest.raises(OptionError, match=complaint):
        parse_constraint(text)


@given(st.floats(1e-3, 1e12), st.floats(0, 1e12), st.sampled_from(["<=", ">="]))
def test_a_bound_is_broken_by_what_lies_beyond_it(bound, value, relation):
    excess = Constraint(OBJECTIVES["macs"], relation, bound).excess(value)
    assert (excess > 0) == (value > bound if relation == "<=" else value < bound)
    assert excess == pytest.approx(abs(value - bound) / bound * (1 if excess > 0 else -1))


def test_twice_the_same_is_once():
    assert len(parse_constraints(["macs <= 1e9", "macs<=1G", "params <= 1e6"])) == 2


def test_all_that_costs_can_be_constrained():
    assert constrainable() == [name for name in OBJECTIVES if name != "accuracy"]
