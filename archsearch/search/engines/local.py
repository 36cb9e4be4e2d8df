"""The engine for one machine: worker processes, each with one candidate at a time."""

from archsearch.search.engines.job import EvaluateJobs, Job, MakeEvaluate
from archsearch.search.engines.runner import Runner, giving_back
from archsearch.trial import Waiting
from archsearch.utils.workers import Died, Said, Workers

#: Seconds between two looks for new candidates while no worker reports anything.
TICK_S = 1.0


def run_local(runner: Runner, make_evaluate: MakeEvaluate, workers: int, trial_timeout: float | None = None) -> None:
    """Evaluate candidates in worker processes until the runner has no more.

    Args:
        runner: Runner of the study.
        make_evaluate: Called once in each worker; picklable.
        workers: Number of worker processes.
        trial_timeout: Seconds after which a candidate's process is ended and the candidate recorded as failed.

    Raises:
        ArchsearchError: Workers cannot be started.
    """
    work = EvaluateJobs(make_evaluate)
    with giving_back(runner.search), Workers(work, workers, work.modules) as processes:
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
                    runner.lost(jobs.pop(event.worker), event.reason, not event.late, event.started)
                else:
                    runner.ended(jobs.pop(event.worker), *event.result)
