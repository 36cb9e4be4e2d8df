import re
from pathlib import Path

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from archsearch.ablation import yaml as studyfile
from archsearch.ablation.pairs import all_pairs
from archsearch.ablation.variants import apply, around, combine
from archsearch.ablation.yaml import load_study
from archsearch.arch.networks import NETWORKS, TimmModel, network
from archsearch.arch.paper import rows
from archsearch.errors import StudyFileError
from archsearch.recipes import PROXIES, override
from archsearch.utils.package_data import shipped

FOLDER = shipped("studies")
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
OF_TABLES = [name for name in NAMES if name != "figure3"]

ROWS = """\
title: mine
table: 8
baseline: inceptionnext_tiny
columns: {train: train_img_s}
cpu: {batch_size: 1, resolution: 1/2}
"""
OWN = """\
title: mine
baseline: inceptionnext_tiny
factors:
  norm: [layer]
  band_kernel_size: [7, 13]
  branch:
    no square: {branches: horizontal+vertical}
    sequence: {bands: sequential}
  conv_ratio:
    from: {token_mixer: depthwise, kernel_size: 3}
    with: {token_mixer: partial_depthwise, kernel_size: 3}
    values: [1/2]
"""


def load(tmp_path, text, **options):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return load_study(str(path), FOLDER, **options)


def test_the_papers_studies_come_along():
    assert NAMES == [
        "convnext_table1", "figure1", "figure3", "imagenet_table4", "inceptionnext_table8", "isotropic_table5",
    ]  # fmt: skip


@pytest.mark.parametrize("name", OF_TABLES)
def test_every_network_stands_beside_its_row(name):
    study = load_study(name, FOLDER)
    for variant in study.variants:
        assert variant.row is not None
        if isinstance(variant.network, TimmModel):
            assert str(variant.network) == variant.row.network
        else:
            assert variant.network == network(variant.row.network).replace(img_size=variant.network.img_size)
        assert study.img_size(variant, "gpu") == int(variant.row.figures.get("image_size", 224))
        for speed in ("train", "infer"):
            assert 0.05 < study.paper_ratio(variant, speed) < 10


@pytest.mark.parametrize(
    ("name", "table"),
    [("convnext_table1", "1"), ("imagenet_table4", "4"), ("isotropic_table5", "5"), ("inceptionnext_table8", "8")],
)
def test_every_row_of_a_table_has_its_variant(name, table):
    study = load_study(name, FOLDER)
    assert sorted(v.row.row for v in study.variants) == sorted(row.row for row in rows(table))


def test_ratios_are_the_papers():
    table4 = {v.row.row: v for v in load_study("imagenet_table4", FOLDER).variants}
    study = load_study("imagenet_table4", FOLDER)
    assert round(study.paper_ratio(table4["InceptionNeXt-T"], "train"), 2) == 1.57
    assert study.paper_ratio(study.baseline, "train") == 1.0
    table8 = load_study("inceptionnext_table8", FOLDER)
    (layer,) = [v for v in table8.variants if v.factor == "norm"]
    assert round(table8.paper_ratio(layer, "train"), 2) == 0.8
    figure1 = load_study("figure1", FOLDER)
    assert {v.row.table for v in figure1.variants} == {"1", "4"}
    assert {v.row.row: round(figure1.paper_ratio(v, "train"), 2) for v in figure1.variants}["ResNet-50"] == 1.69


def test_the_rows_of_a_table_in_a_file_of_ones_own(tmp_path):
    study = load(tmp_path, ROWS)
    assert (study.name, study.title, study.device) == ("mine", "mine", "the paper's device")
    assert study.changes["cpu"] == {"batch_size": 1}
    assert study.img_size(study.baseline, "cpu") == 112
    assert study.timed(study.baseline, "cpu").img_size == 112
    assert study.img_size(study.baseline, "gpu") == 224
    assert len(study.variants) == 11


def test_factors_change_one_thing_at_a_time(tmp_path):
    study = load(tmp_path, OWN)
    base = network("inceptionnext_tiny")
    found = {v.name: v for v in study.variants}
    assert list(found) == [
        "inceptionnext_tiny", "norm layer", "band_kernel_size 7", "band_kernel_size 13", "no square", "sequence",
        "token_mixer depthwise, kernel_size 3", "conv_ratio 1/2",
    ]  # fmt: skip
    assert study.factors == ("norm", "band_kernel_size", "branch", "conv_ratio")
    assert found["norm layer"].network == base.replace(norm="layer")
    assert found["sequence"].network == NETWORKS["inceptionnext_tiny_sequential"]
    half = found["conv_ratio 1/2"]
    assert half.base == "token_mixer depthwise, kernel_size 3"
    assert {str(mixer) for mixer in half.network.mixers} == {"partial_depthwise(kernel_size=3, conv_ratio=0.5)"}
    assert all(v.base == "inceptionnext_tiny" for v in study.variants if v.factor != "conv_ratio")
    assert all(v.parts == ((v.name,) if v.factor else ()) for v in study.variants)


def test_some_factors_come_with_what_they_are_compared_to(tmp_path):
    study = load_study("convnext_table1", FOLDER)
    assert [v.name for v in study.only(["conv_ratio"]).variants] == [
        "convnext_tiny", "kernel_size 3", "conv_ratio 1/2", "conv_ratio 3/8", "conv_ratio 1/4", "conv_ratio 1/8",
        "conv_ratio 1/16",
    ]  # fmt: skip
    assert len(study.only(["kernel_size"]).variants) == 3
    with pytest.raises(StudyFileError, match="unknown factor 'kernel': did you mean 'kernel_size'"):
        study.only(["kernel"])


def test_a_factorial_has_every_combination_once(tmp_path):
    text = OWN.partition("  branch:")[0] + "full: true\n"
    study = load(tmp_path, text)
    assert len(study.variants) == 2 * 3
    assert len({v.network.key for v in study.variants}) == 6
    both = study.variants[-1]
    assert both.name == "norm layer + band_kernel_size 13"
    assert both.parts == ("norm layer", "band_kernel_size 13")
    assert both.network == combine(study, list(both.parts)).network
    assert both.network.norm == "layer"
    assert both.network.mixers[0]["band_kernel_size"] == 13


def test_some_factors_of_a_factorial_keep_their_combinations(tmp_path):
    text = OWN.partition("  branch:")[0] + "  act: [relu]\nfull: true\n"
    study = load(tmp_path, text)
    assert study.factors == ("norm", "band_kernel_size", "act")
    assert len(study.variants) == 2 * 3 * 2
    assert [v.name for v in study.only(["norm", "act"]).variants] == [
        "inceptionnext_tiny", "norm layer", "act relu", "norm layer + act relu",
    ]  # fmt: skip


def test_a_factorial_leaves_out_what_is_there_already(tmp_path):
    """Without bands, their size changes nothing."""
    text = "baseline: inceptionnext_tiny\nfactors:\n  token_mixer: [depthwise]\n  band_kernel_size: [7]\nfull: true\n"
    assert [v.name for v in load(tmp_path, text).variants] == [
        "inceptionnext_tiny", "token_mixer depthwise", "band_kernel_size 7",
    ]  # fmt: skip


def test_changes_of_the_same_thing_are_not_combined(tmp_path):
    text = "baseline: inceptionnext_tiny\nfactors:\n  depths: [[2, 2, 2, 2]]\n  stage3.depth: [3]\n"
    study = load(tmp_path, text)
    with pytest.raises(StudyFileError, match="both set depths"):
        combine(study, ["depths 2-2-2-2", "stage3.depth 3"])


def test_another_baseline_keeps_the_factors(tmp_path):
    other = network("inceptionnext_small")
    study = load_study("inceptionnext_table8", FOLDER, ("mine", other))
    assert study.baseline.name == "mine"
    assert study.baseline.network == other
    assert [v.name for v in study.variants[1:]] == [
        v.name for v in load_study("inceptionnext_table8", FOLDER).variants[1:]
    ]
    assert all(v.row is None for v in study.variants)  # none of them is a row of Table 8
    with pytest.raises(StudyFileError, match="another baseline needs factors"):
        load_study("imagenet_table4", FOLDER, ("mine", other))


@given(st.integers(0, 2**32))
def test_around_a_trial_everything_differs_in_one_choice(seed):
    import random

    space = tiny.shipped_space("inception_dw")
    params = space.sample(random.Random(seed))
    study = around("found", space, params, space.arch(params))
    assert study.fitted(PROXIES["smoke"]) == space.fitted(PROXIES["smoke"])
    assert study.baseline.network == space.arch(params)
    assert len({v.network.key for v in study.variants}) == len(study.variants) > 1
    for variant in study.variants[1:]:
        assert variant.factor in params
        assert variant.changes[variant.factor] != params[variant.factor]
        assert {*variant.changes} - {variant.factor} <= {axis.name for axis in space.axes if axis.when}
        assert variant.base == "found"
        assert apply(study.baseline.network, variant.changes) == variant.network


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("table: 8", "table: 2"), r"line 2: unknown table of the paper '2'"),
        (("table: 8\n", ""), r"a study needs factors, or a table of the paper"),
        (
            ("table: 8\nbaseline: inceptionnext_tiny\ncolumns: {train: train_img_s}\n", "baseline: convnext_tiny\n"),
            r"a study needs factors, or a table of the paper; the key 'factors' is missing",
        ),
        (("baseline: inceptionnext_tiny\n", ""), r"the key 'baseline' is missing"),
        (
            ("baseline: inceptionnext_tiny", "baseline: convnext_tiny"),
            r"line 3: unknown row of the table 'convnext_tiny'",
        ),
        (("train: train_img_s", "train: a100"), r"line 4: unknown column of the table 'a100'"),
        (("train: train_img_s", "latency: train_img_s"), r"line 4: unknown speed 'latency'"),
        (("columns: {train: train_img_s}", "columns: train_img_s"), r"line 4: 'columns' must be a mapping"),
        (("batch_size: 1", "batch: 1"), r"line 5: unknown field of a bench recipe 'batch': did you mean 'batch_size'"),
        (("batch_size: 1", "batch_size: 0"), r"line 5: batch_size is 0"),
        (("batch_size: 1", "img_size: 64"), r"line 5: img_size follows from resolution"),
        (("batch_size: 1", "reference: convnext_tiny"), r"line 5: reference follows from baseline"),
        (("{train: train_img_s}", "{}"), r"line 4: columns must name those of train or infer"),
        (("train: train_img_s", "train: [a]"), r"line 4: unknown column of the table"),
        (("resolution: 1/2", "resolution: 0"), r"line 5: resolution is 0"),
        (("resolution: 1/2", "resolution: half"), r"line 5: resolution is 'half'"),
        (("title: mine", "titel: mine"), r"line 1: unknown key of a study 'titel': did you mean 'title'"),
        (("title: mine", "train: maybe"), r"line 1: train is 'maybe', but must be true or false"),
        (("title: mine", "networks: [resnet50]"), r"line 1: unknown row of the table 'resnet50'"),
        (("table: 8", "table: []"), r"line 2: table names no table of the paper"),
        (("title: mine", "networks: [[a]]"), r"line 1: unknown row of the table"),
        (("baseline: inceptionnext_tiny", "baseline: [a]"), r"line 3: unknown row of the table"),
        (("baseline: inceptionnext_tiny", "baseline: {a: b}"), r"line 3: unknown row of the table"),
        (("title: mine", "networks: []"), r"line 1: networks must be a list of names"),
        (("title: mine", "operators: {kernel_sizes: [3]}"), r"line 1: operators stand alone"),
        ((ROWS, "- a list"), r"must hold a mapping"),
    ],
)
def test_mistakes_about_rows_are_told_with_their_line(tmp_path, change, says):
    with pytest.raises(StudyFileError, match=says):
        load(tmp_path, ROWS.replace(*change))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("norm: [layer]", "normal: [layer]"), r"line 4: unknown axis 'normal': did you mean 'norm'"),
        (("norm: [layer]", "norm: [group]"), r"line 4: norm group: unknown norm 'group'"),
        (("norm: [layer]", "norm: [batch]"), r"line 4: factor 'norm': 'norm batch' is the same network as 'inceptionn"),
        (("norm: [layer]", "norm: layer"), r"line 4: factor 'norm' must be a list of values, not 'layer'"),
        (("norm: [layer]", "line: [3]"), r"line 4: unknown axis 'line'"),
        (("norm: [layer]", "norm: {from: {act: relu}}"), r"line 4: factor 'norm' needs 'values'"),
        (("norm: [layer]", "norm: []"), r"line 4: factor 'norm' must be a list of values"),
        (("[7, 13]", "[7, 12]"), r"line 5: band_kernel_size 12: .*must be a positive odd integer"),
        (("[7, 13]", "[7, 7]"), r"line 5: factor 'band_kernel_size': 'band_kernel_size 7' is the same network as"),
        (
            ("{bands: sequential}", "{band: sequential}"),
            r"line 8: unknown axis 'band': did you mean 'band_kernel_size'.*bands",
        ),
        (("{bands: sequential}", "{}"), r"line 8: a variant without a change"),
        (("{bands: sequential}", "sequential"), r"line 8: 'sequence' must be a mapping"),
        (("sequence:", "norm layer:"), r"line 8: factor 'branch': there is a variant 'norm layer' already"),
        (("band_kernel_size: [7, 13]", "kernel_size: [3]"), r"line 5: .*has no effect: no token_mixer"),
        (("values: [1/2]", "values: [2]"), r"line 12: .*conv_ratio 2: .*must be a number in \(0, 1\]"),
        (("    from:", "    form:"), r"line 10: unknown key of factor 'conv_ratio' 'form': did you mean 'from'"),
        (("title: mine", "full: true"), r"line 1: full: .*cannot be combined: .*"),
        (("title: mine", "table: 8"), r"line 1: row 'remove horizontal band kernel' of table 8 has no variant here"),
        (("baseline: inceptionnext_tiny", "baseline: timm:resnet50"), r"line 2: baseline: timm:resnet50 comes ready"),
        (("baseline: inceptionnext_tiny", "baseline: none.json"), r"line 2: baseline: cannot read .*none.json"),
        (("  norm:", "  'a, b':"), r"line 4: no factor can be called 'a, b'"),
        (("  norm:", "  '':"), r"line 4: no factor can be called ''"),
        (("no square:", "token_mixer depthwise, kernel_size 3:"), r"two networks are called 'token_mixer depthwise, k"),
        (("baseline: inceptionnext_tiny", "baseline: [a]"), r"line 2: 'baseline' must be a mapping"),
        (("title: mine", "device: A100"), r"line 1: device speaks of a table of the paper"),
        (("title: mine", "proxy: {widht: 1/4}"), r"line 1: proxy: unknown field .*did you mean 'width'"),
        (
            ("title: mine", "needs: {widht: 1/4}"),
            r"line 1: unknown need of proxy networks 'widht': did you mean 'width'",
        ),
        (("title: mine", "needs: {depth: 0}"), r"line 1: needs: depth is 0, but must be a number greater than 0"),
    ],
)
def test_mistakes_about_factors_are_told_with_their_line(tmp_path, change, says):
    with pytest.raises(StudyFileError, match=says):
        load(tmp_path, OWN.replace(*change))


def test_a_factorial_beyond_all_measure_is_refused(tmp_path):
    sizes = ", ".join(str(k) for k in range(13, 63, 2))
    text = f"baseline: inceptionnext_tiny\nfactors:\n  band_kernel_size: [{sizes}]\n  square_kernel_size: [{sizes}]\n"
    with pytest.raises(StudyFileError, match="line 5: full: more than 500 combinations"):
        load(tmp_path, text + "full: true\n")


def test_the_examples_of_the_documentation_are_studies(tmp_path):
    text = studyfile.__doc__.partition("\n\n")[2]
    found = load(tmp_path, text.partition("table: 8")[0])
    assert [v.name for v in found.variants][-1] == "conv_ratio 1/4"
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (example,) = re.findall(r"`my_ablation.yaml`:\n\n```yaml\n(.*?)```", readme, re.DOTALL)
    study = load(tmp_path, example)
    assert len(study.variants) == 9
    assert len(all_pairs(study, PROXIES["cpu_long"])) > 0


def test_recipes_are_fitted_to_what_a_study_says(tmp_path):
    text = "baseline: inceptionnext_tiny\nfactors: {norm: [layer]}\nproxy: {width_step: 8}\nneeds: {width: 3/8}\n"
    made = load(tmp_path, text).fitted(PROXIES["cpu_long"])
    assert made == override(PROXIES["cpu_long"], {"width_step": 8, "width": 3 / 8})
    iso = load_study("isotropic_table5", FOLDER)
    for name in ("cpu", "cpu_long", "smoke"):
        assert iso.fitted(PROXIES[name]) == override(PROXIES[name], {"width": 1 / 4, "stem_patch_size": 4})


def test_part_of_a_table_where_that_is_said(tmp_path):
    text = "baseline: inceptionnext_tiny\nfactors: {norm: [layer]}\ntable: 8\npartial: true\n"
    study = load(tmp_path, text)
    assert [v.row.row for v in study.variants] == ["InceptionNeXt-T", "batch norm -> layer norm"]


def test_studies_that_do_not_exist(tmp_path):
    with pytest.raises(StudyFileError, match="unknown study 'table1'"):
        load_study("table1", FOLDER)
    with pytest.raises(StudyFileError, match=r"cannot read .*none.yaml"):
        load_study(str(tmp_path / "none.yaml"), FOLDER)
