"""Progress of a study as the options ask for it: none, JSON, lines, or a live display on a terminal."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from archsearch.cli.events import JsonLines, json_event
from archsearch.cli.meters import track
from archsearch.cli.progress import Lines, Quiet
from archsearch.objectives import OBJECTIVES, Tier
from archsearch.report.frame import front_rows, trials_frame
from archsearch.report.tables import shown
from archsearch.search.engines.runner import ProgressListener
from archsearch.search.execute import Progress
from archsearch.search.search import Candidate, Search
from archsearch.trial import Epoch, Trial

#: Maximum number of members of the front on the display.
FRONT_LINES = 8
#: Maximum number of workers on the display.
WORKER_LINES = 16


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

    def put_off(self, candidate: Candidate, reason: str) -> None:
        """Take the candidate off its worker, and leave a line."""
        self.running.pop(candidate.number, None)
        super().put_off(candidate, reason)

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
        objectives = self.search.study.named_objectives
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
