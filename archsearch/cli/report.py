"""Write the page of studies, one HTML file that opens offline, and their figures as files."""

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from archsearch.cli.options import add_speeds, add_storage
from archsearch.errors import OptionError, StorageError
from archsearch.utils.file_names import file_name

if TYPE_CHECKING:
    import optuna

    from archsearch.ablation.analysis import Report
    from archsearch.ablation.outcome import Outcome
    from archsearch.report.other_speeds import Elsewhere
    from archsearch.report.view import StudyView

#: File formats of figures; all need kaleido, which draws in a browser.
FIGURE_FORMATS = ("svg", "png", "pdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("studies", metavar="STUDY", nargs="+", help="names of studies in the storage; several are shown in one picture")
    add("-o", "--output", type=Path, metavar="FILE", help="file to write (default: beside the storage)")
    add("--figures", type=Path, metavar="DIR", help="folder to write every figure to, for papers")
    add("--figure-format", choices=FIGURE_FORMATS, default="svg", help="format of the figures (%(default)s)")
    add_speeds(parser)
    add_storage(parser)


def run(args: argparse.Namespace) -> int:
    """Write the page and print its path."""
    path = page_path("+".join(args.studies), args.storage, args.output, "--output")
    if args.figures and args.figures.exists() and not args.figures.is_dir():
        raise OptionError(f"--figures {args.figures} is no folder; name one, or one that is not there yet")
    searches, ablations = open_studies(args.studies, args.storage)
    if args.speeds and ablations:
        raise OptionError("--speeds is for searches, and an ablation is among these studies; leave one of them out")
    views = views_of(searches)
    if args.speeds:
        views = timed_elsewhere(views, args.speeds)
    write(path, views, ablations)
    sys.stdout.write(f"{path}\n")
    if args.figures:
        for file in _write_figures(args.figures, args.figure_format, views, ablations):
            sys.stdout.write(f"{file}\n")
    return 0


def open_studies(names: Sequence[str], storage: str) -> "tuple[list[optuna.Study], list[Report]]":
    """Return the records of searches, and the reports of ablations.

    Raises:
        StorageError: The storage lacks one of them.
    """
    from archsearch.ablation.analysis import Report
    from archsearch.ablation.record import is_ablation, outcome_of
    from archsearch.search.definition import check_search, load
    from archsearch.search.storage.opening import in_words, open_storage

    opened = open_storage(storage, create=False)
    with in_words():
        records = [load(name, opened) for name in dict.fromkeys(names)]
        ablations = [Report.of(outcome_of(record)) for record in records if is_ablation(record)]
        searches = [record for record in records if not is_ablation(record)]
        for record in searches:
            check_search(record)
        return searches, ablations


def views_of(searches: "list[optuna.Study]") -> "list[StudyView]":
    """Return the views of searches; slow parts come last.

    Raises:
        StorageError: One of them has no finished trial.
        OptionError: They have no objective in common.
    """
    from archsearch.report.view import shared_objectives, view_of
    from archsearch.search.importance import importances
    from archsearch.search.storage.opening import in_words

    with in_words():
        views = [view_of(record) for record in searches]
        for view in views:
            if not view.trials:
                raise StorageError(f"study {view.name!r} has no finished trial yet; run it first")
        if views:
            shared_objectives(views)
        found = [importances(record, view.recipe["objectives"]) for record, view in zip(searches, views, strict=True)]
    return [dataclasses.replace(view, importance=known) for view, known in zip(views, found, strict=True)]


def timed_elsewhere(views: "Sequence[StudyView]", named: str) -> "list[StudyView]":
    """Return studies with the speeds of another machine; say which trials it lacks, and what is not known.

    Args:
        views: Studies.
        named: File of the speeds, as ``archsearch.benchmark.speeds.read_speeds`` takes it.

    Raises:
        OptionError: It is no such file, or has nothing of one of the studies.
    """
    from archsearch.benchmark.speeds import read_speeds
    from archsearch.report.other_speeds import with_speeds

    speeds, shown = read_speeds(named), []
    if speeds.remark:
        print(f"archsearch: {speeds.remark}", file=sys.stderr)
    for view in views:
        found = with_speeds(view, speeds)
        shown.append(found.view)
        for says in _left_out(found, speeds.path):
            print(f"archsearch: {says}", file=sys.stderr)
    return shown


def _left_out(found: "Elsewhere", path: str) -> Iterator[str]:
    """Yield what another machine's speeds do not tell of a study, a line each."""
    from archsearch.report.other_speeds import timing_command

    name = found.view.name
    if found.unknown:
        numbers = ", ".join(map(str, found.unknown))
        lacks = f"{path} has no speed of trials {numbers} of study {name}, which are left out"
        yield f"{lacks}; {timing_command(name, found.unknown)}"
    if found.untrained:
        numbers = ", ".join(map(str, found.untrained))
        yield f"constraints on the speeds here kept trials {numbers} of study {name} from training; they are left out"
    if found.unjudged:
        yield f"{path} does not tell whether study {name} keeps {', '.join(found.unjudged)}, which is left out"


def page_path(study_name: str, storage: str, wanted: Path | None, option: str) -> Path:
    """Return the path of a study's page: the given one, else beside the SQLite file or under runs/.

    Raises:
        OptionError: The given file does not have the suffix of a page.
        StorageError: It cannot be written.
    """
    from archsearch.search.storage.opening import check_place, folder_beside

    path = wanted or folder_beside(storage) / f"{file_name(study_name)}.html"
    if path.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"{option} {path}: the page's name must end in .html")
    check_place(path, option)
    return path


def write(path: Path, views: "Sequence[StudyView]", ablations: "Sequence[Report]" = ()) -> None:
    """Write the page of studies."""
    from archsearch.report.page.html import write_page

    with told_if_unwritable(path):
        write_page(path, views, ablations)


def write_ablation(path: Path, outcome: "Outcome", interval: str = "t") -> None:
    """Write the page of an ablation."""
    from archsearch.ablation.analysis import Report

    write(path, [], [Report.of(outcome, interval)])


def _write_figures(
    folder: Path, suffix: str, views: "Sequence[StudyView]", ablations: "Sequence[Report]"
) -> Iterator[Path]:
    from archsearch.ablation.figures import ablation_figures
    from archsearch.report.figures import all_figures, write_image

    figures = all_figures(views) if views else {}
    for report in ablations:
        figures |= {f"{file_name(report.outcome.name)}-{name}": draw for name, draw in ablation_figures(report).items()}
    with told_if_unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in figures.items():
            file = folder / f"{file_name(name)}.{suffix}"
            write_image(draw(), file)
            yield file


@contextmanager
def told_if_unwritable(path: Path) -> Iterator[None]:
    """Turn an error while writing into a ``StorageError``."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; free its place, or name another file") from None
