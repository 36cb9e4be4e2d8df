"""The command line, one module per verb. Nothing heavy is imported before a verb runs."""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import NoReturn

from archsearch import __version__
from archsearch.cli import (
    ablate,
    benchmark,
    confirm,
    dashboard,
    describe,
    explain,
    export,
    fidelity,
    pareto,
    report,
    spaces,
    study,
)
from archsearch.errors import ArchsearchError, OptionError, Terminated, in_one_line, unknown

VERBS = (study, confirm, export, explain, ablate, fidelity, benchmark, describe, spaces, pareto, report, dashboard)


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are raised for ``main`` to print in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise an error in the user's input."""
        raise OptionError(f"{message}; see {self.prog} --help")


def build_parser() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser, and the parser of each verb."""
    parser = Parser(prog="archsearch", description="Ablation and search over MetaNeXt networks.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"archsearch {__version__}")
    parser.add_argument("--debug", action="store_true", help="show a traceback where something fails")
    group = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    verbs = {}
    for verb in VERBS:
        name = verb.__name__.rpartition(".")[2]
        summary = (verb.__doc__ or "").strip().splitlines()[0]
        verbs[name] = group.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        verb.add_arguments(verbs[name])
        verbs[name].set_defaults(run=verb.run)
    return parser, verbs


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    try:
        with _ending_on_sigterm():
            return _run([word for word in argv if word != "--debug"])
    except ArchsearchError as error:
        if debug:
            raise
        _complain(argv, f"error: {error}")
        return error.exit_code
    except Terminated:
        _complain(argv, "terminated")
        return 143
    except KeyboardInterrupt:
        _complain(argv, "interrupted")
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        _complain(argv, f"failed: {in_one_line(error)} (--debug shows where)")
        return 1


def _complain(argv: list[str], what: str) -> None:
    """Print an error as a line on stderr; as a JSON object with ``--log-format json``."""
    pairs = pairwise([*argv, ""])
    if any(word == "--log-format=json" or (word, then) == ("--log-format", "json") for word, then in pairs):
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        print(json.dumps({"time": now, "event": "failed", "text": what}), file=sys.stderr)
    else:
        print(f"archsearch: {what}", file=sys.stderr)


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """End a verb on SIGTERM as on Ctrl-C: batch systems send it some time before they kill."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(argv: list[str]) -> int:
    parser, verbs = build_parser()
    if argv and not argv[0].startswith("-") and argv[0] not in verbs:
        raise OptionError(unknown("verb", argv[0], verbs))
    args, extra = parser.parse_known_args(argv)
    if extra:
        options = [word for word in verbs[args.verb]._option_string_actions if word.startswith("--")]
        raise OptionError(unknown(f"option of {args.verb}", extra[0], options))
    code: int = args.run(args)
    return code
