"""Every error that archsearch raises on purpose, and the exit code it stands for.

    ArchsearchError                 exit 1  something failed while running
    |-- TrialError                  exit 1  one candidate failed; recorded, the study goes on
    |   `-- DivergedError           exit 1  its loss is no longer a finite number
    `-- UserError                   exit 2  the input has to change; the message says how
        |-- OptionError             exit 2  a command-line option or argument
        |-- ArchError               exit 2  an architecture that cannot exist
        |   `-- MixerError          exit 2  a mixer from a user's file
        |-- SpaceError              exit 2  a search space file
        |-- StudyFileError          exit 2  a study file
        |-- DataError               exit 2  a data set that cannot be read
        `-- StorageError            exit 2  a study storage, or a study inside it

Ctrl-C is exit 130, SIGTERM 143.
"""

import difflib
from collections.abc import Iterable


class ArchsearchError(Exception):
    """Root of all errors raised on purpose."""

    exit_code = 1


class Terminated(KeyboardInterrupt):
    """Somebody wants this program to end (SIGTERM): as with Ctrl-C, what runs is given back."""


class TrialError(ArchsearchError):
    """One candidate failed; the study records it and goes on."""


class DivergedError(TrialError):
    """The training loss is no longer a finite number."""


class UserError(ArchsearchError):
    """The user's input has to change."""

    exit_code = 2


class OptionError(UserError):
    """A command-line option or argument."""


class ArchError(UserError):
    """An architecture that cannot exist."""


class MixerError(ArchError):
    """A mixer from a user's file."""


class SpaceError(UserError):
    """A search space file."""


class StudyFileError(UserError):
    """A study file."""


class DataError(UserError):
    """A data set that cannot be read."""


class StorageError(UserError):
    """A study storage, or a study inside it."""


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's message that has words; the name of its type where none has.

    >>> first_line(ValueError("\n  too large\nby far")), first_line(MemoryError())
    ('too large', 'MemoryError')
    """
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def in_one_line(error: BaseException) -> str:
    r"""Return an error's type and the first line of its message.

    >>> in_one_line(ValueError("too large\nby far")), in_one_line(MemoryError())
    ('ValueError: too large', 'MemoryError')
    """
    name, line = type(error).__name__, first_line(error)
    return name if line == name else f"{name}: {line}"


#: A longer list of known names is cut down to the nearest ones.
MOST_NAMES = 24


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """Message for a name that is not known, with the nearest one and the list, where it is short.

    >>> unknown("mixer", "incepton", ["identity", "inception"])
    "unknown mixer 'incepton': did you mean 'inception'? (known: identity, inception)"
    >>> unknown("objective", "acc", ["macs", "accuracy"])
    "unknown objective 'acc': did you mean 'accuracy'? (known: macs, accuracy)"
    >>> unknown("mixer", "zzz", ["identity"])
    "unknown mixer 'zzz' (known: identity)"
    """
    names = list(known)
    if len(names) > MOST_NAMES:
        nearest = difflib.get_close_matches(str(name), names, n=5, cutoff=0.3)
        more = f"{len(names) - len(nearest)} more" if nearest else f"{len(names)} names"
        listed = [*nearest, more]
    else:
        listed = names
    begun = [known_name for known_name in names if str(name) and known_name.startswith(str(name))]
    near = begun[:1] or difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {str(name)!r}{hint} (known: {', '.join(listed)})"
