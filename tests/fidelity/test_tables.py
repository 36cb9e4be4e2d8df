import csv
import json

import numpy as np
import pandas as pd
import pytest

from archsearch.errors import DataError
from archsearch.fidelity.tables import agreement_table
from archsearch.fidelity.training_records import by_seed, read_records
from archsearch.fidelity.verdicts import FidelityReport
from archsearch.stats.agreement import kendall
from archsearch.utils.package_data import shipped
from archsearch.utils.tables import render


def records(noise=0.01, count=24, seeds=2, bias=0.0):
    """Trainings whose accuracy depends on the kernel; the schedule overrates the smallest by ``bias``."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        kernel = (3, 5, 7)[number % 3]
        truth = 0.5 + 0.2 * rng.random()
        facts = {
            "network": f"n{number}",
            "table": None,
            "top1": None,
            "macs": 1e9 + 1e7 * number,
            "params": 1e6 + number,
        }
        facts |= {"axis.kernel_size": kernel, "axis.depths": "3-3-9-3", "synflow": truth, "naswot": rng.random()}
        for schedule, spread, tilt in (
            ("good", noise, 0.0),
            ("random", 10.0, 0.0),
            ("tilted", noise, bias),
            ("reference", 0.005, 0.0),
        ):
            for seed in range(seeds):
                accuracy = truth + spread * rng.standard_normal() + tilt * (kernel == 3)
                rows.append(facts | {"schedule": schedule, "seed": seed, "accuracy": accuracy, "seconds": 2.0 + seed})
    for number, name in enumerate("abcd"):
        for seed in range(seeds):
            row = {
                "network": name,
                "table": "8",
                "schedule": "good",
                "seed": seed,
                "seconds": 1.0,
                "top1": 82.0 + number / 10,
            }
            rows.append(row | {"accuracy": 0.5 + number / 100 + seed / 1000, "macs": 1e9, "params": 1e6})
    return pd.DataFrame(rows)


def test_verdicts():
    report = FidelityReport.of(records())
    lines = {line.name: line for line in report.lines}
    schedules = [name for each in ("good", "random", "tilted") for name in (each, f"{each}, mean of 2 seeds")]
    assert list(lines) == [*schedules, "number of parameters", "MACs", "synflow", "NASWOT"]
    best = "the best score without training (synflow)"  # which is the truth here
    assert lines["good"].verdict == f"ranks reliably; within MACs bins not told apart from {best}"
    assert lines["random"].verdict == f"does not rank reliably; within MACs bins worse than {best}"
    assert lines["good"].lead.value < 0 < lines["good"].lead.high
    assert lines["synflow"].lead is None
    fewer = {line.name: line for line in FidelityReport.of(records().drop(columns="synflow")).lines}
    assert fewer["good"].verdict.startswith(
        "ranks reliably; within MACs bins better than the best score without training"
    )
    assert "not told apart from" in fewer["random"].verdict
    assert (lines["good"].archs, lines["good"].seconds) == (24, 2.5)
    assert (lines["synflow"].retest, lines["synflow"].seconds) == (None, None)
    assert report.archs == 24
    assert report.left_out == {}
    assert report.reference_retest > 0.8
    nothing = FidelityReport.of(records().drop(columns=["synflow", "naswot"]).assign(params=1e6, macs=1e9))
    assert [(line.verdict, line.lead) for line in nothing.lines if line.name == "good"] == [("ranks reliably", None)]


def test_the_mean_of_seeds_is_a_score_of_its_own():
    frame = records(noise=0.06, seeds=3)
    lines = {line.name: line for line in FidelityReport.of(frame).lines}
    one, mean = lines["good"], lines["good, mean of 3 seeds"]
    assert (one.trainings, mean.trainings, lines["MACs"].trainings) == (1, 3, 0)
    assert mean.seconds == 3 * one.seconds == 3 * 3.0
    wide = by_seed(frame[frame["table"].isna() & (frame["schedule"] == "good")])
    truth = by_seed(frame[frame["schedule"] == "reference"]).mean(axis=1)
    assert mean.agreement.tau.value == pytest.approx(kendall(wide.mean(axis=1), truth))
    assert one.agreement.tau.value == pytest.approx(np.mean([kendall(wide[seed], truth) for seed in wide]))
    assert mean.agreement.tau.value > one.agreement.tau.value
    assert np.isnan(mean.retest)


def test_where_losses_are_known_each_schedule_is_ranked_by_loss_too():
    frame = records(noise=0.06)
    truth = frame[frame["schedule"] == "reference"].groupby("network")["accuracy"].mean()
    told = frame["network"].map(truth)  # none of the paper's networks
    frame["val_losses"] = [None if np.isnan(t) else f"2.30000 {1 - t:.5f}" for t in told]
    frame.loc[(frame["schedule"] == "tilted") & (frame["network"] == "n3"), "val_losses"] = None
    lines = {line.name: line for line in FidelityReport.of(frame).lines}
    assert [name for name in lines if "by loss" in name] == ["good, by loss", "random, by loss"]
    assert lines["good"].agreement.tau.value < 0.99
    assert lines["good, by loss"].agreement.tau.value == pytest.approx(1)
    assert (lines["good, by loss"].trainings, lines["good, by loss"].seconds) == (1, lines["good"].seconds)
    assert not any("by loss" in line.name for line in FidelityReport.of(frame.drop(columns="val_losses")).lines)


def test_schedules_are_compared_with_the_best_of_them():
    frame = records(noise=0.06, seeds=3)
    lost = (frame["network"] == "n3") & (frame["schedule"] == "random")
    frame.loc[lost, "accuracy"] = None
    report = FidelityReport.of(frame)
    lines = {line.name: line for line in report.lines}
    best = max(report.lines[:6], key=lambda line: line.agreement.tau.value)
    assert (report.best, best.behind) == (best.name, None)
    assert lines["MACs"].behind is None
    assert lines["random"].behind.high < 0
    assert lines["good"].behind.value == pytest.approx(lines["good"].agreement.tau.value - best.agreement.tau.value)
    assert f"vs best: tau less that of {best.name}" in render(agreement_table(report), "table")


def test_seconds_of_the_machine_are_known_where_the_records_say_how_many_trained():
    frame = records()
    assert np.isnan(FidelityReport.of(frame).lines[0].machine_seconds)
    frame = frame.assign(workers=4, threads=1, device="cpu of eight")
    frame.loc[frame["schedule"] == "random", ["workers", "threads"]] = None  # trained on another occasion
    report = FidelityReport.of(frame)
    lines = {line.name: line for line in report.lines}
    assert lines["good"].machine_seconds == 2.5 / 4
    assert lines["good, mean of 2 seeds"].machine_seconds == 2 * 2.5 / 4
    assert np.isnan(lines["random"].machine_seconds)
    assert report.conditions == ("4 at a time, 1 thread each, on cpu of eight",)
    assert "per candidate, 4 at a time, 1 thread each, on cpu of eight." in render(agreement_table(report), "table")
    cached = FidelityReport.of(records().assign(workers=None, threads=None, device="cpu of eight"))
    assert np.isnan(cached.lines[0].machine_seconds)
    assert cached.conditions == ()


def test_truth_says_which_images_and_seeds_it_is_of():
    frame = records()
    report = FidelityReport.of(frame)
    assert (report.truth, report.disjoint, report.reference_seeds) == ("validation images", False, 2)
    assert "share seeds, as in older versions" in render(agreement_table(report), "table")
    long = frame["schedule"] == "reference"
    frame.loc[long, "seed"] += 1000
    frame = frame.assign(judged=np.where(long, "test", "val"), images=np.where(long, 10000, 5000))
    report = FidelityReport.of(frame)
    assert (report.truth, report.disjoint) == ("10000 test images", True)
    text = render(agreement_table(report), "table")
    assert "Truth: mean of 2 trainings by the reference, judged on 10000 test images" in text
    assert "share seeds" not in text


def test_biases_are_named_with_their_direction():
    report = FidelityReport.of(records(bias=0.3))
    found = {shift.trait: shift.places for shift in report.biases["tilted"]}
    assert found["kernel_size 3"] > 5
    assert not report.biases["good"]
    text = render(agreement_table(report), "table")
    assert "tilted overrates (+) or underrates (-): kernel_size 3 +" in text
    assert "depths" not in text.split("tilted overrates")[1].splitlines()[0]  # all have the same


def test_the_paper():
    (line,) = FidelityReport.of(records()).paper
    assert (line.schedule, line.table, line.rows, line.tau, line.retest) == ("good", "8", 4, 1.0, 1.0)
    assert [name for name, _, _ in line.order] == ["d", "c", "b", "a"]
    assert line.order[0][1:] == pytest.approx((53.05, 82.3))


def test_what_did_not_finish_is_left_out_where_it_did_not_and_told():
    frame = records()
    failed = (frame["network"].isin(["n3", "n4"])) & (frame["schedule"] == "random")
    frame.loc[failed, ["accuracy", "error"]] = [None, "diverged: the loss"]
    frame.loc[frame["network"] == "n5", "accuracy"] = None
    frame.loc[frame["schedule"] == "tilted", "accuracy"] = None
    report = FidelityReport.of(frame)
    assert report.archs == 23
    assert [(line.name, line.archs) for line in report.lines[:4:2]] == [("good", 23), ("random", 21)]
    assert "tilted" not in [line.name for line in report.lines]
    text = render(agreement_table(report), "markdown")
    assert "random: 21 of 23 architectures finished (the first error: diverged: the loss)." in text
    assert "tilted: 0 of 23 architectures finished" in text


@pytest.mark.parametrize("left", [0, 5])
def test_a_reference_that_hardly_anything_finished(left):
    frame = records()
    lost = (frame["schedule"] == "reference") & ~frame["network"].isin([f"n{i}" for i in range(left)])
    frame.loc[lost, "accuracy"] = None
    with pytest.raises(DataError, match=f"{left} architectures finished the reference; a ranking needs at least 6"):
        FidelityReport.of(frame)


def test_few_architectures_cannot_tell():
    frame = records(noise=0.06, count=7)
    assert {line.verdict.partition(";")[0] for line in FidelityReport.of(frame).lines} >= {
        "too few architectures to tell"
    }


def test_a_constant_score_is_no_baseline():
    report = FidelityReport.of(records().assign(params=1e6, naswot=-np.inf))
    assert [line.name for line in report.lines[6:]] == ["MACs", "synflow"]
    assert "number of parameters" not in report.lines[0].verdict


def test_one_seed():
    text = render(agreement_table(FidelityReport.of(records(seeds=1))), "table")
    assert "one seed, so that its own noise is not known" in text
    assert "nan" not in text


def test_formats_say_the_same():
    report = FidelityReport.of(records())
    rows = list(csv.DictReader(render(agreement_table(report), "csv").splitlines()))
    data = json.loads(render(agreement_table(report), "json"))
    assert [row["score"] for row in rows] == [line["name"] for line in data["lines"]]
    assert float(rows[0]["tau"]) == data["lines"][0]["agreement"]["tau"]["value"]
    assert data["lines"][-1]["retest"] is None
    assert float(rows[0]["lead_low"]) == data["lines"][0]["lead"]["low"]
    assert (rows[-1]["lead"], data["lines"][-1]["lead"]) == ("", None)
    table = render(agreement_table(report), "markdown").splitlines()
    assert table[2].startswith(f"| good | {float(rows[0]['tau']):.2f} |")


def test_records_survive_their_file(tmp_path):
    frame = records()
    frame.to_csv(tmp_path / "r.csv", index=False)
    again = render(agreement_table(FidelityReport.of(read_records(tmp_path / "r.csv"))), "csv")
    assert again == render(agreement_table(FidelityReport.of(frame)), "csv")


def test_records_of_older_files_have_rungs(tmp_path):
    frame = records()
    frame.rename(columns={"schedule": "rung"}).to_csv(tmp_path / "r.csv", index=False)
    again = render(agreement_table(FidelityReport.of(read_records(tmp_path / "r.csv"))), "json")
    assert again == render(agreement_table(FidelityReport.of(frame)), "json")
    assert json.loads(again)["paper"][0]["rung"] == "good"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot read"),
        ("", "no table of comma-separated values"),
        ("a,b\n1,2\n", "no column 'network'"),
    ],
)
def test_other_files_are_refused(tmp_path, text, words):
    path = tmp_path / "r.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_records(path)


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_an_accuracy_that_is_not_finite_is_a_training_that_did_not_finish(tmp_path, value):
    frame = records()
    frame["accuracy"] = frame["accuracy"].astype(object)
    frame.loc[(frame["network"] == "n3") & (frame["schedule"] == "good"), "accuracy"] = value
    frame.to_csv(tmp_path / "records.csv", index=False)
    report = FidelityReport.of(read_records(tmp_path / "records.csv"))
    assert report.left_out == {"good": "23 of 24 architectures finished"}
    assert next(line for line in report.lines if line.name == "good").archs == 23


def test_the_shipped_records_which_have_no_losses_are_reported():
    frame = read_records(shipped("studies") / "results" / "fidelity-inception_dw-cifar10-epyc-2-cores.csv")
    assert "losses" not in frame
    lines = {line.name: line for line in FidelityReport.of(frame).lines}
    assert "better than" in lines["6 epochs, batch 32"].verdict
    assert "not told apart from" in lines["cpu recipe"].verdict
