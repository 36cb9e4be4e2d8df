"""The verb ``export`` as a user types it."""

import json
from pathlib import Path

import pytest
import tiny
from command import refused, run
from served import go

from archsearch.arch.networks import network

TINY = network("inceptionnext_tiny").replace(depths=(1, 1, 1, 1), dims=(16, 24, 32, 40), img_size=32, num_classes=5)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("timms.json").write_text(json.dumps(TINY.to_dict()))
    Path("ours.json").write_text(json.dumps(TINY.replace(act="relu").to_dict()))


def test_what_is_printed_for_a_network_of_timms(capsys):
    code, out, err = run(capsys, "export", "timms.json", "--weights", "none", "--out", "my net")
    assert (code, err) == (0, "")
    assert "timm's own classes build it, as inception_next_tiny" in out
    assert 'import timm; model = timm.create_model("local-dir:my net", pretrained=True)' in out
    assert "sys.path" not in out
    assert "  python train.py --data-dir DATA --model 'local-dir:my net' --batch-size" in out


def test_what_is_printed_for_a_network_with_a_file_of_its_own(capsys):
    code, out, _ = run(capsys, "export", "ours.json", "--weights", "none", "--out", "out", "--name", "mine")
    assert code == 0
    reason = "timm's own classes cannot be this network (its MetaNeXt has activation gelu, not relu); mine.py builds it"
    assert reason in out.splitlines()
    assert '  import sys; sys.path.insert(0, "out"); import mine' in out.splitlines()
    assert "PYTHONPATH=out python train.py --data-dir DATA --model local-dir:out --device-modules mine " in out


def test_describe_reads_the_architecture_of_an_export(capsys):
    run(capsys, "export", "ours.json", "--weights", "none", "--out", "out")
    code, out, _ = run(capsys, "describe", "out/architecture.json")
    assert code == 0
    assert TINY.replace(act="relu").key in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("ours.json",), "required: --out; see archsearch export --help"),
        (("ours.json", "--out", "out"), "--weights none exports it untrained"),
        (("ours.json", "--out", "out", "--weights", "other.pth"), "there is no such file; write none, proxy, or"),
        (("inceptionnext_tinny", "--out", "out", "--weights", "none"), "did you mean 'inceptionnext_tiny'?"),
        (("night#3", "--out", "out"), "no storage"),
        (("ours.json", "--out", ".", "--weights", "none"), "exists; --force replaces an earlier export"),
        (("ours.json", "--out", ".", "--weights", "none", "--force"), "which no export wrote"),
        (("ours.json", "--out", "ours.json/x", "--weights", "none"), "cannot write it: Not a directory"),
        (("ours.json", "--out", "out", "--weights", "none", "--name", "a b"), "no word of letters"),
        (("ours.json", "--out", "out", "--weights", "none", "--seed", "-1"), "not a whole number"),
    ],
)
def test_wrong_commands(capsys, tmp_path, words, says):
    assert says in refused(capsys, tmp_path, "export", *words)


def test_a_trial_without_weights(capsys, tmp_path):
    Path("small.yaml").write_text(tiny.SPACE)
    go(tiny.make_study(tmp_path / "small.yaml", name="night"), f"sqlite:///{tmp_path}/a.db", 1)
    storage = ("--storage", f"sqlite:///{tmp_path}/a.db", "--out", "out")
    line = refused(capsys, tmp_path, "export", "night#0", *storage)
    assert "trial 0 of study 'night' has no weights" in line
    assert "`confirm night`" in line
    assert "--weights none" in line
    assert "no finished trial 7" in refused(capsys, tmp_path, "export", "night#7", *storage)
    code, out, _ = run(capsys, "export", "night#0", *storage, "--weights", "none")
    assert code == 0
    assert out.startswith("Target network of night#0: ")
