"""The engine for one machine: workers in processes, each with one candidate at a time."""

from collections.abc import Iterable, Sequence

from archsearch.search.engines.job import EvaluateJobs, Job, MakeEvaluate
from archsearch.search.engines.runner import Runner, giving_back
from archsearch.trial import Waiting
from archsearch.utils.worker_events import Died, Said
from archsearch.utils.workers import Workers

#: Seconds between two looks for new candidates while no worker reports anything.
TICK_S = 1.0


def run_local(
    runner: Runner,
    make_evaluate: MakeEvaluate,
    workers: int,
    trial_timeout: float | None = None,
    together: Iterable[Sequence[int]] = (),
) -> None:
    """Evaluate candidates in worker processes until the runner has no more.

    Args:
        runner: Runner of the study.
        make_evaluate: Called once in each worker; picklable.
        workers: Number of workers.
        trial_timeout: Seconds after which a candidate's process is ended and the candidate recorded as failed.
        together: Indices of the workers that share a process, for each such process; the others have one each.

    Raises:
        ArchsearchError: Workers cannot be started.
    """
    work = EvaluateJobs(make_evaluate)
    with giving_back(runner.search), Workers(work, workers, work.modules, together) as processes:
        jobs: dict[int, int] = {}
        while True:
            for worker in processes.idle:
                if (candidate := runner.next(f"worker {worker}")) is None:
                    break
                jobs[worker] = candidate.number
                processes.start(worker, Job(candidate.arch, candidate.seed, candidate.known), trial_timeout)
            if not jobs:
                return
            for event in processes.events(TICK_S):
                if isinstance(event, Said):
                    waits = isinstance(event.what, Waiting)
                    processes.answer(event.worker, runner.reported(jobs[event.worker], event.what), waits)
                elif isinstance(event, Died):
                    runner.lost(jobs.pop(event.worker), event.reason, not event.late, event.blamed)
                else:
                    runner.ended(jobs.pop(event.worker), *event.result)
