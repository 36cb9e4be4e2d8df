import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from command import FAST, refused, run
from optuna.storages import RDBStorage
from PIL import Image


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["stduy"], "did you mean 'study'"),
        ([], "see archsearch --help"),
        (["study"], "--space"),
        (["study", "--space", "inception_dv"], "did you mean 'inception_dw'"),
        (["study", "--space", "inception_dw", "--epoch", "3"], "did you mean '--epochs'"),
        (["study", "--space", "inception_dw", "--objective", "acuracy"], "did you mean 'accuracy'"),
        (["study", "--space", "inception_dw", "--dataset", "cifar"], "did you mean 'cifar10'"),
        (["study", "--space", "inception_dw", "--dataset", "folder"], "needs --data-root"),
        (["study", "--space", "inception_dw", "--device", "cuda:9"], "no device 'cuda:9' here"),
        (["study", "--space", "inception_dw", "--n-trials", "0"], "at least 1"),
        (["study", "--space", "inception_dw", "--n-trials", "many"], "at least 1"),
        (["study", "--space", "inception_dw", "--timeout", "soon"], "not a number of seconds"),
        (["study", "--space", "inception_dw", "--seed", "-1"], "at least 0"),
        (["study", "--space", "inception_dw", "--sampler", "nsga"], "did you mean 'nsga2'"),
        (["study", "--space", "inception_dw", "--proxy", "cpuu"], "did you mean 'cpu'"),
        (["study", "--space", "inception_dw", "--set", "proxy.epohcs=3"], "did you mean 'epochs'"),
        (["study", "--space", "inception_dw", "--set", "proxy.epochs"], "write proxy.FIELD=VALUE"),
        (["study", "--space", "inception_dw", "--set", "proxy.lr=high"], "must be a number"),
        (["study", "--space", "inception_dw", "--set", "proxy.width=0.05"], "leaves no channel"),
        (["study", "--space", "inception_dw", "--set", "proxy.img_size=8"], "smaller than the network's stride"),
        (["study", "--space", "inception_dw", "--set", "bench.img_size=16"], "cannot be timed: bench.img_size 16 is"),
        (
            ["study", "--space", "inception_dw", "--device", "cpu", "--objective", "peak_memory_mb"],
            "leave it out on cpu",
        ),
        (
            ["study", "--space", "inception_dw", "--device", "cpu", "--objective", "accuracy,energy_mj"],
            "energy_mj is read from the energy counter of an NVIDIA GPU; leave it out on cpu",
        ),
        (["study", "--space", "inception_dw", "--device", "cpu", "--set", "bench.precision=tf32"], "cpu has no TF32"),
        (["study", "--space", "inception_dw", "--set", "bench.reference=nosuch"], "unknown network 'nosuch'"),
        (["study", "--space", "inception_dw", "--set", "bench.mode=fast"], "unknown mode 'fast'"),
        (["study", "--space", "inception_dw", "-f", "xml"], "invalid choice: 'xml'"),
        (["study", "--space", "inception_dw", "--storage", "://"], "no storage URL"),
        (["study", "--space", "inception_dw", "--storage", "/dev/null/s.db"], "cannot write"),
        (["study", "--space", "inception_dw", "--storage", ""], "no storage URL"),
        (["study", "--space", "inception_dw", "--study-name", ""], "--study-name is empty"),
        (["study", "--space", "inception_dw", "--page", "runs/a.db"], "must end in .html"),
        (["study", "--space", "inception_dw", "--page", "/dev/null/a.html"], "give --page another place"),
        (["study", "--space", "inception_dw", "--seed", "9" * 30], "below 2^63"),
        (["study", "--space", "inception_dw", "--set", "proxy.crop_padding=40"], "below img_size"),
        (["study", "--space", "inception_dw", "--set", "proxy.weight_decay=.inf"], "--set: weight_decay is inf"),
        (["study", "--space", "x" * 300], "unknown space"),
        (["report", "nothing", "-o", "runs/archsearch.db"], "must end in .html"),
        (["spaces", "nothing"], "unknown space 'nothing'"),
        (["pareto", "nothing"], "there is no storage"),
        (["report", "nothing"], "there is no storage"),
    ],
)
def test_wrong_words_get_one_line_and_exit_code_2(capsys, tmp_path, words, says):
    assert says in refused(capsys, tmp_path, *words)


def test_what_nobody_expected_is_one_line_too(capsys, monkeypatch):
    def fail(args):
        raise RuntimeError("\n    No such kernel.\n    Nobody knows why.")

    monkeypatch.setattr("archsearch.cli.spaces.run", fail)
    code, out, err = run(capsys, "spaces")
    assert (code, out) == (1, "")
    assert err == "archsearch: failed: RuntimeError: No such kernel. (--debug shows where)\n"
    with pytest.raises(RuntimeError):
        run(capsys, "--debug", "spaces")


def test_wrong_spaces(capsys, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("baseline: inceptionnext_tiny\naxes:\n  band_kernel_size: [10]\n")
    assert "s.yaml, line 3: " in refused(capsys, tmp_path, "study", "--space", path)


def test_wrong_data(capsys, tmp_path):
    study = ("study", "--space", "inception_dw", "--dataset", "folder", "--data-root", tmp_path / "data")
    assert "must be a folder with train/" in refused(capsys, tmp_path, *study)
    folders = [tmp_path / "data" / split / name for split in ("train", "test") for name in "ab"]
    for folder in folders:
        folder.mkdir(parents=True)
    assert "holds no images" in refused(capsys, tmp_path, *study)
    for folder in folders:
        for number in range(2):
            Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
    (folders[0] / "2.png").write_bytes(b"no picture")
    assert "2.png is broken" in refused(capsys, tmp_path, *study)


def test_wrong_storages(capsys, tmp_path):
    (tmp_path / "notes.db").write_text("these are my notes " * 50)
    study = ("study", "--space", "inception_dw", "--storage")
    assert "no SQLite database" in refused(capsys, tmp_path, *study, "notes.db")
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("create table recipes (name text)")
    assert "database of another program" in refused(capsys, tmp_path, *study, "other.db")
    assert (tmp_path / "notes.db").read_text() == "these are my notes " * 50


def test_a_whole_study_from_nothing_to_the_page_and_on(capsys, tmp_path, small_space):
    study = ("study", "--space", small_space, "--objective", "accuracy,macs,latency_ms", *FAST)
    code, out, _ = run(capsys, *study, "--n-trials", 2, "-f", "json")
    assert code == 0
    front = json.loads(out)
    assert front
    assert all(
        row["front"] and 0 <= row["accuracy"] <= 1 and row["macs"] > 1e6 and row["latency_ms"] > 0 for row in front
    )
    assert all(0 < row["front_probability"] <= 1 and row["accuracy.low"] < row["accuracy.high"] for row in front)

    code, _, err = run(capsys, *study[:-1], "--n-trials", 3)
    assert code == 0
    assert "goes on: 2 trials done, 1 to go" in err
    assert "[3/3]" in err
    name = "small-accuracy-macs-latency_ms-drawn"
    assert (tmp_path / "runs" / f"{name}.html").is_file()

    code, out, _ = run(capsys, "pareto", name, "--all", "-f", "csv")
    assert code == 0
    assert len(out.splitlines()) == 4
    assert {"accuracy.low", "latency_ms.high", "front_probability"} <= set(out.splitlines()[0].split(","))
    assert "P(front) (%)" in run(capsys, "pareto", name)[1]
    code, out, _ = run(capsys, "report", name, "-o", "a.html")
    assert (code, out) == (0, "a.html\n")
    assert (tmp_path / "a.html").stat().st_size > 1e6

    assert "did you mean" in refused(capsys, tmp_path, "pareto", name[:-1])
    other = ("study", "--space", "inception_dw", "--study-name", name, "--objective", "accuracy,macs,latency_ms", *FAST)
    before = (tmp_path / "runs" / "archsearch.db").read_bytes()
    assert "exists with another space" in refused(capsys, tmp_path, *other)
    assert (tmp_path / "runs" / "archsearch.db").read_bytes() == before
    record = optuna.load_study(study_name=name, storage="sqlite:///runs/archsearch.db")
    assert record.metric_names == ["accuracy", "macs", "latency_ms"]


def test_names_of_studies_do_not_share_pages(small_space, capsys):
    words = ("study", "--space", small_space, "--objective", "macs", "--n-trials", 1, *FAST, "--study-name")
    names = ("a/b", "a_b", "..", "<b>", "n" * 300)
    assert [run(capsys, *words, name)[0] for name in names] == [0] * len(names)
    assert len(list(Path("runs").glob("*.html"))) == len(names)


def test_passwords_stay_out_of_records(small_space, capsys, monkeypatch):
    storage = "sqlite:///s.db?password=hunter2"
    words = [
        "study",
        "--space",
        str(small_space),
        "--objective",
        "macs",
        "--n-trials",
        "1",
        "--storage",
        storage,
        *FAST,
    ]
    monkeypatch.setattr("sys.argv", ["cli.py", *words])
    monkeypatch.setattr(
        "archsearch.search.storage.opening.RDBStorage", lambda url, **kwargs: RDBStorage("sqlite:///s.db")
    )
    code, out, err = run(capsys, *words[:-1])
    assert code == 0
    assert "hunter2" not in out + err
    assert not any(b"hunter2" in path.read_bytes() for path in Path().glob("*") if path.is_file())


def test_a_folder_of_images_is_a_data_set(capsys, tmp_path, small_space):
    for split, count in (("train", 40), ("test", 4)):
        for name, colour in (("a", "white"), ("b", "black")):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (32, 32), colour).save(folder / f"{i}.png")
    words = ("--dataset", "folder", "--data-root", "data", "--objective", "accuracy", "--n-trials", 1, "-f", "json")
    code, out, _ = run(capsys, "study", "--space", small_space, *words, *FAST)
    assert code == 0
    assert "accuracy" in json.loads(out)[0]
    assert "train_throughput" not in json.loads(out)[0]


def test_a_study_of_failures_fails_and_keeps_them(capsys, small_space):
    wild = ("--set", "proxy.lr=1e38", "proxy.warmup=0.0", "proxy.batch_size=8")
    code, _, err = run(capsys, "study", "--space", small_space, "--n-trials", 2, *FAST, *wild)
    assert code == 1
    assert "all 2 trials failed; the last one: diverged" in err
    code, out, _ = run(capsys, "pareto", "small-pareto-drawn", "--all", "-f", "json")
    rows = json.loads(out)
    assert [row["state"] for row in rows] == ["failed", "failed"]
    assert all(row["macs"] > 0 and row["accuracy"] is None for row in rows)


def test_spaces_says_what_is_wrong_with_proxies(capsys):
    text = "baseline: inceptionnext_tiny\naxes:\n"
    Path("few.yaml").write_text(text + "  depths: [[3, 3, 9, 3], [3, 3, 8, 3]]\n")
    Path("none.yaml").write_text(text + "  branch_ratio: [1/64, 1/8]\n")
    code, out, _ = run(capsys, "spaces", "few.yaml", "none.yaml")
    assert code == 0
    assert "few: 2 distinct architectures, but only 1 distinct proxy" in out
    assert "none: 2 distinct architectures, but not every proxy can exist: stage 1: branch_ratio 0.015625" in out


def test_spaces_prints_every_size(capsys):
    code, out, _ = run(capsys, "spaces")
    assert code == 0
    assert "inception_dw: 948 distinct architectures" in out
    assert "  needs: width 0.25 or 0.5, depth 0.5, img_size 32, stem_patch_size 2\n" in out
    assert "  proxy: width_step 8\n" in out


SCRIPT = Path(sys.executable).with_name("archsearch")


@pytest.mark.skipif(not SCRIPT.exists(), reason="the package is not installed")
def test_the_console_script_is_the_same_program():
    done = subprocess.run([SCRIPT, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("archsearch 0.")
