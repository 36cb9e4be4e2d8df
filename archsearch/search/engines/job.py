"""What the engines send to their workers: a candidate to evaluate, and how.

Workers import this module when they start: it must not load Optuna, SQLAlchemy, SciPy or pandas.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from archsearch.arch import Arch
from archsearch.trial import Evaluation, ProgressCallback
from archsearch.utils.worker_process import Say, Work

#: Evaluates an architecture, given the seed of its training, a progress callback and earlier results; returns the
#: evaluation and its environment.
Evaluate = Callable[[Arch, int, ProgressCallback, Evaluation | None], tuple[Evaluation, dict[str, Any]]]
#: Makes that function in a worker, given the worker's index and, by keyword, what else the engine passes.
MakeEvaluate = Callable[..., Evaluate]


@dataclass(frozen=True)
class Job:
    """One candidate to evaluate.

    Attributes:
        arch: Target architecture.
        seed: Seed of its first training.
        known: Results that need not be found out again.
    """

    arch: Arch
    seed: int
    known: Evaluation | None = None


@dataclass(frozen=True)
class EvaluateJobs:
    """The work of a local worker process, from jobs to evaluations.

    Attributes:
        make_evaluate: Called once in the worker; picklable.
    """

    make_evaluate: MakeEvaluate

    def __call__(self, index: int) -> Work:
        """Return what the worker with this index does with each job."""
        evaluate = self.make_evaluate(index)

        def work(job: Job, say: Say) -> tuple[Evaluation, dict[str, Any]]:
            return evaluate(job.arch, job.seed, say, job.known)

        return work

    @property
    def modules(self) -> list[str]:
        """Modules that a worker imports before its first job."""
        return [__name__, self.make_evaluate.__module__]
