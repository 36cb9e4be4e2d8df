"""The engine for one machine: worker processes, each with a candidate."""

from dataclasses import dataclass
from typing import Any

from archsearch.arch import Arch
from archsearch.search.engines.runner import MakeEvaluate, Runner, giving_back
from archsearch.trial import Evaluation, Waiting
from archsearch.utils.workers import Died, Said, Say, Work, Workers

#: Seconds between two looks at whether there is something to do, where nothing happens.
TICK_S = 1.0


@dataclass(frozen=True)
class _Begin:
    """In a worker: from jobs, as they are sent, to evaluations."""

    make_evaluate: MakeEvaluate

    def __call__(self, index: int) -> Work:
        evaluate = self.make_evaluate(index)

        def work(job: tuple[Arch, int, Evaluation | None], say: Say) -> tuple[Evaluation, dict[str, Any]]:
            arch, seed, known = job
            return evaluate(arch, seed, say, known)

        return work


def run_local(runner: Runner, make_evaluate: MakeEvaluate, workers: int, trial_timeout: float | None = None) -> None:
    """Evaluates candidates in processes of their own, until the runner has no more.

    Args:
        runner: of the study.
        make_evaluate: picklable; called once in each worker.
        workers: how many.
        trial_timeout: seconds after which a candidate's process is ended, and the candidate recorded as failed.

    Raises:
        ArchsearchError: workers cannot be started.
    """
    with giving_back(runner.search), Workers(_Begin(make_evaluate), workers, [make_evaluate.__module__]) as processes:
        jobs: dict[int, int] = {}
        while True:
            for worker in processes.idle:
                if (candidate := runner.next(f"worker {worker}")) is None:
                    break
                jobs[worker] = candidate.number
                processes.start(worker, (candidate.arch, candidate.seed, candidate.known), trial_timeout)
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
