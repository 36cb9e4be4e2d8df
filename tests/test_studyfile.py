import pytest

from archsearch.errors import StudyFileError
from archsearch.networks import find
from archsearch.shipped import shipped
from archsearch.studyfile import load_study

FOLDER = shipped("studies")
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))

GOOD = """\
title: mine
table: 8
baseline: inceptionnext_tiny
columns: {train: train_img_s}
cpu: {batch_size: 1, resolution: 1/2}
"""


def test_the_papers_speed_tables_come_along():
    assert NAMES == ["convnext_table1", "imagenet_table4", "inceptionnext_table8"]


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_a_network_with_a_ratio(name):
    study = load_study(name, FOLDER)
    assert study.changes["gpu"] == {"reference": study.baseline, "batch_size": 128, "precision": "tf32"}
    assert study.changes["cpu"]["reference"] == study.baseline
    for row in study.rows:
        assert study.img_size(row, "gpu") in (None, 224, 384)
        size = study.img_size(row, "cpu")
        assert size == {None: 112, "224": 112, "384": 192}[row.figures.get("image_size")]
        find(row.network, size)
        for speed in ("train", "infer"):
            assert 0.05 < study.paper_ratio(row, speed) < 10


def test_ratios_are_the_papers():
    table4 = load_study("imagenet_table4", FOLDER)
    ratios = {row.row: table4.paper_ratio(row, "train") for row in table4.rows}
    assert round(ratios["InceptionNeXt-T"], 2) == 1.57
    assert ratios["ConvNeXt-T"] == 1.0
    table8 = load_study("inceptionnext_table8", FOLDER)
    assert round(next(table8.paper_ratio(r, "train") for r in table8.rows if "layer" in r.network), 2) == 0.8


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    study = load_study(str(path), FOLDER)
    assert (study.name, study.title, study.device) == ("mine", "mine", "the paper's device")
    assert study.changes["cpu"] == {"reference": "inceptionnext_tiny", "batch_size": 1}
    assert study.img_size(study.rows[0], "cpu") == 112
    assert study.img_size(study.rows[0], "gpu") is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("table: 8", "table: 2"), r"line 2: unknown table of the paper '2'"),
        (("table: 8\n", ""), r"the key 'table' is missing"),
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
        ((GOOD, "- a list"), r"must hold a mapping"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path, change, says):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(StudyFileError, match=says):
        load_study(str(path), FOLDER)


def test_studies_that_do_not_exist(tmp_path):
    with pytest.raises(StudyFileError, match="unknown study 'table1'"):
        load_study("table1", FOLDER)
    with pytest.raises(StudyFileError, match=r"cannot read .*none.yaml"):
        load_study(str(tmp_path / "none.yaml"), FOLDER)
