"""The searcher, scheduler and callback that Ray Tune runs a study by. This module imports Ray."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from archsearch.search.engines.ray_desk import Desk
from archsearch.search.engines.ray_messages import Message


class Ending(Exception):
    """Ends Tune's loop. An ``Exception``, so that Tune cleans up behind it."""


class _Hook:
    """Base of the hooks."""

    def __init__(self, desk: Desk) -> None:
        """Keep the desk, which answers for all hooks."""
        super().__init__()
        self.desk = desk

    def __reduce__(self) -> Any:
        """Leave nothing in the pickles that Tune makes in order to resume: a study resumes from its storage."""
        return object, ()


def _guarded(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Keep what a hook raises as the desk's failure, and do not count its time against any candidate.

    Tune swallows some of the exceptions of hooks and wraps the others, so they are raised between two steps.
    """

    @functools.wraps(hook)
    def guarded(self: _Hook, *args: Any, **kwargs: Any) -> Any:
        start = time.monotonic()
        try:
            return hook(self, *args, **kwargs)
        except BaseException as error:
            self.desk.failure = self.desk.failure or error
            return None
        finally:
            self.desk.extend(time.monotonic() - start)

    return guarded


class StudySearcher(_Hook, Searcher):  # type: ignore[misc]
    """Asks the desk for candidates."""

    def set_search_properties(self, *args: Any, **spec: Any) -> bool:
        """Accept Tune's settings, none of which matter here."""
        return True

    @_guarded
    def suggest(self, trial_id: str) -> Any:
        """Return the configuration of a candidate."""
        return self.desk.suggest(trial_id, Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Do nothing: the scheduler and the callback tell the desk."""

    def save(self, checkpoint_path: str) -> None:
        """Save nothing."""

    def save_to_dir(self, *args: Any, **kwargs: Any) -> None:
        """Save nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse, as a study resumes from its storage."""
        raise NotImplementedError("a study resumes from its storage")


class StudyScheduler(_Hook, FIFOScheduler):  # type: ignore[misc]
    """Passes the messages of actors on to the desk."""

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Leave the order to Tune: to look for a trial here would take longer with each one."""
        return

    @_guarded
    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Handle a message; stop Tune's trial after the last one."""
        message: Message = result["message"]
        if self.desk.heard(trial.trial_id, message):
            return str(TrialScheduler.CONTINUE)
        if message.environment is not None:
            return str(TrialScheduler.STOP)
        trial.temporary_state.ray_actor.decline.remote()  # comes before the next step
        return str(TrialScheduler.CONTINUE)


class StudyCallback(_Hook, tune.Callback):  # type: ignore[misc]
    """Tells the desk of actors that start and die, and ends those whose time is up."""

    @_guarded
    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Start the time limit of a trial."""
        self.desk.started(trial.trial_id)

    @_guarded
    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Handle the death of an actor."""
        self.desk.died(trial.trial_id, _cause_of_death(trial))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Kill the actors of late trials; at the end of the run, those of all."""
        ending = self.desk.ending()
        wanted = self.desk.underway if ending else self.desk.late()
        for trial in trials if wanted else ():
            if trial.trial_id in wanted and trial.temporary_state.ray_actor is not None:
                ray.kill(trial.temporary_state.ray_actor)
        if ending:
            raise Ending


def _cause_of_death(trial: Any) -> str:
    """Return why an actor ended, in one line, from the error file that Tune wrote."""
    try:
        words = Path(trial.error_file).read_text()
    except (OSError, TypeError):
        words = ""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    cause = next((line for line in lines if "exit" in line or "killed" in line or "OOM" in line), "")
    last = cause or (lines[-1] if lines else "")
    return f"its actor ended ({last[:300]})" if last else "its actor ended"
