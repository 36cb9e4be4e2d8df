"""Progress of a study in lines on stderr."""

from rich.console import Console
from rich.text import Text

from archsearch.cli.events import Pace
from archsearch.cli.meters import minutes
from archsearch.evaluate.constraint import missed
from archsearch.objectives import OBJECTIVES
from archsearch.search.engines.runner import ProgressListener
from archsearch.search.search import Candidate, Search
from archsearch.stats.hypervolume import FrontTracker
from archsearch.trial import Epoch, Evaluation, Trial


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

    def put_off(self, candidate: Candidate, reason: str) -> None:
        """Print that the machine is too busy to time it now."""
        self.say(f"trial {candidate.number} is timed again later, as the machine is busy: {reason}")

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
            for o in self.search.study.named_objectives
        )
        timed = (f"timed while {warning}" for warning in trial.evaluation.disturbances)
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
