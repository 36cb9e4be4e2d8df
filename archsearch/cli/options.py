"""Options that several verbs share, and their types, whose errors are one line."""

import argparse
import ast
from pathlib import Path
from typing import Any

from archsearch.errors import OptionError
from archsearch.utils.tables import FORMATS

STORAGE = "sqlite:///runs/archsearch.db"


def add_storage(parser: argparse.ArgumentParser) -> None:
    """Add ``--storage``."""
    parser.add_argument(
        "--storage", default=STORAGE, metavar="URL", help="Optuna storage, or the path of an SQLite file (%(default)s)"
    )


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add ``-f/--format``."""
    parser.add_argument("-f", "--format", choices=FORMATS, default="table", help="output format (%(default)s)")


def add_speeds(parser: argparse.ArgumentParser) -> None:
    """Add ``--speeds`` of the verbs that show stored studies."""
    parser.add_argument(
        "--speeds",
        metavar="FILE[:WORDS]",
        help="show the speeds in the JSON that `benchmark` wrote on another machine instead of those measured here; "
        "WORDS choose where it has several: its device, mode, precision, as in f.json:compile,fp16",
    )


def add_mixers(parser: argparse.ArgumentParser) -> None:
    """Add ``--mixers``, once per file."""
    parser.add_argument(
        "--mixers",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.py",
        help="token mixers of your own (repeatable); the file is executed",
    )


def load_own_mixers(paths: list[Path]) -> None:
    """Make the token mixers of the user's files known; PyTorch is not imported where there are none."""
    if paths:
        from archsearch.nn import load_mixers

        for path in paths:
            load_mixers(path)


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add ``-v`` and ``-q``."""
    parser.add_argument("-q", "--quiet", action="store_true", help="print no progress")
    parser.add_argument("-v", "--verbose", action="store_true", help="also print a line per epoch")


def add_log_format(parser: argparse.ArgumentParser) -> None:
    """Add ``--log-format``."""
    add = parser.add_argument
    add("--log-format", choices=("text", "json"), default="text", help="format of the progress on stderr (%(default)s)")


def positive_int(text: str) -> int:
    """Parse an integer of at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def share_of_one(text: str) -> float:
    """Parse a positive whole number, or a fraction below 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf") or (value > 1 and value % 1):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number nor a fraction between 0 and 1")
    return value


def level(text: str) -> float:
    """Parse a probability of at least 0.5 and below 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.5 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a probability of at least 0.5 and below 1, as 0.95")
    return value


def natural(text: str) -> int:
    """Parse an integer of at least 0 that fits a seed."""
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0 and below 2^63")
    return int(text)


def port(text: str) -> int:
    """Parse the number of a TCP port, or 0."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, a number from 0 to 65535")
    return int(text)


def seconds(text: str) -> float:
    """Parse a number of seconds greater than 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def assignments(words: list[str], recipes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Parse ``RECIPE.FIELD=VALUE`` words into fields by recipe.

    Args:
        words: Words of the command line.
        recipes: Names of the recipes that they may change.

    Raises:
        OptionError: A word has another form or names another recipe.

    >>> assignments(["proxy.epochs=5", "proxy.width=1/4"], ("proxy", "bench"))
    {'proxy': {'epochs': 5, 'width': 0.25}, 'bench': {}}
    """
    changes: dict[str, dict[str, Any]] = {recipe: {} for recipe in recipes}
    for word in words:
        target, equals, value = word.partition("=")
        recipe, dot, name = target.partition(".")
        if not (equals and dot and name) or recipe not in changes:
            forms = " or ".join(f"{recipe}.FIELD=VALUE" for recipe in recipes)
            raise OptionError(f"--set {word}: write {forms}")
        changes[recipe][name] = _value(value)
    return changes


def keyword_arguments(words: list[str], option: str) -> dict[str, Any]:
    """Parse ``KEY=VALUE`` words as timm does: values are Python's literals, or else text.

    Args:
        words: Words of the command line.
        option: Name of their option, for the message.

    Raises:
        OptionError: A word has another form.

    >>> keyword_arguments(["depths=(2, 2)", "act_layer=relu"], "--model-kwargs")
    {'depths': (2, 2), 'act_layer': 'relu'}
    """
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise OptionError(f"{option} {word}: write KEY=VALUE")
        try:
            found[name] = ast.literal_eval(value)
        except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
            found[name] = value
    return found


def _value(text: str) -> Any:
    """Parse a number, fraction, truth value or word as YAML does."""
    import yaml

    from archsearch.utils.yaml_lines import number

    try:
        return number(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError):
        return text


def check_writable(path: Path, option: str) -> None:
    """Check that a file can be written, by writing beside it where its folder exists already.

    Raises:
        OptionError: It cannot.
    """
    target = path.resolve()
    if (target.exists() and not target.is_file()) or not target.parent.is_dir():
        return
    scratch = _scratch(target)
    try:
        scratch.touch()
        scratch.unlink()
    except OSError as error:
        raise OptionError(f"{option} {path}: cannot write it: {error.strerror}; name another file") from None


def write_file(path: Path, text: str, option: str) -> None:
    """Write a file in one step: the old content stays until all of it can be replaced. Links are followed.

    Raises:
        OptionError: It cannot be written.
    """
    target = path.resolve()
    try:
        if target.exists() and not target.is_file():  # a device or a pipe is written to, not replaced
            target.write_text(text, encoding="utf-8")
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        _scratch(target).write_text(text, encoding="utf-8")
        _scratch(target).replace(target)
    except OSError as error:
        raise OptionError(f"{option} {path}: cannot write it: {error.strerror}; name another file") from None


def _scratch(path: Path) -> Path:
    return path.with_name(path.name + ".part")
