"""Write the page of a study: one HTML file that opens offline."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from archsearch.cli.options import add_storage
from archsearch.errors import StorageError

if TYPE_CHECKING:
    import optuna

    from archsearch.trial import Trial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("study", metavar="STUDY", help="name of a study in the storage")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the page (default: runs/STUDY.html)")
    add_storage(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the page and says where."""
    from archsearch.search.records import trials_of
    from archsearch.search.storage import open_storage
    from archsearch.search.study import load

    record = load(args.study, open_storage(args.storage, create=False))
    trials = trials_of(record)
    if not trials:
        raise StorageError(f"study {args.study!r} has no finished trial yet; run it first")
    path = args.output or page_path(args.study, args.storage)
    write(path, record, trials)
    sys.stdout.write(f"{path}\n")
    return 0


def page_path(study_name: str, storage: str) -> Path:
    """Beside the SQLite file, or under runs/: the study's name with anything unusual replaced."""
    from archsearch.search.storage import sqlite_path

    database = sqlite_path(storage)
    folder = database.parent if database else Path("runs")
    return folder / ("".join(c if c.isalnum() or c in "-_." else "_" for c in study_name) + ".html")


def write(path: Path, record: "optuna.Study", trials: list["Trial"]) -> None:
    """Writes the page of a study's record."""
    from archsearch.report.frame import trials_frame
    from archsearch.report.page import write_page
    from archsearch.search.study import objectives_of, recipe_of

    frame = trials_frame(trials, objectives_of(record))
    try:
        write_page(path, record.study_name, recipe_of(record), trials, frame, record.user_attrs.get("command", ""))
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; give another place with -o") from None
