"""The README's mixer of one's own, through the whole program."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command import FAST, run

README = Path(__file__).parents[2] / "README.md"


def block(language: str, word: str) -> str:
    """The README's code block of a language that holds a word."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.S)
    (found,) = [text for text in blocks if word in text]
    return found


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my_mixers.py").write_text(block("python", "MIXERS ="))
    Path("shifts.yaml").write_text(block("yaml", "name: shifts"))


def program(*words: str) -> subprocess.CompletedProcess:
    """A process of its own, which knows nothing of the mixers that this one has loaded."""
    code = "import sys; from archsearch.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


def test_the_readmes_mixer_is_searched_and_its_study_read_without_the_file(capsys):
    study = ("study", "--space", "shifts.yaml", "--n-trials", 3, *FAST)
    code, _, err = run(capsys, *study)
    assert code == 2
    assert "unknown token_mixer 'shift'" in err
    assert "--mixers FILE" in err
    assert not Path("runs").exists()

    code, _, err = run(capsys, *study, "--mixers", "my_mixers.py")
    assert code == 0, err
    Path("my_mixers.py").rename("moved.py")
    done = program("pareto", "shifts-pareto-drawn", "--all", "-f", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["state"] for row in rows} == {"complete"}
    assert len({row["key"] for row in rows}) == 3
    assert program("report", "shifts-pareto-drawn").returncode == 0

    edited = Path("moved.py").read_text().replace("MIXERS =", "# changed\nMIXERS =")
    Path("my_mixers.py").write_text(edited)
    done = program(*map(str, study), "--mixers", "my_mixers.py")
    assert done.returncode == 2
    assert "another version of token_mixer 'shift': its file has changed" in done.stderr


def test_spaces_speak_of_them(capsys):
    code, out, _ = run(capsys, "spaces", "shifts.yaml", "--mixers", "my_mixers.py")
    assert code == 0
    assert "shifts: 7 distinct architectures" in out


def test_one_that_changes_the_shape_stops_the_study_before_it_starts(capsys):
    text = Path("my_mixers.py").read_text()
    Path("my_mixers.py").write_text(text.replace("return torch.cat", "return x[:, :, 1:]\n        return torch.cat"))
    code, _, err = run(capsys, "study", "--space", "shifts.yaml", "--mixers", "my_mixers.py", *FAST)
    assert code == 2
    assert "forward returns a tensor of" in err
    assert not Path("runs").exists()
