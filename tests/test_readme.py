"""The scripts of the README run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
SCRIPTS = re.findall(
    r"```python\n(.*?)```", README.read_text().partition("## From Python")[2].partition("\n## ")[0], re.S
)


def test_the_script_is_short():
    assert len(SCRIPTS[0].splitlines()) <= 16
    assert "run(spec)" in SCRIPTS[0]


@pytest.mark.parametrize(
    "script", [SCRIPTS[0], SCRIPTS[1], SCRIPTS[0] + SCRIPTS[2]], ids=("study", "parts", "confirmation")
)
def test_scripts_run(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(script)
    monkeypatch.setenv("PYTHONPATH", str(README.parent))
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if "run(spec)" in script:
        assert re.search(r"^\d+ \{.*\} \{.*'accuracy': ", done.stdout), done.stdout
        assert re.search(
            r"^4 trials, hypervolume [01]\.\d+, stored in sqlite:///runs/archsearch.db$", done.stdout, re.M
        )
    if "confirm(" in script:
        assert re.search(r"^trial \d 0\.\d+ (True|False)$", done.stdout, re.M)
