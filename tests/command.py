"""Command lines as a user types them, run in this process."""

from archsearch.cli import main

#: Options of a study that costs next to nothing and needs no other process.
FAST = [
    *("--proxy", "smoke", "--bench", "smoke", "--set", "bench.img_size=32", "proxy.train_samples=64"),
    *("--workers", "0", "-q"),
]


def run(capsys, *words) -> tuple[int, str, str]:
    """Run a command line; return its exit code, stdout and stderr."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def contents(folder):
    """Return the bytes of all files below a folder, by path; None for a folder."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(capsys, tmp_path, *words):
    """Run a wrong command, check that it wrote one error line and no file, and return that line."""
    before = contents(tmp_path)
    code, out, err = run(capsys, *words)
    assert code == 2, err
    assert out == ""
    assert err.startswith("archsearch: error: ")
    assert err.count("\n") == 1, err
    assert contents(tmp_path) == before
    return err
