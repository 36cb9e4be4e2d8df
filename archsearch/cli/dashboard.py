"""Serve the page of studies, and update it while they run."""

import argparse
import sys

from archsearch.cli.options import add_storage, port

HOST, PORT = "127.0.0.1", 8000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("studies", metavar="STUDY", nargs="+", help="names of studies in the storage; several are shown in one picture")
    add(
        "--host",
        default=HOST,
        metavar="NAME",
        help="address to bind to; any but loopback is open to everyone (%(default)s)",
    )
    add("--port", type=port, default=PORT, metavar="N", help="port to bind to; 0 for any free one (%(default)s)")
    add_storage(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from archsearch.cli.report import open_studies
    from archsearch.report.page.follow import Follower
    from archsearch.report.page.serve import Server, is_loopback
    from archsearch.report.view import shared_objectives
    from archsearch.search.storage.opening import in_words

    searches, ablations = open_studies(args.studies, args.storage)
    with in_words():
        follower = Follower(searches)
    if searches:
        shared_objectives(follower.views())
    with Server(args.host, args.port, follower, ablations) as server:
        follower.start()
        if not is_loopback(args.host):
            print(f"warning: everyone who reaches {args.host} can read these studies", file=sys.stderr)
        print(f"{server.url}\nCtrl-C stops the server; the studies continue", file=sys.stderr)
        try:
            server.serve_forever()
        finally:
            follower.stop()
    return 0
