"""Progress of benchmarks and trainings on stderr."""

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import track as rich_track
from rich.text import Text

if TYPE_CHECKING:
    from archsearch.benchmark import BenchmarkEvent


def track(items: Iterable[Any], length: int, what: str) -> Iterable[Any]:
    """Show a progress bar around an iterable, where stderr is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return items
    return rich_track(items, description=what, total=length, console=console, transient=True)


def minutes(seconds: float) -> str:
    """Format a duration as minutes and seconds.

    >>> minutes(75.4)
    '1:15'
    """
    whole, rest = divmod(round(seconds), 60)
    return f"{whole}:{rest:02d}"


class Meter:
    """What a benchmark shows: a line that changes, on a terminal; elsewhere only what one has to know."""

    def __init__(self, quiet: bool) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.quiet = quiet
        self.status = self.console.status("starting a process that times")

    def __enter__(self) -> "Meter":
        if not self.quiet and self.console.is_terminal:
            self.status.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.status.stop()

    def event(self, event: "BenchmarkEvent") -> None:
        """Show an event of a benchmark."""
        lasting = {
            "waiting": "waiting for the device: {holder}",
            "refitted": "not every network fits; all again at batch {batch_size}",
            "died": "{reason}; networks that it had not finished are timed again",
            "deferred": "{count} networks do not fit beside the others and take their turn after them",
        }
        passing = {
            "loading": "loading {name}",
            "warming": "warming up {name} ({number}/{of})",
            "round": "round {number}/{of}",
            "roofline": "timing the parts of {name}",
        }
        facts = {**event.details, "name": event.network or "the reference"}
        if event.name in lasting and (not self.quiet or event.name == "waiting"):
            self.console.print(Text(lasting[event.name].format(**facts)), soft_wrap=True)
        elif event.name in passing:
            self.status.update(escape(passing[event.name].format(**facts)))


class Tally:
    """What is shown of many trainings: a line for each, with the time that is left."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.console = quiet, Console(stderr=True, highlight=False)
        self.done = self.total = 0
        self.spent = self.work = 0.0
        self.start = time.monotonic()

    def say(self, text: str) -> None:
        """One line."""
        if not self.quiet:
            self.console.print(Text(text), soft_wrap=True)

    def begin(self, total: int, work: float) -> None:
        """How many there are going to be, and how much work in all."""
        self.total, self.work, self.start = total, work, time.monotonic()
        self.done, self.spent = 0, 0.0

    def tell(self, record: Mapping[str, Any], work: float) -> None:
        """One training's record, and how much work it was."""
        self.done, self.spent = self.done + 1, self.spent + work
        left = (time.monotonic() - self.start) * (self.work - self.spent) / self.spent
        result = record["error"] or f"top-1 {record['accuracy']:.1%} in {record['seconds']:.0f} s"
        what = f"{record['group']}, seed {record['seed']}, {record['network']}"
        self.say(f"[{self.done}/{self.total}] {what}: {result}, {minutes(max(0.0, left))} left")
