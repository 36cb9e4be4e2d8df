import subprocess
import sys
import textwrap

import pytest
import tiny
import worker_tasks

from archsearch.arch.networks import network
from archsearch.evaluate.constraint import parse_constraints
from archsearch.evaluate.evaluator import StudyWork
from archsearch.evaluate.machine import Machine, Source
from archsearch.objectives import parse_objectives
from archsearch.search.engines.job import EvaluateJobs, Job
from archsearch.utils.workers import Done, Said, Workers

#: Libraries of the parent's work: asking for candidates, keeping records, showing them.
PARENTS = {"optuna", "sqlalchemy", "alembic", "scipy", "pandas", "sklearn", "moocore", "plotly", "rich", "ray"}


def evaluate_in_worker(work, job):
    """The evaluation of one job in a worker process, and its environment."""
    with Workers(work, 1, work.modules) as processes:
        processes.start(0, job)
        while True:
            for event in processes.events():
                if isinstance(event, Said):
                    processes.answer(event.worker, True)
                else:
                    assert isinstance(event, Done), event
                    return event.result


@pytest.mark.slow
def test_a_worker_of_a_study_imports_no_library_of_its_parent():
    """Each of them costs every worker processor time at its start, from which no evaluation gains anything."""
    atto = network("inceptionnext_atto")
    study_work = StudyWork(
        Source("drawn", None),
        Machine.here(["cpu"], 1, threads=1),
        parse_objectives("pareto"),
        tiny.PROXY,
        tiny.BENCH,
        constraints=parse_constraints(["macs <= 2 * baseline"]),
        baseline=atto,
        seeds=2,
    )
    work = EvaluateJobs(worker_tasks.ListModules(study_work))
    evaluation, environment = evaluate_in_worker(work, Job(atto, 0))
    assert evaluation.error is None
    assert set(evaluation.scores) == {"params", "macs", "infer_throughput", "accuracy"}
    modules = {name.split(".")[0] for name in environment["modules"]}
    assert {"torch", "archsearch"} <= modules
    assert not modules & PARENTS


@pytest.mark.ray
def test_an_actor_of_ray_imports_no_further_library_of_its_driver():
    """Ray Tune imports some of them itself, and these are left out."""
    pytest.importorskip("ray")
    code = """
        import sys, ray.tune
        before = set(sys.modules)
        import archsearch.search.engines.ray_actor, archsearch.evaluate.evaluator
        print(*{name.split(".")[0] for name in set(sys.modules) - before})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert {"torch", "archsearch"} <= modules
    assert not modules & PARENTS
