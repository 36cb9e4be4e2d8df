"""What the engines send to their workers: a candidate to evaluate, and how.

Workers import this module when they start: it must not load Optuna, SQLAlchemy, SciPy or pandas.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from archsearch.arch import Arch
from archsearch.trial import Evaluation, ProgressCallback
from archsearch.utils.worker_process import Last, Say, Work

#: Evaluates an architecture, given the seed of its training, a progress callback and earlier results; returns the
#: evaluation and its environment.
Evaluate = Callable[[Arch, int, ProgressCallback, Evaluation | None], tuple[Evaluation, dict[str, Any]]]
#: Makes that function in a worker, given the worker's index and, by keyword, what else the engine passes.
MakeEvaluate = Callable[..., Evaluate]


@runtime_checkable
class MakesSeveral(Protocol):
    """A ``MakeEvaluate`` whose functions can share a process."""

    def several(self, indices: Sequence[int]) -> Sequence[Evaluate]:
        """Return a function for each of these workers, which are threads of one process."""


@runtime_checkable
class Wears(Protocol):
    """An ``Evaluate`` that may leave its process in a state in which no other candidate should be evaluated.

    Attributes:
        spent: Whether it did.
    """

    spent: bool


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

    def __call__(self, indices: Sequence[int]) -> list[Work]:
        """Return what each of these workers, which share this process, does with its jobs."""
        if len(indices) > 1 and isinstance(self.make_evaluate, MakesSeveral):
            return [_work(evaluate) for evaluate in self.make_evaluate.several(indices)]
        return [_work(self.make_evaluate(index)) for index in indices]

    @property
    def modules(self) -> list[str]:
        """Modules that a worker imports before its first job."""
        return [__name__, self.make_evaluate.__module__]


def _work(evaluate: Evaluate) -> Work:
    def work(job: Job, say: Say) -> Any:
        done = evaluate(job.arch, job.seed, say, job.known)
        return Last(done) if isinstance(evaluate, Wears) and evaluate.spent else done

    return work
