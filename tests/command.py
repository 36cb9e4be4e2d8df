"""Commands run as a user would, in this process."""

from archsearch.cli import main

#: A study that costs next to nothing, in this process, which has imported everything.
FAST = [
    *("--proxy", "smoke", "--bench", "smoke", "--set", "bench.img_size=32", "proxy.train_samples=64"),
    *("--workers", "0", "-q"),
]


def run(capsys, *words) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(capsys, tmp_path, *words):
    """Runs a wrong command; checks the form of the complaint and that nothing was written."""
    before = contents(tmp_path)
    code, out, err = run(capsys, *words)
    assert code == 2, err
    assert out == ""
    assert err.startswith("archsearch: error: ")
    assert err.count("\n") == 1, err
    assert contents(tmp_path) == before
    return err
