import argparse
import csv
import json
import re
from pathlib import Path

import pytest
import tiny
from command import FAST, contents, refused, run

from archsearch.cli import benchmark as verb

QUICK = ["--rounds", "2", "--set", "bench.min_block_s=0.001", "bench.warmup_limit_s=0.01", "-q"]


@pytest.fixture(autouse=True)
def _small_networks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, arch in (("small", tiny.SMALL), ("plain", tiny.PLAIN)):
        (tmp_path / f"{name}.json").write_text(json.dumps(arch.to_dict()))


def bench(capsys, *words):
    return run(capsys, "benchmark", *words, "--reference", "small.json", *QUICK)


def test_timms_columns_come_first(capsys, tmp_path):
    code, out, err = bench(capsys, "plain.json", "timm:resnet18", "--img-size", "64", "-f", "csv")
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert list(rows[0])[:13] == [
        "model",
        "infer_samples_per_sec",
        "infer_step_time",
        "infer_batch_size",
        "infer_img_size",
        "infer_gmacs",
        "infer_macts",
        "train_samples_per_sec",
        "train_step_time",
        "train_batch_size",
        "train_img_size",
        "param_count",
        "error",
    ]
    assert [(row["model"], row["layout"]) for row in rows] == [
        (model, layout) for model in ("plain.json", "timm:resnet18") for layout in ("channels_first", "channels_last")
    ]
    for row in rows:
        for kind, batch in (("infer", 2), ("train", 2), ("latency", 1)):
            speed, ms = float(row[f"{kind}_samples_per_sec"]), float(row[f"{kind}_step_time"])
            assert speed == pytest.approx(batch * 1e3 / ms)
            assert float(row[f"{kind}_samples_per_sec_low"]) <= speed <= float(row[f"{kind}_samples_per_sec_high"])
            assert float(row[f"{kind}_ratio_low"]) <= float(row[f"{kind}_ratio"]) <= float(row[f"{kind}_ratio_high"])
            assert len(row[f"{kind}_blocks_ms"].split()) == len(row[f"{kind}_reference_blocks_ms"].split()) == 2
        assert 0 < float(row["latency_step_time_median"]) <= float(row["latency_step_time_p95"])
        assert row["env_torch"]
        assert row["load_average"]
        assert (row["precision"], row["mode"], row["reference"]) == ("fp32", "eager", "small.json")
    assert rows[2]["param_count"] == "11.69"
    for model in ("plain.json", "timm:resnet18"):
        assert sorted(row["infer_best"] for row in rows if row["model"] == model) == ["False", "True"]


def test_timms_words_for_size_arguments_and_merged_branches(capsys):
    words = ["--input-size", "3", "64", "64", "--bench", "infer", "--channels-last", "-f", "json"]
    made = ["--model-kwargs", "num_classes=7", "norm=layer", "--reparam"]
    code, out, err = bench(capsys, "plain.json", *words, *made)
    assert code == 0, err
    (row,) = json.loads(out)
    assert row["model"] == "plain.json (num_classes=7, norm=layer)"
    assert row["arch"] == tiny.PLAIN.replace(num_classes=7, norm="layer", img_size=64).to_dict()
    code, out, err = bench(capsys, "timm:repghostnet_050", *words, "--reparam")
    assert code == 0, err
    (row,) = json.loads(out)
    assert (row["model"], row["infer_img_size"], row["form"]) == ("timm:repghostnet_050", 64, "deploy")
    assert row["params"] == 2_306_528  # with branches 2,313,968


def test_the_table_says_which_form_is_counted_and_timed(capsys):
    words = ["plain.json", "--channels-last", "--img-size", "64"]
    code, table, err = bench(capsys, *words, "--reparam")
    assert code == 0, err
    assert "deploy form, of the networks and of the reference" in table
    heads = " ".join(next(line for line in table.splitlines() if line.startswith("model")).split())
    for head in ("params (M), deploy", "GMACs, deploy", "infer (img/s), deploy", "latency (ms), deploy"):
        assert head in heads
    assert "train (img/s) train ratio" in heads
    code, table, _ = bench(capsys, *words, "--bench", "train", "--reparam")
    assert "params (M), deploy" not in table, "counts beside training steps alone are those of the train form"
    assert "deploy" not in bench(capsys, *words)[1]


def test_onnxruntime_is_a_mode(capsys):
    pytest.importorskip("onnxruntime")
    words = ["plain.json", "--mode", "onnxruntime", "--bench", "infer", "-f"]
    code, table, err = bench(capsys, *words, "table")
    assert code == 0, err
    assert re.search(r"^mode onnxruntime: onnxruntime [\d.]+, CPUExecutionProvider, \d+ threads?$", table, re.MULTILINE)
    (row,) = json.loads(bench(capsys, *words, "json")[1])
    assert (row["mode"], row["layout"], row["provider"]) == ("onnxruntime", "channels_first", "CPUExecutionProvider")
    assert row["provider_threads"] == row["env_threads"]
    assert row["infer_samples_per_sec"] > 0
    code, out, err = bench(capsys, "plain.json", "--mode", "onnxruntime", "-f", "json")
    assert code == 0, err
    assert json.loads(out)[0]["train_error"] == "mode onnxruntime has no training step"
    assert "archsearch: plain.json: mode onnxruntime has no training step\n" in err


def test_onnxruntime_is_an_extra(capsys, tmp_path, monkeypatch):
    """The process that times finds no such library, as where the extra is not installed."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name.startswith('onnx') else find(name, *rest)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(blocked))
    code, out, err = bench(capsys, "plain.json", "--mode", "onnxruntime", "--bench", "infer")
    assert (code, out) == (2, "")
    libraries = "onnx, onnxruntime, onnxscript"
    assert err == f"archsearch: error: ONNX needs {libraries}: pip install 'archsearch[onnx]'\n"


def test_every_format_and_a_results_file(capsys, tmp_path):
    out_file = tmp_path / "runs" / "speed.json"
    code, table, err = bench(capsys, "plain.json", "--bench", "infer", "--channels-last", "--results-file", out_file)
    assert code == 0, err
    assert "plain.json" in table
    assert "small.json" in table
    assert "train" not in table
    assert re.search(r"latency \(ms\) +median +p95", table)
    (row,) = json.loads(out_file.read_text())
    assert row["layout"] == "channels_last"
    assert row["arch"] == tiny.PLAIN.to_dict()
    assert row["key"] == tiny.PLAIN.key
    assert len(row["infer_blocks_ms"]) == 2
    assert "train_step_time" not in row
    code, out, _ = bench(capsys, "plain.json", "--bench", "train", "-f", "markdown", "--channels-first")
    assert out.startswith("| model | params (M) | GMACs | mode | layout | train (img/s) | train ratio |")
    code, out, _ = bench(capsys, "plain.json", "-b", "3", "--amp", "-f", "json", "--channels-last")
    (row,) = json.loads(out)
    assert (row["precision"], row["infer_batch_size"], row["latency_batch_size"]) == ("amp_bf16", 3, 1)
    assert row["latency_step_time_p95"] > 0
    assert "infer_step_time_p95" not in row


def test_what_cannot_be_measured_leaves_the_rest(capsys):
    code, out, err = bench(capsys, "plain.json", "nosuch", "timm:nosuch", "--bench", "train", "-f", "json")
    assert code == 2
    rows = {row["model"]: row for row in json.loads(out)}
    assert rows["plain.json"]["train_samples_per_sec"] > 0
    assert "unknown network 'nosuch'" in rows["nosuch"]["error"]
    assert "unknown network of timm's 'nosuch'" in rows["timm:nosuch"]["error"]
    lines = [line for line in err.splitlines() if "other programs" not in line]  # which the machine may add
    assert len(lines) == 2
    assert all(line.startswith("archsearch: ") for line in lines)


def test_a_step_that_fails_leaves_the_others(capsys):
    """At batch 1 and one pixel per map there are no batch statistics to train with."""
    code, out, err = bench(capsys, "plain.json", "-b", "1", "--img-size", "32", "-f", "json", "--channels-last")
    (row,) = json.loads(out)
    assert "more than 1 value per channel" in row["train_error"]
    assert row["infer_samples_per_sec"] > 0
    assert code == 0
    assert "more than 1 value per channel" in err
    code, _, err = bench(capsys, "plain.json", "-b", "1", "--img-size", "32", "--bench", "train")
    assert code == 1


def test_results_files_follow_links_and_leave_devices_alone(capsys, tmp_path):
    (tmp_path / "link.csv").symlink_to("target.csv")
    words = ["plain.json", "--bench", "train", "--channels-last", "-b", "2"]
    assert bench(capsys, *words, "--results-file", "link.csv")[0] == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "target.csv").read_text().startswith("model,train_samples_per_sec")
    before = Path("/dev/null").stat()
    assert bench(capsys, *words, "--results-file", "/dev/null")[0] == 0
    assert Path("/dev/null").stat().st_mode == before.st_mode
    (tmp_path / "keep.csv").write_text("important")
    code, out, _ = bench(capsys, "timm:nosuch", "--results-file", "keep.csv")
    assert (code, out) == (2, "")
    assert (tmp_path / "keep.csv").read_text() == "important"


def test_a_model_named_twice_is_measured_once(capsys):
    _, out, _ = bench(capsys, "plain.json", "plain.json", "--bench", "train", "--channels-last", "-f", "json")
    assert len(json.loads(out)) == 1


def test_rooflines(capsys, tmp_path):
    code, out, err = bench(capsys, "plain.json", "--bench", "infer", "--roofline", "--drawing", "r.html")
    assert code == 0, err
    assert "token mixer" in out
    assert "below the roof of" in out
    page = (tmp_path / "r.html").read_text()
    assert "measured roofs" in page
    assert "stage 4" in page


def test_trials_and_fronts_of_a_study(capsys, tmp_path, small_space):
    code, _, err = run(capsys, "study", "--space", small_space, "--n-trials", 3, "--study-name", "s", *FAST)
    assert code == 0, err
    code, out, err = bench(capsys, "study:s#0", "study:s", "--bench", "infer", "--img-size", "64", "-f", "json")
    assert code == 0, err
    rows = json.loads(out)
    assert rows[0]["model"] == "study:s#0"
    assert len({row["model"] for row in rows}) >= 1
    known = json.loads(run(capsys, "pareto", "s", "-f", "json")[1])
    assert {row["model"] for row in rows} == {"study:s#0", *(f"study:s#{row['number']}" for row in known)}
    assert "no finished trial 99" in refused(capsys, tmp_path, "benchmark", "study:s#99", "-q")
    assert "as study:s#3" in refused(capsys, tmp_path, "benchmark", "study:s#first", "-q")
    assert "unknown study 'S'" in refused(capsys, tmp_path, "benchmark", "study:S", "-q")


@pytest.mark.slow
def test_a_study_of_a_papers_table(capsys, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "table: 1\nbaseline: convnext_tiny\ncolumns: {train: train_img_s, infer: infer_img_s}\n"
        "cpu: {batch_size: 2, resolution: 1/7}\n"
    )
    words = ["--bench", "train", "--channels-last", "--results-file", "rows.json", *QUICK]
    code, out, err = run(capsys, "benchmark", "--study", "mine.yaml", *words)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "mine"
    assert "train ratio  train ratio, paper" in next(line for line in lines if line.startswith("row of the paper"))
    (row,) = [line for line in lines if "kernel 3, ratio 1/16" in line]
    assert " 1.59" in row
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert len(rows) == 8
    assert {row["train_img_size"] for row in rows} == {32}
    baseline = next(row for row in rows if row["model"] == "convnext_tiny")
    assert baseline["train_ratio"] == baseline["train_paper_ratio"] == 1.0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "name one or more MODELs, or --study NAME"),
        (["plain.json", "--study", "convnext_table1"], "name one or more MODELs, or --study NAME"),
        (["--study", "table1"], "unknown study 'table1'"),
        (["nosuch"], "unknown network 'nosuch'"),
        (["inceptionnext_tinny"], "did you mean 'inceptionnext_tiny'"),
        (["inceptionnext_tiny", "--img-size", "16"], "smaller than the network's stride 32"),
        (["missing.json"], "cannot read missing.json"),
        (["study:s#1"], "there is no storage"),
        (["plain.json", "--device", "cuda:7"], "no device 'cuda:7' here"),
        (
            ["plain.json", "--input-size", "1", "64", "64"],
            "images have 3 channels and are square; write --input-size 3",
        ),
        (
            ["plain.json", "--input-size", "3", "64", "96"],
            "--input-size 3 64 96: images have 3 channels and are square",
        ),
        (
            ["plain.json", "--input-size", "3", "64", "64", "--img-size", "96"],
            "--img-size 96 differ; leave one of them",
        ),
        (["plain.json", "--input-size", "3", "64", "64", "--set", "bench.img_size=96"], "--input-size say the same"),
        (["plain.json", "--input-size", "3", "64"], "--input-size: expected 3 arguments"),
        (["plain.json", "--input-size", "3", "16", "16"], "smaller than the network's stride 32"),
        (["plain.json", "--model-kwargs", "act"], "--model-kwargs act: write KEY=VALUE"),
        (["plain.json", "--model-kwargs", "atc=relu"], "unknown field of an architecture 'atc': did you mean 'act'"),
        (["timm:resnet18", "--model-kwargs", "pretrained=True"], "networks are built without weights"),
        (["timm:resnet18", "--model-kwargs", "depht=3"], "depht"),
        (["--study", "convnext_table1", "--model-kwargs", "a=1"], "a study's networks are what it says; leave it out"),
        (["plain.json", "--reparam", "--set", "bench.form=train"], "--set bench.form and --reparam say the same"),
        (["plain.json", "--set", "bench.form=fused"], "unknown form 'fused' (known: train, deploy)"),
        (["plain.json", "-b", "0"], "at least 1"),
        (["plain.json", "--rounds", "0"], "at least 1"),
        (["plain.json", "--mode", "jit"], "unknown mode 'jit'"),
        (["plain.json", "--mode", "onnxruntime", "--bench", "train"], "mode onnxruntime has no training step"),
        (["plain.json", "--mode", "onnxruntime", "--precision", "bf16"], "computes in float32 (fp32, on NVIDIA GPUs"),
        (["plain.json", "--mode", "eager,cudagraph"], "mode cudagraph needs a CUDA device"),
        (["plain.json", "--torchcompile", "--mode", "cudagraph"], "--torchcompile is short for --mode compile"),
        (["plain.json", "--precision", "tf32"], "cpu has no TF32"),
        (["plain.json", "--precision", "fp64"], "invalid choice: 'fp64'"),
        (["plain.json", "--precision", "fp32", "--amp"], "exclude each other"),
        (["plain.json", "--amp-dtype", "bfloat16"], "belongs to --amp"),
        (["plain.json", "--channels-last", "--channels-first"], "leave both out to time both"),
        (["plain.json", "--bench", "fast"], "invalid choice: 'fast'"),
        (["plain.json", "--reference", "nosuch"], "unknown network 'nosuch'"),
        (["plain.json", "--reference", "timm:nosuch"], "the reference cannot be timed: unknown network of timm's"),
        (["plain.json", "--set", "bench.bach=3"], "--set: unknown field of a bench recipe 'bach'"),
        (["plain.json", "--set", "proxy.epochs=3"], "error: --set proxy.epochs=3: write bench.FIELD=VALUE"),
        (["plain.json", "--img-size", "64", "--set", "bench.img_size=32"], "--img-size say the same; leave one out"),
        (["plain.json", "--mode", "eager", "--set", "bench.mode=compile"], "--mode say the same; leave one out"),
        (["--study", "convnext_table1", "--reference", "plain.json"], "ratios are to its baseline; leave it out"),
        (["--study", ""], "unknown study ''"),
        (["plain.json", "--reference", ""], "reference is ''"),
        (["timm:nosuch"], "unknown network of timm's 'nosuch'"),
        (["plain.json", "--results-file", "/proc/r.csv"], "--results-file /proc/r.csv: cannot write it"),
        (["plain.json", "--set", "bench.precision=fp64"], "--set: unknown precision 'fp64'"),
        (["plain.json", "--drawing", "r.html"], "--drawing draws the --roofline"),
        (["plain.json", "--roofline", "--drawing", "r.png"], "ends in .html"),
        (["plain.json", "--results-file", "/dev/null/r.csv"], "give --results-file another place"),
        (["plain.json", "--results-format", "xml"], "invalid choice: 'xml'"),
        (["plain.json", "--torchcompile", "--fit_batch"], "did you mean '--fit-batch'"),
        (["plain.json", "--mixers", "none.py"], "none.py"),
        (["plain.json", "--seed", "x"], "'x' is not a whole number"),
        (["plain.json", "--patience", "long"], "not a number of seconds"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(capsys, tmp_path, words, says):
    assert says in refused(capsys, tmp_path, "benchmark", *words)
    assert contents(tmp_path)


@pytest.mark.parametrize(("words", "reads"), [((), True), (("--no-energy",), False)])
def test_energy_is_read_unless_told_not_to(words, reads):
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    args = parser.parse_args(["plain.json", *words, "--storage", "none.db"])
    assert verb._spec(args, None, {}).energy == reads
