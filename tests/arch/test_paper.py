"""Our networks against the figures that the paper prints."""

import pytest
import torch

from archsearch.arch.networks import NETWORKS, find
from archsearch.arch.paper import TABLES, Published, published, rows
from archsearch.complexity.counts import Complexity, count, count_params
from archsearch.nn import build, build_network
from archsearch.nn.mixers import depthwise_conv

#: Rows of Table 4 that do not round to what is printed, as network and image size.
TABLE_4_DIFFERS = {
    ("timm:ghostnet_130", "224"),
    ("inceptionnext_atto", "224"),
    ("timm:swin_tiny_patch4_window7_224", "224"),
    ("timm:swin_small_patch4_window7_224", "224"),
    ("timm:resnet101", "224"),
    ("timm:deit_base_patch16_224", "224"),
    ("timm:swin_base_patch4_window7_224", "224"),
    ("timm:regnety_160", "224"),
    ("timm:deit_base_patch16_384", "384"),
    ("timm:swin_base_patch4_window12_384", "384"),
    ("convnext_base", "384"),
}


def counted(row: Published) -> Complexity:
    """Costs of a row's network, whose weights are zeros: no count depends on them, and to draw them takes longer."""
    size = row.figures.get("image_size")
    with torch.device("meta"):
        model, img_size = build_network(find(row.network, int(size) if size else None))
    model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.detach().zero_()
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
    exact = (
        as_printed(counts.params / 1e6, row.figures["params_m"]),
        as_printed(counts.macs / 1e9, row.figures["macs_g"]),
    )
    differs = (row.network, row.figures["image_size"]) in TABLE_4_DIFFERS
    assert (exact != (row.figures["params_m"], row.figures["macs_g"])) == differs


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
    model = build(NETWORKS[row.network])
    assert count_params(model) == 28_055_680
    for stage, dim in zip(model.stages, arch.dims, strict=True):
        for block in stage.blocks:
            group = 2 * int(dim / 8)
            block.token_mixer.dwconv_w = depthwise_conv(group, (1, 11))
            block.token_mixer.dwconv_h = depthwise_conv(group, (11, 1))
            block.token_mixer.split_sizes = [dim - 3 * (group // 2), group // 2, group]
    assert count_params(model) == 28_075_552
    counts = count(model, 224)
    assert as_printed(counts.params / 1e6, "0.0") == row.figures["params_m"]
    assert as_printed(counts.macs / 1e9, "0.0") == row.figures["macs_g"]
