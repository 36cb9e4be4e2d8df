"""The engine for several machines: Ray Tune runs the candidates, and the study is kept as with every engine.

Tune is given a searcher, a scheduler and a callback that pass everything on to the ``Runner``, in the thread that
started it. Nothing of Tune's own is kept: a study whose driver died resumes from its storage. Actors serve one
candidate after another, so that torch is imported once per actor.

Ray reads its settings from the environment when it is imported, so this module imports it only in a run.
"""

import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from archsearch.search.engines.job import MakeEvaluate
from archsearch.search.engines.ray_cluster import Share
from archsearch.search.engines.ray_desk import Desk
from archsearch.search.engines.runner import Runner, giving_back
from archsearch.utils.interrupts import SIGNALS, set_handlers
from archsearch.utils.worker_process import environ


def run_ray(
    runner: Runner,
    make_evaluate: MakeEvaluate,
    share: Share,
    parameters: Mapping[str, Any],
    workers: int | None = None,
    trial_timeout: float | None = None,
) -> None:
    """Evaluate candidates on the cluster that this process is connected to, until the runner has no more.

    Args:
        runner: Runner of the study.
        make_evaluate: Called once in each actor, with ``parameters`` as keyword arguments; picklable.
        share: Resources of the cluster per candidate.
        parameters: Large arguments, sent to each machine once.
        workers: Maximum number of candidates at a time; None for as many as the cluster has room for.
        trial_timeout: Seconds after which a candidate's actor is ended and the candidate recorded as failed.
    """
    desk = Desk(runner, share, workers, trial_timeout)
    runner.search.mirror.ending = desk.ending
    pending = {"TUNE_MAX_PENDING_TRIALS_PG": str(max(16, desk.slots()))}
    with giving_back(runner.search), _noting_signals(desk), environ(pending), tempfile.TemporaryDirectory() as folder:
        tuner = _tuner(desk, make_evaluate, parameters, folder)
        try:
            tuner.fit()
        except Exception:
            if desk.failure is None:
                raise
        if desk.failure is not None:
            raise desk.failure


def _tuner(desk: Desk, make_evaluate: MakeEvaluate, parameters: Mapping[str, Any], folder: str) -> Any:
    """Return Tune's tuner of a run, silent and without records of its own but for a temporary folder."""
    from ray import tune

    from archsearch.search.engines.ray_actor import Candidates
    from archsearch.search.engines.ray_hooks import StudyCallback, StudyScheduler, StudySearcher

    actors = tune.with_parameters(Candidates, make_evaluate=make_evaluate, parameters=parameters)
    return tune.Tuner(
        tune.with_resources(actors, desk.share.resources()),
        tune_config=tune.TuneConfig(
            search_alg=StudySearcher(desk),
            scheduler=StudyScheduler(desk),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="study",
            storage_path=folder,
            verbose=0,
            callbacks=[StudyCallback(desk)],
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )


@contextmanager
def _noting_signals(desk: Desk) -> Iterator[None]:
    """Note signals, to raise them between two steps: Tune makes something else of what a handler raises."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        desk.signal = number

    before: dict[int, Any] = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield
    finally:
        set_handlers(before)
