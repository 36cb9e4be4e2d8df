import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from command import FAST, contents, refused, run

from archsearch.ablation.outcome import Outcome

#: Small networks and recipes: a training takes a fraction of a second.
OWN = """\
title: Which parts matter?
baseline: base.json
factors:
  norm: [layer]
  mixer:
    no square: {branches: horizontal+vertical}
    nothing: {token_mixer: identity}
proxy: {width: 1/2, width_step: 8, depth: 1}
"""
QUICK = ["--proxy", "smoke", "--bench", "smoke", "--set", "bench.img_size=64", "bench.batch_size=2",
         "proxy.train_samples=64", "proxy.val_samples=128"]  # fmt: skip
TRAIN = [*QUICK, "--no-speed"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def own(tmp_path, monkeypatch):
    import tiny

    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.json").write_text(json.dumps(tiny.SMALL.replace(norm="batch", img_size=64).to_dict()))
    (tmp_path / "own.yaml").write_text(OWN)
    return tmp_path


def trials(name):
    return optuna.load_study(study_name=name, storage="sqlite:///runs/archsearch.db").trials


def values(outcome):
    return {result["name"]: result["accuracies"] for result in outcome["results"]}


@pytest.mark.slow
def test_an_ablation_from_beginning_to_end(capsys, own):
    code, out, err = run(capsys, "ablate", "own.yaml", *QUICK, "--seeds", 3, "--results-file", "o.json", "--workers", 2)
    assert code == 0, err
    assert out.startswith("Which parts matter?\n")
    assert "[9/12]" in err
    assert "command: python cli.py" in out
    (row,) = [line for line in out.splitlines() if " norm layer " in line]
    assert " to " in row
    outcome = json.loads(Path("o.json").read_text())
    assert list(values(outcome)) == ["base.json", "norm layer", "no square", "nothing"]
    assert all(list(found) == ["0", "1", "2"] for found in values(outcome).values())
    nothing = next(row for row in outcome["rows"] if row["variant"] == "nothing")
    assert nothing["params"] < outcome["rows"][0]["params"]
    assert nothing["train_ratio"] > 0
    assert outcome["rows"][0]["train_ratio"] == 1.0
    page = Path("runs/ablate-own-drawn.html")
    assert "Which parts matter?" in page.read_text()
    by_hand = [100 * (values(outcome)["nothing"][s] - values(outcome)["base.json"][s]) for s in "012"]
    assert nothing["difference"] == pytest.approx(sum(by_hand) / 3)

    page.unlink()
    assert len(trials("ablate-own-drawn")) == 12
    code, again, err = run(capsys, "ablate", "own.yaml", *QUICK, "--seeds", 3, "--results-file", "o.json", "-f", "json")
    assert code == 0
    assert "[1/" not in err  # nothing is timed or trained again
    assert json.loads(again)["rows"] == outcome["rows"]
    assert page.exists()
    assert len(trials("ablate-own-drawn")) == 12

    page.unlink()
    assert run(capsys, "report", "ablate-own-drawn")[:2] == (0, f"{page}\n")
    assert page.exists()
    for format in ("table", "markdown", "latex", "csv", "json"):
        code, told, err = run(capsys, "ablate", "--from", "o.json", "-f", format)
        assert (code, err) == (0, "")
        assert "norm" in told
    assert [
        row["variant"] for row in csv.DictReader(run(capsys, "ablate", "--from", "o.json", "-f", "csv")[1].splitlines())
    ] == [row["variant"] for row in outcome["rows"]]
    assert run(capsys, "ablate", "--from", "o.json", "--page", "other.html")[0] == 0
    assert "Which parts matter?" in Path("other.html").read_text()


@pytest.mark.slow
def test_what_is_there_is_kept_and_what_is_missing_is_done(capsys, own):
    words = ["ablate", "own.yaml", *TRAIN, "-f", "json", "-q"]
    first = json.loads(run(capsys, *words, "--seeds", 1, "--only", "norm")[1])
    assert values(first) == {
        "base.json": {"0": first["rows"][0]["top1"] / 100},
        "norm layer": {"0": first["rows"][1]["top1"] / 100},
    }
    assert first["rows"][1]["difference_low"] is None
    part = json.loads(run(capsys, *words, "--n-trials", 6)[1])
    assert sum(map(len, values(part).values())) == 6
    whole = json.loads(run(capsys, *words, "--seeds", 2)[1])
    assert sum(map(len, values(whole).values())) == 8
    for name, accuracies in values(part).items():
        assert accuracies.items() <= values(whole)[name].items()
    assert values(first)["norm layer"].items() <= values(whole)["norm layer"].items()
    fresh = json.loads(run(capsys, *words, "--seeds", 2, "--study-name", "other")[1])
    assert values(fresh) == values(whole)  # from the cache, or trained to the same numbers


@pytest.mark.slow
def test_after_an_edit_nothing_old_is_told_as_new(capsys, own):
    recipe = [word for word in QUICK if word != "bench.img_size=64"]  # their own size, or a share
    words = ["ablate", "own.yaml", *recipe, "--seeds", 1, "-q", "-f", "json"]
    first = json.loads(run(capsys, *words)[1])
    Path("own.yaml").write_text(OWN.replace("horizontal+vertical", "square") + "cpu: {resolution: 1/2}\n")
    again = json.loads(run(capsys, *words)[1])
    old, new = ({row["variant"]: row for row in told["rows"]} for told in (first, again))
    assert new["no square"]["params"] != old["no square"]["params"]
    assert values(again)["no square"] != {}
    assert values(again)["norm layer"] == values(first)["norm layer"]
    blocks = [[r["speeds"]["train"]["blocks_s"] for r in told["results"]] for told in (first, again)]
    assert all(a != b for a, b in zip(*blocks, strict=True))  # another resolution is timed anew


@pytest.mark.slow
def test_an_importance_is_told_without_training(capsys, own, small_space):
    words = ["study", "--space", small_space, "--objective", "accuracy", "--n-trials", 8, "--study-name", "s"]
    assert run(capsys, *words, *FAST)[0] == 0
    words = ["ablate", "own.yaml", "--no-train", *QUICK, "-q"]
    assert "Importance in the search s (fANOVA)" in run(capsys, *words, "--importance", "s")[1]
    assert "Importance in the search s (fANOVA)" in run(capsys, *words)[1]  # kept
    assert run(capsys, *words, "--importance", "nosuch")[0] == 2


@pytest.mark.slow
def test_pairs_within_a_budget(capsys, own):
    words = ["ablate", "own.yaml", *TRAIN, "-q", "--seeds", 3]
    code, out, err = run(capsys, *words, "--pairs", 4)
    assert code == 0, err
    assert "Interactions of pairs: points beyond the sum of both effects" in out
    assert len([t for t in trials("ablate-own-drawn") if " + " in t.user_attrs["variant"]]) <= 4
    code, again, _ = run(capsys, *words)  # known pairs stay in the picture
    assert "Interactions of pairs" in again
    before = len(trials("ablate-own-drawn"))
    assert run(capsys, *words, "--seeds", 4, "--pairs", 40, "--n-trials", 21)[0] == 0
    assert len(trials("ablate-own-drawn")) <= before + 4 + 5  # 16 trainings of single variants, and 5 of pairs
    code, out, err = run(capsys, *words[:-2], "--seeds", 2, "--pairs", 2)
    assert (code, out) == (2, "")
    assert "give more --seeds" in err


@pytest.mark.slow
def test_a_factorial(capsys, own):
    text = OWN.replace("    nothing: {token_mixer: identity}\n", "") + "full: true\n"
    Path("full.yaml").write_text(text)
    code, out, err = run(capsys, "ablate", "full.yaml", *TRAIN, "-q", "--seeds", 2, "-f", "json")
    assert code == 0, err
    found = json.loads(out)
    assert list(values(found)) == ["base.json", "norm layer", "no square", "norm layer + no square"]
    assert [effect["value"] for effect in found["main_effects"]] == ["norm layer", "no square"]
    v = values(found)
    by_hand = [
        50 * (v["norm layer"][s] - v["base.json"][s] + v["norm layer + no square"][s] - v["no square"][s]) for s in "01"
    ]
    assert found["main_effects"][0]["mean"] == pytest.approx(sum(by_hand) / 2)
    assert len(found["interactions"]) == 1


@pytest.mark.slow
def test_what_a_search_found_is_taken_apart(capsys, tmp_path, monkeypatch, small_space):
    """Every other choice of its space; what the search trained is not trained again."""
    monkeypatch.chdir(tmp_path)
    words = ["study", "--space", small_space, "--objective", "accuracy", "--n-trials", 8, "--study-name", "s"]
    assert run(capsys, *words, *FAST)[0] == 0
    trial = next(t for t in trials("s") if "curve" in t.user_attrs)
    words = ["ablate", "--baseline", f"study:s#{trial.number}", "--no-speed", "--seeds", 1, "-q", "-f", "json"]
    code, out, err = run(capsys, *words)
    assert code == 0, err
    outcome = json.loads(out)
    assert outcome["results"][0]["accuracies"]["0"] == trial.values[0]
    ours = optuna.load_study(
        study_name=f"ablate-around-study:s#{trial.number}-drawn", storage="sqlite:///runs/archsearch.db"
    )
    (base,) = [t for t in ours.trials if t.user_attrs["variant"] == f"study:s#{trial.number}"]
    assert base.user_attrs["curve"] == trial.user_attrs["curve"]  # seconds too: recalled, not repeated
    axes = {axis for result in outcome["results"][1:] for axis in result["changes"]}
    assert axes >= set(trial.user_attrs["params"])
    assert {axis["axis"] for axis in outcome["importance"]["axes"]} == {
        "token_mixer",
        "band_kernel_size",
        "kernel_size",
        "dims",
    }
    assert "Importance in the search s (fANOVA)" in run(capsys, *words[:-2])[1]


@pytest.mark.slow
def test_another_baseline_for_the_same_factors(capsys, own):
    from archsearch.arch.networks import network

    small = network("inceptionnext_atto").replace(depths=(1, 1, 1, 1), dims=(16, 32, 48, 64), img_size=64)
    Path("other.json").write_text(json.dumps(small.to_dict()))
    code, out, err = run(
        capsys, "ablate", "own.yaml", "--baseline", "other.json", *TRAIN, "-q", "--seeds", 1, "-f", "json"
    )
    assert code == 0, err
    assert json.loads(out)["results"][0]["name"] == "other.json"
    assert json.loads(out)["results"][0]["network"]["arch"]["dims"] == [16, 32, 48, 64]


def test_counts_and_papers_figures_need_no_training(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.yaml").write_text("table: 1\nbaseline: convnext_tiny\ntrain: false\ncolumns: {train: train_img_s}\n")
    code, out, err = run(
        capsys, "ablate", "t.yaml", "--no-speed", "-q", "-f", "csv", "--dataset", "drawn", "--n-trials", 1, *QUICK
    )
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["top1_paper"] for row in rows][:3] == ["82.1", "82.0", "81.5"]
    assert round(float(rows[2]["train_ratio_paper"]), 3) == 1.388
    assert [row["seeds"] for row in rows] == ["1"] + ["0"] * 7


def test_trained_weights_stand_beside_the_papers_top_1(capsys, tmp_path, monkeypatch):
    """The loading is tested in tests/test_weights.py; here, where its figures end up, and that they are kept."""
    monkeypatch.chdir(tmp_path)
    tried = []

    def found(weights, folder, root, device):
        tried.append(weights)
        return {"weights": weights, "correct": 41, "images": 50}

    monkeypatch.setattr("archsearch.ablation.stages.trained_top1", found)
    Path("t.yaml").write_text("table: 4\nbaseline: convnext_tiny\nnetworks: [convnext_tiny, convnext_atto]\n")
    words = ["ablate", "t.yaml", "--weights", "here", "--data-root", ".", "--no-speed", "-q", "-f", "csv"]
    code, out, err = run(capsys, *words)
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert [(row["trained_top1"], row["top1_paper"], row["seeds"]) for row in rows] == [
        ("82.0", "82.1", "0"), ("82.0", "75.7", "0"),
    ]  # fmt: skip
    assert run(capsys, *words)[1] == out
    assert tried == ["convnext_tiny.fb_in1k", "convnext_atto.d2_in1k"]


def test_figure_3_is_counted(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "ablate", "figure3", "-f", "csv", "-q")
    assert code == 0
    rows = {(r["operator"], r["kernel_size"]): int(r["weights"]) for r in csv.DictReader(out.splitlines())}
    assert rows["depthwise", "31"] == 31 * 31 * 96
    assert rows["inception", "31"] == (2 * 31 + 9) * 12
    assert "plotly" in Path("runs/figure3.html").read_text()


@pytest.mark.slow
def test_a_candidate_that_fails_is_told_and_costs_nothing_else(capsys, own):
    words = ["ablate", "own.yaml", *TRAIN, "-q", "--seeds", 2, "--only", "norm"]
    wild = ["--set", "proxy.lr=1e38", "proxy.warmup=0.0", "proxy.batch_size=8"]
    code, out, err = run(capsys, *words, *wild, "-f", "json")
    assert code == 1
    assert "all trainings failed; " in err
    assert json.loads(out)["rows"][0]["note"].startswith("2 failed: ")


@pytest.mark.slow
def test_interrupted_it_tells_what_it_has_and_goes_on(own, capsys):
    words = ["ablate", "own.yaml", *TRAIN, "--seeds", 40, "--workers", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "import sys; from archsearch.cli import main\nif __name__ == '__main__': sys.exit(main(sys.argv[1:]))\n"
    Path("main.py").write_text(code)
    process = subprocess.Popen(
        [sys.executable, "main.py", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    for line in process.stderr:
        if line.startswith("[3/"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Which parts matter?" in out
    assert Path("runs/ablate-own-drawn.html").exists()
    kept = trials("ablate-own-drawn")
    assert 3 <= len(kept) < 160
    seeds = len(kept) // 4 + 1
    code, out, err = run(capsys, "ablate", "own.yaml", *TRAIN, "--seeds", seeds)
    assert code == 0
    assert f"{len(kept)} trainings are known" in err
    assert len(trials("ablate-own-drawn")) == 4 * seeds


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "name a STUDY (see studies/), or --baseline study:NAME#TRIAL"),
        (["inceptionnext_table9"], "unknown study 'inceptionnext_table9': did you mean 'inceptionnext_table8'"),
        (["inceptionnext_table8", "--only", "kernel"], "unknown factor 'kernel'"),
        (["inceptionnext_table8", "--seeds", "1", "--interval", "t"], "needs at least two seeds; give --seeds 3"),
        (["inceptionnext_table8", "--interval", "bootstrap"], "needs --seeds 5 or more"),
        (["inceptionnext_table8", "--interval", "z"], "invalid choice: 'z'"),
        (["inceptionnext_table8", "--seeds", "0"], "is not a whole number of at least 1"),
        (["inceptionnext_table8", "--pairs", "2"], "--pairs 2: one pair takes 3 trainings"),
        (["own.yaml", "--only", "norm", "--pairs", "5"], "no two variants of different factors can be combined"),
        (["inceptionnext_table8", "--no-train", "--pairs", "5"], "--pairs are trained"),
        (["imagenet_table4", "--pairs", "5"], "--pairs are trained, and study imagenet_table4 only with --dataset"),
        (["inceptionnext_table8", "--no-train", "--no-speed"], "leave only counting, which `describe` does"),
        (["inceptionnext_table8", "--proxy", "nosuch"], "unknown proxy 'nosuch'"),
        (["inceptionnext_table8", "--dataset", "folder"], "needs --data-root"),
        (["inceptionnext_table8", "--set", "proxy.epoch=1"], "unknown field of a proxy recipe 'epoch'"),
        (
            ["inceptionnext_table8", "--set", "proxy.width=1/24"],
            "the proxy network of 'inceptionnext_tiny' cannot exist",
        ),
        (["inceptionnext_table8", "--device", "cuda:9"], "no device 'cuda:9' here"),
        (["inceptionnext_table8", "--page", "page.txt"], "must end in .html"),
        (["inceptionnext_table8", "--results-file", "."], "the name must end in one of .json"),
        (["own.yaml", "--page", "/proc/x.html"], "--page /proc/x.html: cannot write it"),
        (["inceptionnext_table8", "--baseline", "convnext_tiny"], "has no effect: no token_mixer"),
        (["inceptionnext_table8", "--baseline", "timm:resnet50"], "has no parts to change"),
        (["inceptionnext_table8", "--baseline", "study:s"], "write study:NAME#TRIAL"),
        (["--baseline", "convnext_tiny"], "--baseline alone must be study:NAME#TRIAL"),
        (["--baseline", "study:s#1"], "there is no storage"),
        (["imagenet_table4", "--baseline", "convnext_base"], "another baseline needs factors"),
        (["inceptionnext_table8", "--weights", "hub", "--data-root", "."], "names none; imagenet_table4 does"),
        (["imagenet_table4", "--weights", "hub"], "--weights are tried on --data-root DIR"),
        (["own.yaml", "--results-file", "own.yaml"], "must end in one of .json, .md, .tex, .csv, .txt"),
        (
            ["own.yaml", "--baseline", "base.json", "--results-file", "base.json"],
            "would replace what this command reads",
        ),
        (["own.yaml", "--storage", "s.json", "--results-file", "s.json"], "would replace what this command reads or k"),
        (["--from", "empty.json", "--results-file", "x.doc"], "results must have names"),
        (["own.yaml", "--importance", "nosuch"], "there is no storage"),
        (["figure3", "--pairs", "4"], "figure3 counts operators and trains nothing; leave --pairs out"),
        (["figure3", "-f", "latex"], "give another --format"),
        (["--from", "none.json"], "--from none.json: No such file"),
        (["--from", "base.json"], "no outcome of an ablation"),
        (["--from", "own.yaml"], "name a result that ablate wrote as json"),
        (["own.yaml", "--from", "o.json"], "leave the study out"),
        (["--from", "o.json", "--seeds", "5"], "leave --seeds out"),
        (["--from", "empty.json"], "results must have names of their own, and name their bases"),
        (["own.yaml", "--storage", "base.json"], "is no SQLite database"),
        (["bad.yaml"], "bad.yaml, line 4: unknown axis 'normal': did you mean 'norm'"),
    ],
)
def test_wrong_commands(capsys, own, words, says):
    (own / "empty.json").write_text('{"name": "n", "title": "t", "results": []}')
    (own / "bad.yaml").write_text(OWN.replace("norm:", "normal:"))
    assert says in refused(capsys, own, "ablate", *words, "-q")


@pytest.mark.slow
def test_a_study_that_trained_otherwise_is_left_alone(capsys, own):
    assert run(capsys, "ablate", "own.yaml", *TRAIN, "-q", "--seeds", 1, "--only", "norm")[0] == 0
    before = {path: data for path, data in contents(own).items() if path.suffix in (".db", ".html")}
    code, out, err = run(capsys, "ablate", "own.yaml", *TRAIN, "-q", "--epochs", 2)
    assert (code, out) == (2, "")
    assert "exists with another proxy.epochs (1, not 2); choose another --study-name" in err
    assert {path: data for path, data in contents(own).items() if path in before} == before
    assert (
        "is an ablation"
        in run(capsys, "study", "--space", "inception_dw", "--study-name", "ablate-own-drawn", *FAST)[2]
    )


def test_outcomes_survive_json():
    made = Outcome.from_dict(
        {"name": "n", "title": "t", "results": [{"name": "a", "base": "a", "accuracies": {"3": 0.5}}], "rows": []}
    )
    assert made.results[0].accuracies == {3: 0.5}
    assert Outcome.from_dict(json.loads(json.dumps(made.to_dict()))) == made
