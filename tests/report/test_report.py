import argparse
import json
import math
import re

import numpy as np
import pandas as pd
import pytest
from tiny import FAILED, OBJECTIVES, RECIPE, trial
from views import view

from archsearch.cli import options
from archsearch.objectives import parse_objectives
from archsearch.report.frame import front_rows, trials_frame
from archsearch.report.tables import trials_table
from archsearch.utils.tables import FORMATS, Document, render, terminal_table

TRIALS = [trial(0, 0.5, 1e9, 100), trial(1, 0.6, 2e9, 50), trial(2, 0.4, 2e9, 50), FAILED]


@pytest.fixture
def frame():
    return trials_frame(TRIALS, OBJECTIVES)


def test_frame_has_a_row_per_trial_and_marks_the_front(frame):
    assert frame["number"].tolist() == [0, 1, 2, 9]
    assert frame["front"].tolist() == [True, True, False, False]
    assert frame["state"].tolist() == ["complete"] * 3 + ["failed"]
    assert frame["params.band_kernel_size"].iloc[:3].tolist() == [7, 9, 11]
    assert pd.isna(frame["params.band_kernel_size"].iloc[3])
    assert front_rows(frame, OBJECTIVES)["number"].tolist() == [1, 0]


def test_measured_scores_have_their_interval_and_ratio_beside_them(frame):
    row = frame.iloc[0]
    assert row["infer_throughput.low"] == pytest.approx(100 / 1.05)
    assert row["infer_throughput.high"] == pytest.approx(100 / 0.95)
    assert row["infer_throughput.ratio"] == pytest.approx(100 / 30)
    assert row["infer_throughput.low"] < row["infer_throughput"] < row["infer_throughput.high"]
    assert "infer_throughput.form" not in frame


def test_speeds_of_the_deploy_form_say_so():
    deployed = trial(0, 0.5, 1e9, 100)
    deployed.evaluation.details["infer_throughput"]["form"] = "deploy"
    assert trials_frame([deployed], OBJECTIVES)["infer_throughput.form"].tolist() == ["deploy"]


NOISY = [trial(0, 0.5, 1e9, 100, values=[0.49, 0.51]), trial(1, 0.6, 2e9, 50), trial(2, 0.595, 2e9, 50), FAILED]


def test_accuracies_have_intervals_and_trials_chances():
    frame = view(NOISY).frame
    half = 12.7062 * math.sqrt(0.0002)  # Student's, with one degree of freedom
    assert frame["accuracy.high"].iloc[0] == pytest.approx(0.5 + half / math.sqrt(2), rel=1e-5)
    assert frame["accuracy.low"].iloc[1] == pytest.approx(0.6 - half, rel=1e-4)
    assert np.isnan(frame["accuracy.low"].iloc[3])
    assert frame["front"].tolist() == [True, True, False, False]
    chances = frame["front_probability"]
    assert 0.9 < chances[0] <= 1.0
    assert 0.4 < chances[1] < 0.9
    assert 0.1 < chances[2] < chances[1]
    assert np.isnan(chances[3])
    assert "front_probability" not in trials_frame(NOISY, OBJECTIVES)
    exact = view(TRIALS, recipe={**RECIPE, "objectives": ["macs", "params"]}, images=100).frame
    assert "front_probability" not in exact
    assert "accuracy.low" not in exact


def test_without_seeds_intervals_are_of_the_sample_of_images():
    frame = view([trial(0, 0.5, 1e9, 100), trial(1, 1.0, 2e9, 100)], images=100).frame
    assert frame["accuracy.low"].tolist() == pytest.approx([0.4038, 0.9630], abs=1e-4)
    assert frame["accuracy.high"].tolist() == pytest.approx([0.5962, 1.0], abs=1e-4)


def test_every_format_tells_how_probably_a_trial_is_on_the_front():
    frame = view(NOISY).frame
    markdown = render(trials_table(frame, OBJECTIVES), "markdown").splitlines()
    assert markdown[0].split(" | ")[-2] == "P(front) (%)"
    assert [line.split(" | ")[-2] for line in markdown[2:]] == [
        "100",
        *(f"{100 * chance:.0f}" for chance in frame["front_probability"][1:3]),
        "-",
    ]
    assert "P(front) (%)" in render(trials_table(frame, OBJECTIVES), "table")
    told = json.loads(render(trials_table(frame, OBJECTIVES), "json"))
    assert [row["front_probability"] for row in told] == [*frame["front_probability"][:3], None]
    assert told[1]["accuracy.low"] == pytest.approx(frame["accuracy.low"][1])
    head, first = render(trials_table(frame, OBJECTIVES), "csv").splitlines()[:2]
    assert dict(zip(head.split(","), first.split(","), strict=True))["front_probability"] == "1.0"


def test_a_failed_trial_is_on_no_front_however_cheap():
    frame = trials_frame([FAILED], parse_objectives("macs"))
    assert not frame["front"].any()
    assert front_rows(frame, parse_objectives("macs")).empty


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rows", ["front", "all", "none"])
def test_every_format_takes_every_frame(frame, name, rows):
    empty = trials_frame([], OBJECTIVES)
    chosen = {"front": front_rows(frame, OBJECTIVES), "all": frame, "none": empty}[rows]
    text = render(trials_table(chosen, OBJECTIVES), name)
    assert all(
        (f" {number} " in text.replace(",", " ").replace(":", " ").replace("\n", " ")) for number in chosen["number"]
    )
    assert "accuracy" in text or "top-1" in text or text == "[]"


def test_the_command_line_offers_every_format():
    parser = argparse.ArgumentParser()
    options.add_format(parser)
    assert [parser.parse_args(["-f", name]).format for name in FORMATS] == [*FORMATS]
    with pytest.raises(ValueError, match="yaml"):
        render(Document([], []), "yaml")


def test_csv_and_json_keep_the_records_units(frame):
    front = front_rows(frame, OBJECTIVES)
    assert json.loads(render(trials_table(front, OBJECTIVES), "json"))[0]["macs"] == 2e9
    assert render(trials_table(front, OBJECTIVES), "csv").splitlines()[0].startswith("number,state,key,accuracy,macs,")


def test_tables_show_units_and_subject(frame):
    text = render(trials_table(front_rows(frame, OBJECTIVES), OBJECTIVES), "markdown")
    assert "| trial | proxy top-1 (%) | target GMACs | target infer (img/s) | architecture |" in text
    assert "| 1 | 60.0 | 2.00 | 50.0 | inception, band_kernel_size 9 |" in text
    assert render(trials_table(frame, OBJECTIVES), "markdown").splitlines()[-1] == "| 9 | - | 0.00 | - | depthwise |"


@pytest.mark.parametrize("columns", [20, 60, 200])
def test_a_narrow_terminal_folds_words_and_cuts_nothing(monkeypatch, columns):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    words = "inception(square_kernel_size=3, band_kernel_size=11) and more"
    text = terminal_table(["network", "MACs", "made of"], [("a" * 30, "4,194,591,648", words)], left=(0, 2))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "a" * 30 in plain
    assert "4,194,591,648" in plain
    assert "".join(plain.split()).endswith("".join(words.split()))
    assert "…" not in plain
    assert max(map(len, plain.splitlines())) <= max(columns, 30 + 13 + 4 + 32)
