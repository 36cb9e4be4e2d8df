"""Write the page of a study: one HTML file that opens offline."""

import argparse
import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from archsearch.cli.options import add_storage
from archsearch.errors import OptionError, StorageError

if TYPE_CHECKING:
    import optuna

    from archsearch.outcome import Outcome
    from archsearch.trial import Trial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("study", metavar="STUDY", help="name of a study in the storage")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the page (default: beside the storage)")
    add_storage(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the page and says where."""
    from archsearch.search.ablation import is_ablation, outcome_of
    from archsearch.search.records import trials_of
    from archsearch.search.storage import open_storage
    from archsearch.search.study import load

    path = page_path(args.study, args.storage, args.output, "--output")
    record = load(args.study, open_storage(args.storage, create=False))
    if is_ablation(record):
        write_ablation(path, outcome_of(record))
        sys.stdout.write(f"{path}\n")
        return 0
    trials = trials_of(record)
    if not trials:
        raise StorageError(f"study {args.study!r} has no finished trial yet; run it first")
    write(path, record, trials)
    sys.stdout.write(f"{path}\n")
    return 0


def page_path(study_name: str, storage: str, wanted: Path | None, option: str) -> Path:
    """Where a study's page goes: where it is wanted, else beside the SQLite file or under runs/.

    Raises:
        OptionError: the wanted file is not named as a page, and might be anything.
        StorageError: it cannot be written.
    """
    from archsearch.search.storage import check_place, sqlite_path

    database = sqlite_path(storage)
    path = wanted or (database.parent if database else Path("runs")) / f"{_file_name(study_name)}.html"
    if path.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"{option} {path}: the page's name must end in .html")
    check_place(path, option)
    return path


def _file_name(study_name: str) -> str:
    """The name itself where it is plain; else what is plain of it, and a hash that keeps names apart."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in study_name)[:80]
    if plain == study_name and not plain.startswith("."):
        return plain
    return f"{plain.lstrip('.')}-{hashlib.sha256(study_name.encode()).hexdigest()[:8]}"


def write(path: Path, record: "optuna.Study", trials: list["Trial"]) -> None:
    """Writes the page of a study's record."""
    from archsearch.report.frame import trials_frame
    from archsearch.report.page import write_page
    from archsearch.search.study import objectives_of, recipe_of

    frame = trials_frame(trials, objectives_of(record))
    with told_if_unwritable(path):
        write_page(path, record.study_name, recipe_of(record), trials, frame, record.user_attrs.get("command", ""))


def write_ablation(path: Path, outcome: "Outcome", interval: str = "t") -> None:
    """Writes the page of an ablation."""
    from archsearch.report.ablation import Report
    from archsearch.report.ablation_page import write_ablation_page

    with told_if_unwritable(path):
        write_ablation_page(path, Report.of(outcome, interval))


@contextmanager
def told_if_unwritable(path: Path) -> Iterator[None]:
    """A page that cannot be written as an error of the user's."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; free its place, or name another file") from None
