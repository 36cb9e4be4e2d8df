"""Progress on stderr: a live display on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import track as rich_track
from rich.text import Text

from archsearch.cli.events import JsonLines, Pace, json_event
from archsearch.evaluate.constraint import missed
from archsearch.objectives import OBJECTIVES, Tier
from archsearch.report.frame import front_rows, trials_frame
from archsearch.report.tables import shown
from archsearch.search.engines.runner import ProgressListener
from archsearch.search.execute import Progress
from archsearch.search.search import Candidate, Search
from archsearch.stats.hypervolume import FrontTracker
from archsearch.trial import Epoch, Evaluation, Trial

if TYPE_CHECKING:
    from archsearch.benchmark import BenchmarkEvent

#: Maximum number of members of the front on the display.
FRONT_LINES = 8
#: Maximum number of workers on the display.
WORKER_LINES = 16


def track(items: Iterable[Any], length: int, what: str) -> Iterable[Any]:
    """Show a progress bar around an iterable, where stderr is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return items
    return rich_track(items, description=what, total=length, console=console, transient=True)


def timing_warnings(trial: Trial) -> Iterator[str]:
    """Yield the warnings about a trial's timing, each once."""
    details = trial.evaluation.details.values()
    yield from dict.fromkeys(word for d in details for word in d.get("conditions", {}).get("warnings", ()))


def taken_over(trial: Trial) -> dict[str, list[str]]:
    """Return the reused scores of a trial by their origin."""
    origins: dict[str, list[str]] = {}
    for name, origin in trial.evaluation.reused.items():
        origins.setdefault(origin, []).append(OBJECTIVES[name].noun)
    return origins


class Quiet(ProgressListener):
    """Listener of a quiet run: it shows only what would look like a program that hangs."""

    def waiting(self, candidate: Candidate, holder: str) -> None:
        """Print which process has the device."""
        self.say(f"waiting for the device: {holder}")

    def say(self, text: str) -> None:
        """One line on stderr."""
        Console(stderr=True, highlight=False).print(Text(text), soft_wrap=True)


class Lines(ProgressListener):
    """Listener that prints a line per trial, and per epoch if verbose, for logs and pipes."""

    def __init__(self, search: Search, n_trials: int, verbose: bool, console: Console) -> None:
        self.search, self.n_trials, self.verbose, self.console = search, n_trials, verbose, console
        self.pace = Pace(search, n_trials)
        self.tracker = FrontTracker(search.study.objectives, search.trials)

    def say(self, text: str) -> None:
        """One line on stderr."""
        self.console.print(Text(text), soft_wrap=True)

    def started(self, candidate: Candidate, worker: str) -> None:
        """Print that a lost trial is run again."""
        if candidate.rerun_of is not None:
            self.say(f"trial {candidate.number} runs trial {candidate.rerun_of} again, whose process had ended")

    def waiting(self, candidate: Candidate, holder: str) -> None:
        """Print which process has the device."""
        self.say(f"trial {candidate.number} waits for the device: {holder}")

    def epoch(self, candidate: Candidate, epoch: Epoch) -> None:
        """Print a line per epoch if verbose."""
        if self.verbose:
            told = f"loss {epoch.train_loss:.4f}, top-1 {epoch.accuracy:.2%}"
            self.say(f"  trial {candidate.number}, epoch {epoch.epoch}: {told}")

    def another_seed(self, candidate: Candidate, known: Evaluation) -> None:
        """Print a line per further seed if verbose."""
        if self.verbose:
            told = ", ".join(f"{value:.2%}" for value in known.accuracies.values())
            self.say(f"  trial {candidate.number}: top-1 {told}; near the front, trained with another seed")

    def ended(self, trial: Trial) -> None:
        """Print a line per trial: scores or error, parameters, time left."""
        self.tracker.add(trial)
        self.say(f"[{len(self.search.trials)}/{self.n_trials}] {self.outcome(trial)}{self.time_left()}")

    def lost(self, candidate: Candidate, reason: str) -> None:
        """Print why the trial runs again."""
        self.say(f"trial {candidate.number} is lost and will run again: {reason}")

    def outcome(self, trial: Trial) -> str:
        """Return the scores of a trial, or why it has none, and its parameters."""
        what = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in trial.params.values())
        if trial.evaluation.error:
            return f"trial {trial.number} failed: {trial.evaluation.error} ({what})"
        if trial.evaluation.pruned:
            return f"trial {trial.number} pruned after epoch {len(trial.evaluation.curve)} ({what})"
        if trial.state == "infeasible":
            broken = missed(trial.evaluation.excess)
            return f"trial {trial.number} is infeasible and not trained: it misses {broken} ({what})"
        scores = (
            f"{o.label} {trial.evaluation.scores[o.name] * o.scale:.{o.precision}f}"
            for o in self.search.study.objectives
        )
        timed = (f"timed while {warning}" for warning in timing_warnings(trial))
        remarks = "".join(f"; {remark}" for remark in (*timed, *self.remarks(trial)))
        return f"trial {trial.number}: {', '.join(scores)} ({what}){remarks}"

    def remarks(self, trial: Trial) -> list[str]:
        """Return remarks on reused scores and on a further seed that failed."""
        note = trial.evaluation.seed_error
        reused = [f"{', '.join(names)} from {origin}" for origin, names in taken_over(trial).items()]
        return [*reused, *([f"without a further seed: {note}"] if note else [])]

    def time_left(self) -> str:
        """Return the time left, by the mean of this run's trials."""
        left = self.pace.left_s()
        return "" if left is None else f", {minutes(left)} left"


class Display(Lines):
    """Live display on a terminal: progress, what each worker does, and the front so far."""

    def __init__(self, search: Search, n_trials: int, verbose: bool, console: Console) -> None:
        super().__init__(search, n_trials, verbose, console)
        self.workers: dict[str, int] = {}
        self.running: dict[int, str] = {}
        self.front = Text("")
        self.live = Live(console=console, get_renderable=self.render, refresh_per_second=4, transient=True)
        if search.trials:
            self._update_front()

    def started(self, candidate: Candidate, worker: str) -> None:
        """Show the candidate beside its worker."""
        super().started(candidate, worker)
        self.workers[worker] = candidate.number
        self._show(candidate, "")

    def epoch(self, candidate: Candidate, epoch: Epoch) -> None:
        """Show how far the training is."""
        super().epoch(candidate, epoch)
        self._show(candidate, f", epoch {epoch.epoch}: top-1 {epoch.accuracy:.1%}")

    def waiting(self, candidate: Candidate, holder: str) -> None:
        """Show which process has the device."""
        self._show(candidate, f", waiting for the device: {holder}")

    def ended(self, trial: Trial) -> None:
        """Show the new front; failures, infeasible trials and remarks stay on the screen as lines."""
        self.running.pop(trial.number, None)
        if trial.state in ("failed", "infeasible") or self.remarks(trial):
            self.say(self.outcome(trial))
        self.tracker.add(trial)
        self._update_front()

    def lost(self, candidate: Candidate, reason: str) -> None:
        """Print why the trial runs again, in a line that stays."""
        super().lost(candidate, reason)
        self.running.pop(candidate.number, None)

    def _show(self, candidate: Candidate, how_far: str) -> None:
        what = ", ".join(f"{k} {v}" for k, v in candidate.params.items())
        self.running[candidate.number] = f"trial {candidate.number}{how_far}: {what}"

    def _update_front(self) -> None:
        objectives = self.search.study.objectives
        rows = front_rows(trials_frame(self.tracker.front, objectives), objectives)
        table = shown(rows.head(FRONT_LINES), objectives)
        lines = [f"front: {len(rows)} trials, hypervolume {self.tracker.hypervolume():.3f}{self._unfinished()}"]
        for _, row in table.iterrows():
            scores = ", ".join(f"{label} {row[label]}" for label in table.columns[1:-1])
            lines.append(f"  {row['trial']:>4}  {scores}  {row['architecture']}")
        if len(rows) > FRONT_LINES:
            lines.append(f"  and {len(rows) - FRONT_LINES} more")
        self.front = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")

    def _unfinished(self) -> str:
        tracker = self.tracker
        counts = {"failed": tracker.failed, "pruned": tracker.pruned, "infeasible": tracker.infeasible}
        return "".join(f", {count} {state}" for state, count in counts.items() if count)

    def render(self) -> Group:
        """Return the current display."""
        done, width = len(self.search.trials), 30
        filled = round(width * min(1.0, done / self.n_trials))
        bar = "[green]" + "━" * filled + "[/][dim]" + "━" * (width - filled) + "[/]"
        head = Text.from_markup(f"{bar} {done}/{self.n_trials} trials{self.time_left()}")
        rows = [
            Text(f"{worker}: {self.running.get(number, 'idle')}", "cyan", no_wrap=True, overflow="ellipsis")
            for worker, number in list(self.workers.items())[:WORKER_LINES]
        ]
        if len(self.workers) > WORKER_LINES:
            rows.append(Text(f"and {len(self.workers) - WORKER_LINES} more workers"))
        return Group(head, *rows, self.front)


def minutes(seconds: float) -> str:
    """Format a duration as minutes and seconds.

    >>> minutes(75.4)
    '1:15'
    """
    whole, rest = divmod(round(seconds), 60)
    return f"{whole}:{rest:02d}"


@contextmanager
def display(
    search: Search, n_trials: int, *, quiet: bool, verbose: bool, log_format: str = "text"
) -> Iterator[ProgressListener]:
    """Open the display that fits: none, JSON, lines, or live on a terminal."""
    if quiet:
        yield Quiet()
        return
    console = Console(stderr=True, highlight=False)
    listener: JsonLines | Lines
    if log_format == "json":
        listener = JsonLines(search, n_trials)
    else:
        listener = (Display if console.is_terminal else Lines)(search, n_trials, verbose, console)
    for line in _opening(search, n_trials):
        listener.say(line)
    before = {trial.number for trial in search.trials}
    with listener.live if isinstance(listener, Display) else nullcontext():
        yield listener
    for line in _closing(search, n_trials, [trial for trial in search.trials if trial.number not in before]):
        listener.say(line)


class StudyProgress(Progress):
    """The progress of a study on stderr, as the options ask for it.

    Attributes:
        search: The search that is followed; None before it exists.
    """

    def __init__(self, quiet: bool, verbose: bool, log_format: str) -> None:
        super().__init__()
        self.quiet, self.verbose, self.log_format = quiet, verbose, log_format
        self.search: Search | None = None

    def say(self, text: str) -> None:
        """Print a remark."""
        if self.quiet:
            return
        if self.log_format == "json":
            json_event("note", text=text)
        else:
            print(text, file=sys.stderr)

    def track(self, items: Iterable[Any], length: int, what: str) -> Iterable[Any]:
        """Show a progress bar."""
        return items if self.quiet else track(items, length, what)

    @contextmanager
    def following(self, search: Search, n_trials: int) -> Iterator[ProgressListener]:
        """Open the display for a search."""
        self.search = search
        with display(search, n_trials, quiet=self.quiet, verbose=self.verbose, log_format=self.log_format) as listener:
            yield listener


def _opening(search: Search, n_trials: int) -> Iterator[str]:
    done = len(search.trials)
    if done:
        more = f"{n_trials - done} to go" if done < n_trials else "nothing left to do"
        yield f"study {search.study.name} goes on: {done} trials done, {more}"
    for number in search.reruns:
        yield f"trial {number} was lost with its process and will run again"


def _closing(search: Search, n_trials: int, new: list[Trial]) -> Iterator[str]:
    if search.duplicates:
        yield f"{search.duplicates} draws repeated a known architecture, and were drawn again"
    tiers = [{OBJECTIVES[name].tier for name in trial.evaluation.reused} for trial in new]
    trained, timed = (sum(tier in known for known in tiers) for tier in (Tier.TRAINED, Tier.MEASURED))
    if trained or timed:
        yield (
            f"of {len(new)} new trials, {trained} took a known training and {timed} a known timing; "
            "--retrain and --remeasure do it again"
        )
    if len(search.trials) < n_trials:
        spent = ": no other architecture was found that keeps the constraints" if search.samplers.spent else ""
        why = ": the space has no other architecture" if search.exhausted else spent
        yield f"stopped at {len(search.trials)} of {n_trials} trials{why}"


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
