"""Our networks against the figures that the paper prints."""

import pytest

from archsearch.measure.complexity import Complexity, count
from archsearch.networks import NETWORKS, find
from archsearch.nn import build_network
from archsearch.paper import TABLES, Published, published, rows


def counted(row: Published) -> Complexity:
    size = row.figures.get("image_size")
    model, img_size = build_network(find(row.network, int(size) if size else None))
    return count(model, img_size)


def as_printed(value: float, printed: str) -> str:
    """A number with as many decimals as the paper prints."""
    return f"{value:.{len(printed.partition('.')[2])}f}"


EXACT = [row for table in ("1", "3", "5", "8") for row in rows(table)]


@pytest.mark.parametrize("row", EXACT, ids=lambda row: f"table{row.table}-{row.network}")
def test_rows_count_what_the_paper_prints(row):
    counts = counted(row)
    assert as_printed(counts.params / 1e6, row.figures["params_m"]) == row.figures["params_m"]
    assert as_printed(counts.macs / 1e9, row.figures["macs_g"]) == row.figures["macs_g"]


@pytest.mark.slow
@pytest.mark.parametrize("row", rows("4"), ids=lambda row: f"{row.network}-{row.figures['image_size']}")
def test_baselines_are_the_papers_networks(row):
    """Not to the last digit: the paper took these figures from many papers, which count differently."""
    counts = counted(row)
    assert counts.params / 1e6 == pytest.approx(float(row.figures["params_m"]), rel=0.03)
    assert counts.macs / 1e9 == pytest.approx(float(row.figures["macs_g"]), rel=0.02)


def test_the_tables_are_complete():
    assert {table: len(rows(table)) for table in TABLES} == {"1": 8, "3": 4, "4": 26, "5": 4, "8": 11}
    named = {row.network for table in TABLES for row in rows(table) if not row.network.startswith("timm:")}
    assert named <= NETWORKS.keys()
    assert published("inceptionnext_tiny")[0].figures["band_kernel"] == "11"
    assert published("convnext_pico") == ()


@pytest.mark.parametrize("row", rows("3"), ids=lambda row: row.network)
def test_table_3_describes_the_networks(row):
    arch = NETWORKS[row.network]
    for name, values in (("depths", arch.depths), ("dims", arch.dims), ("mlp_ratios", arch.mlp_ratios)):
        assert "-".join(f"{value:g}" for value in values) == row.figures[name]
    over, under = row.figures["branch_ratio"].split("/")
    for mixer in arch.mixers:
        assert str(mixer["band_kernel_size"]) == row.figures["band_kernel"]
        assert mixer["branch_ratio"] == int(over) / int(under)


@pytest.mark.parametrize("row", rows("1"), ids=lambda row: row.network)
def test_table_1_describes_the_networks(row):
    (mixer,) = set(NETWORKS[row.network].mixers)
    assert str(mixer["kernel_size"]) == row.figures["kernel_size"]
    if row.figures["conv_ratio"] != "1":
        over, under = row.figures["conv_ratio"].split("/")
        assert mixer["conv_ratio"] == int(over) / int(under)


def test_bands_in_sequence_on_twice_the_channels_would_round_to_the_same():
    """Table 8 does not say which channels the bands in sequence share; its figures fit either reading."""
    (row,) = published("inceptionnext_tiny_sequential")
    arch = NETWORKS["inceptionnext_tiny"]
    counts = counted(row)
    per_block = [dim // 8 * (11 + 11 + 2) for dim in arch.dims]
    more = sum(depth * cost for depth, cost in zip(arch.depths, per_block, strict=True))
    assert counts.params == 28_055_680
    assert as_printed((counts.params + more) / 1e6, "0.0") == row.figures["params_m"]
