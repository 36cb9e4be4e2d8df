import pytest

from archsearch.complexity.operators import kernel_costs


@pytest.fixture(scope="module")
def costs():
    return kernel_costs(dim=96, side=14)


@pytest.mark.parametrize(
    ("operator", "per_position"),
    [
        ("convolution", lambda k, c: k * k * c * c),
        ("depthwise", lambda k, c: k * k * c),
        ("inception", lambda k, c: (2 * k + 9) * c // 8),
    ],
)
def test_counted_costs_are_table_2s_formulas(costs, operator, per_position):
    rows = [cost for cost in costs if cost.operator == operator]
    assert [cost.kernel_size for cost in rows] == list(range(3, 32, 2))
    for cost in rows:
        assert cost.weights == per_position(cost.kernel_size, 96)
        assert cost.macs == cost.weights * 14 * 14


def test_bytes_do_not_depend_on_the_kernel_but_on_the_copies(costs):
    """The convolved three eighths are read and written, then all is read and written by the concatenation."""
    moved = {
        operator: {cost.bytes_moved for cost in costs if cost.operator == operator}
        for operator in ("depthwise", "inception")
    }
    plane = 14 * 14 * 4
    assert moved == {"depthwise": {2 * 96 * plane}, "inception": {(2 * 36 + 2 * 96) * plane}}
