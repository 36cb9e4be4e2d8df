"""The engine for several machines: Ray Tune runs the candidates; what is asked, told and kept is as everywhere.

Tune is given a searcher, a scheduler and a callback that pass everything on to the ``Runner``, in the thread that
started it. Nothing of Tune's own is kept: a study whose driver died goes on from its storage. Actors serve one
candidate after another, so that torch is imported once per actor.

Ray is imported when a run begins.
"""

import functools
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from archsearch.errors import Terminated, UserError
from archsearch.search.engines.job import MakeEvaluate
from archsearch.search.engines.ray_actor import Begun, Message, trainable
from archsearch.search.engines.ray_cluster import Share, nodes, restore
from archsearch.search.engines.runner import Runner, giving_back
from archsearch.trial import Evaluation, Waiting
from archsearch.utils.workers import FALSE_STARTS, START_S, Limit, environ

#: Seconds between two looks at how many machines the cluster has.
LOOK_S = 5.0


def run_ray(
    runner: Runner,
    make_evaluate: MakeEvaluate,
    share: Share,
    parameters: Mapping[str, Any],
    workers: int | None = None,
    trial_timeout: float | None = None,
) -> None:
    """Evaluates candidates on the cluster that this process is connected to, until the runner has no more.

    Args:
        runner: of the study.
        make_evaluate: picklable; called once in each actor, with ``parameters`` as keyword arguments.
        share: what of the cluster a candidate has.
        parameters: large ones; they are sent to each machine once.
        workers: candidates at a time; None for as many as the cluster has room for.
        trial_timeout: seconds after which a candidate's actor is ended, and the candidate recorded as failed.
    """
    from ray import tune

    desk = _Desk(runner, share, workers, trial_timeout)
    runner.search.mirror.ending = desk.ending
    searcher, scheduler, callback = _hooks(desk)
    actors = tune.with_parameters(trainable(), make_evaluate=make_evaluate, parameters=parameters)
    pending = {"TUNE_MAX_PENDING_TRIALS_PG": str(max(16, desk.slots()))}
    with giving_back(runner.search), _noting_signals(desk), environ(pending), tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(actors, share.resources()),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=folder,
                verbose=0,
                callbacks=[callback],
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        try:
            tuner.fit()
        except Exception:
            if desk.failure is None:
                raise
        if desk.failure is not None:
            raise desk.failure


class _Ending(Exception):
    """Ends Tune's loop."""


class _Desk:
    """Between Tune's hooks and the runner. What goes wrong here is kept, and raised where Tune lets it out."""

    def __init__(self, runner: Runner, share: Share, workers: int | None, trial_timeout: float | None) -> None:
        self.runner, self.share, self.workers, self.trial_timeout = runner, share, workers, trial_timeout
        self.failure: BaseException | None = None
        self.signal: int | None = None
        self._numbers: dict[str, int] = {}
        self._seats: dict[str, int] = {}
        self._limits: dict[str, Limit] = {}
        self._late: dict[str, str] = {}
        self._false_starts = 0
        self._slots, self._looked = 0, float("-inf")

    def slots(self) -> int:
        """How many candidates may be under way; machines may come and go."""
        if time.monotonic() - self._looked > LOOK_S:
            self._slots = self.share.slots(nodes())
            self._looked = time.monotonic()
        return self._slots if self.workers is None else min(self.workers, max(1, self._slots))

    def suggest(self, trial_id: str, finished: Any) -> Any:
        """A candidate for Tune to run; None where there is none now, ``finished`` where there will be none."""
        if self.ending():
            return finished
        if len(self._numbers) >= max(1, self.slots()):
            return None
        seat = next(i for i in range(len(self._seats) + 1) if i not in self._seats.values())
        candidate = self.runner.next(f"worker {seat}")
        if candidate is None:  # those under way may be lost, and run again
            return None if self._numbers else finished
        self._numbers[trial_id], self._seats[trial_id] = candidate.number, seat
        return {"arch": candidate.arch.to_dict(), "seed": candidate.seed, "known": candidate.known}

    def heard(self, trial_id: str, message: Message) -> bool:
        """An actor has said something; whether it shall go on as it was."""
        number, what = self._numbers[trial_id], message.what
        if isinstance(what, Begun):
            return self._begun(trial_id, number, what)
        limit = self._limits.get(trial_id)
        if limit is not None:
            limit.go_on()
            if isinstance(what, Waiting):
                limit.wait()
        if not isinstance(what, Evaluation):
            return self.runner.reported(number, what)
        self._forget(trial_id)
        self.runner.ended(number, what, message.environment or {})
        return False

    def _begun(self, trial_id: str, number: int, what: Begun) -> bool:
        if what.error is None:
            self._false_starts = 0
            if self.trial_timeout is not None:
                self._limits[trial_id] = Limit(self.trial_timeout)
            return True
        self._false_starts += 1
        if isinstance(what.error, UserError) or self._false_starts == FALSE_STARTS:
            self.failure = what.error
        self._forget(trial_id)
        self.runner.lost(number, str(what.error), blame=False)
        return False

    def died(self, trial_id: str, reason: str) -> None:
        """An actor is gone."""
        number, late = self._numbers[trial_id], self._late.pop(trial_id, None)
        self._forget(trial_id)
        self.runner.lost(number, late or reason, again=late is None)

    def started(self, trial_id: str) -> None:
        """Tune has an actor for a trial, which may have to import much before it begins."""
        if self.trial_timeout is not None:
            self._limits[trial_id] = Limit(max(START_S, self.trial_timeout))

    def late(self) -> set[str]:
        """Trials that have to be ended now, each told once."""
        over = {trial_id for trial_id, limit in self._limits.items() if limit.over and trial_id not in self._late}
        self._late |= {trial_id: f"took longer than {self._limits[trial_id].seconds:g} s" for trial_id in over}
        return over

    def forgive(self, seconds: float) -> None:
        """Nobody's time, when the driver was busy or its storage away."""
        for limit in self._limits.values():
            limit.forgive(seconds)

    @property
    def underway(self) -> set[str]:
        """Tune's names of the trials that have not ended."""
        return set(self._numbers)

    def ending(self) -> bool:
        """Whether something went wrong in a hook, or a signal came, so that ``failure`` ends the run."""
        if self.failure is None and self.signal is not None:
            self.failure = Terminated() if self.signal == signal.SIGTERM else KeyboardInterrupt()
        return self.failure is not None

    def _forget(self, trial_id: str) -> None:
        del self._numbers[trial_id], self._seats[trial_id]
        self._limits.pop(trial_id, None)


def _hooks(desk: _Desk) -> tuple[Any, Any, Any]:
    """What Tune is given to run a study: a searcher, a scheduler and a callback."""
    from ray import kill, tune
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler
    from ray.tune.search import Searcher

    def kept(hook: Callable[..., Any]) -> Callable[..., Any]:
        """Tune swallows some of what its hooks raise, and wraps the rest: it is kept, and raised between two steps."""

        @functools.wraps(hook)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            start = time.monotonic()
            try:
                return hook(*args, **kwargs)
            except BaseException as error:
                desk.failure = desk.failure or error
                return None
            finally:
                desk.forgive(time.monotonic() - start)

        return guarded

    class Unsaved:
        def __reduce__(self) -> Any:  # Tune pickles what it is given, for a resumption that is not its to make
            return object, ()

    class StudySearcher(Unsaved, Searcher):  # type: ignore[misc]
        def set_search_properties(self, *args: Any, **spec: Any) -> bool:
            return True

        @kept
        def suggest(self, trial_id: str) -> Any:
            return desk.suggest(trial_id, Searcher.FINISHED)

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            pass  # the scheduler and the callback have heard of it

        def save(self, checkpoint_path: str) -> None:
            pass

        def save_to_dir(self, *args: Any, **kwargs: Any) -> None:
            pass

        def restore(self, checkpoint_path: str) -> None:
            raise NotImplementedError("a study goes on from its storage")

    class StudyScheduler(Unsaved, FIFOScheduler):  # type: ignore[misc]
        def choose_trial_to_run(self, tune_controller: Any) -> None:
            return None  # in order; looking for it here would take longer with every trial

        @kept
        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            message: Message = result["message"]
            if desk.heard(trial.trial_id, message):
                return str(TrialScheduler.CONTINUE)
            if message.environment is not None:
                return str(TrialScheduler.STOP)
            trial.temporary_state.ray_actor.decline.remote()  # comes before the next step
            return str(TrialScheduler.CONTINUE)

    class StudyCallback(Unsaved, tune.Callback):  # type: ignore[misc]
        @kept
        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            desk.started(trial.trial_id)

        @kept
        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            desk.died(trial.trial_id, _last_words(trial))

        def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
            ending = desk.ending()
            wanted = desk.underway if ending else desk.late()
            for trial in trials if wanted else ():
                if trial.trial_id in wanted and trial.temporary_state.ray_actor is not None:
                    kill(trial.temporary_state.ray_actor)
            if ending:
                raise _Ending  # an Exception, so that Tune cleans up behind it

    return StudySearcher(), StudyScheduler(), StudyCallback()


def _last_words(trial: Any) -> str:
    """Why an actor is gone, in one line, from what Tune wrote about it."""
    try:
        words = Path(trial.error_file).read_text()
    except (OSError, TypeError):
        words = ""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    cause = next((line for line in lines if "exit" in line or "killed" in line or "OOM" in line), "")
    last = cause or (lines[-1] if lines else "")
    return f"its actor ended ({last[:300]})" if last else "its actor ended"


@contextmanager
def _noting_signals(desk: _Desk) -> Iterator[None]:
    """Signals are noted, and raised between two steps: Tune makes something else of what a handler raises."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        desk.signal = number

    before: dict[int, Any] = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        restore(before)
