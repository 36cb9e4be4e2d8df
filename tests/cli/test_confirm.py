"""Confirmation of a study, as commands."""

import json

import pytest
import tiny
from command import FAST, refused, run

from archsearch.handover import load_weights

STUDY = ("study", "--space", "small.yaml", "--objective", "accuracy,macs", "--study-name", "s", "--n-trials", "3")

OWN = """from torch import nn

class Own(nn.Identity):
    def __init__(self, dim):
        super().__init__()

MIXERS = {"own_of_confirm": Own}
"""


@pytest.fixture(autouse=True)
def _space(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(tiny.SPACE)


def test_a_study_is_confirmed_in_one_command_and_shown(capsys, tmp_path):
    code, out, err = run(capsys, *STUDY, *FAST, "--set", "proxy.img_size=16", "--confirm", "-f", "json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["study"], found["name"], found["images"]) == ("s", "s-confirm", 2048)
    assert found["recipe"]["proxy"]["epochs"] == 2
    assert found["recipe"]["proxy"]["train_samples"] == 256
    assert all(2 <= len(one["seeds"]) <= 3 for one in found["candidates"])
    (baseline,) = (one for one in found["candidates"] if one["baseline"])
    file = f"{baseline['candidate'].replace(' ', '-')}-seed-1000.safetensors"
    assert load_weights(tmp_path / "runs/weights/s-confirm" / file).facts["accuracy"] == baseline["accuracies"][0]

    code, out, err = run(capsys, "confirm", "s", "-f", "table", "--workers", "0", "--page", "page.html")
    assert code == 0
    assert "stay on the front" in out
    assert "trainings are known" in err
    assert "seed 1000" not in err  # nothing is trained again
    assert "take one away: python cli.py export 's#" in err
    assert "--mixers" not in err
    (tmp_path / "own.py").write_text(OWN)
    err = run(capsys, "confirm", "s", "--workers", "0", "--page", "page.html", "--mixers", "own.py")[2]
    assert "--out DIR --mixers own.py\n" in err
    assert (tmp_path / "page.html").stat().st_size > 10_000
    code, out, _ = run(capsys, "confirm", "s", "-q", "-f", "csv", "--workers", "0")
    assert out.startswith("candidate,trial,role,baseline,key,search.accuracy,search.macs,accuracy,")
    assert "is a confirmation" in refused(capsys, tmp_path, "pareto", "s-confirm")
    assert "is a confirmation" in refused(capsys, tmp_path, "report", "s-confirm")
    assert "exists and is a confirmation" in refused(capsys, tmp_path, *STUDY, *FAST, "--study-name", "s-confirm")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["confirm"], "the following arguments are required: STUDY"),
        (["confirm", "s", "--top", "0"], "whole number of at least 1"),
        (["confirm", "s", "--set", "bench.rounds=1"], "write proxy.FIELD=VALUE"),
        (["confirm", "s", "--page", "page.txt"], "must end in .html"),
        (["confirm", "s"], "there is no storage"),
        ([*STUDY, *FAST, "--objective", "macs", "--confirm"], "accuracy is no objective"),
        ([*STUDY, *FAST, "--repeat", "0", "--confirm"], "exclude each other"),
    ],
)
def test_wrong_commands_are_refused_in_one_line(capsys, tmp_path, words, says):
    assert says in refused(capsys, tmp_path, *words)
