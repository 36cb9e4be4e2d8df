"""Print the Pareto front of a study, or all its trials."""

import argparse
import sys

from archsearch.cli.options import add_format, add_speeds, add_storage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("study", metavar="STUDY", help="name of a study in the storage")
    parser.add_argument("--all", action="store_true", help="print all trials, not only the front")
    add_speeds(parser)
    add_format(parser)
    add_storage(parser)


def run(args: argparse.Namespace) -> int:
    """Write the table to stdout."""
    from archsearch.cli.report import timed_elsewhere
    from archsearch.report.frame import front_rows
    from archsearch.report.tables import trials_table, with_notes
    from archsearch.report.view import view_of
    from archsearch.search.definition import check_search, load
    from archsearch.search.storage.opening import open_storage
    from archsearch.utils.tables import render

    record = load(args.study, open_storage(args.storage, create=False))
    check_search(record)
    view = view_of(record)
    if args.speeds:
        (view,) = timed_elsewhere([view], args.speeds)
    rows = view.frame.sort_values("number") if args.all else front_rows(view.frame, view.objectives)
    table = with_notes(trials_table(rows, view.objectives, view.chance_words), view.small_maps)
    sys.stdout.write(render(table, args.format) + "\n")
    return 0
