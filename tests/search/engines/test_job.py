import dataclasses
import subprocess
import sys
import textwrap
from functools import partial
from importlib.util import find_spec

import pytest
import tiny
import worker_tasks

from archsearch.arch.networks import network
from archsearch.errors import OptionError
from archsearch.evaluate.constraint import parse_constraints
from archsearch.evaluate.evaluator import StudyWork
from archsearch.evaluate.machine import Machine, Source
from archsearch.objectives import parse_objectives
from archsearch.search.engines.job import EvaluateJobs, Job
from archsearch.utils.worker_events import Done, Said
from archsearch.utils.workers import Workers

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


@pytest.mark.slow
def test_candidates_that_share_a_process_are_scored_as_each_alone():
    """Each trains in turn with the others; timings are the work of another process, for which none of them waits."""
    archs = [network("inceptionnext_atto"), network("convnext_atto")]
    work = StudyWork(
        Source("drawn", None, retrain=True),
        Machine.here(["cpu"], 2, threads=1),
        parse_objectives("pareto"),
        dataclasses.replace(tiny.PROXY, epochs=2, drop_path_rate=0.3),
        tiny.BENCH,
        remeasure=True,
        seeds=2,
    )
    jobs = EvaluateJobs(work)
    found, processes = {}, {}
    for together in ((), [(0, 1)]):
        with Workers(jobs, 2, jobs.modules, together) as workers:
            for worker, arch in enumerate(archs):
                workers.start(worker, Job(arch, 0))
            left = {0, 1}
            while left:
                for event in workers.events():
                    if isinstance(event, Said):
                        workers.answer(event.worker, True)
                        continue
                    assert isinstance(event, Done), event
                    left.discard(event.worker)
                    evaluation, _ = event.result
                    assert evaluation.error is None
                    curve = [(epoch.train_loss, epoch.accuracy) for epoch in evaluation.curve]
                    found.setdefault(event.worker, []).append((curve, evaluation.accuracies, evaluation.scores["macs"]))
                    assert evaluation.scores["infer_throughput"] > 0
            processes[len(together)] = {workers._workers[worker].home.process.pid for worker in (0, 1)}
    assert found[0][0] == found[0][1]
    assert found[1][0] == found[1][1]
    assert [len(processes[n]) for n in (0, 1)] == [2, 1]


@dataclasses.dataclass(frozen=True)
class Facts:
    """Tells by which facts about the device each worker of a process finds timings."""

    work: StudyWork

    def __call__(self, indices):
        timings = [evaluator.timer.timings.device for evaluator in self.work.several(indices)]
        return [lambda job, say, facts=facts: facts for facts in timings]


@pytest.mark.slow
def test_workers_that_share_a_process_share_timings_too():
    machine = Machine.here(["cpu"], 2, threads=3)
    work = StudyWork(Source("drawn", None), machine, parse_objectives("pareto"), tiny.PROXY, tiny.BENCH)
    facts = {}
    with Workers(Facts(work), 2, together=[(0, 1)]) as workers:
        for worker in (0, 1):
            workers.start(worker, None)
        while len(facts) < 2:
            facts |= {event.worker: event.result for event in workers.events()}
    assert facts[0] == facts[1]
    assert facts[0]["threads"] != 3, "not those of a worker, which the timing does not have"


@pytest.mark.ray
def test_an_actor_of_ray_imports_no_further_library_of_its_driver():
    """Ray Tune imports some of them itself, and these are left out."""
    if not find_spec("ray"):  # not imported here: it reads its settings from the environment then
        pytest.skip("Ray is not installed here")
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


@pytest.mark.ray
@pytest.mark.usefixtures("_cluster")
def test_a_cluster_answers_questions_of_any_kind():
    """A study on a cluster asks about its device by functions, methods and partial functions."""
    from archsearch.search.engines.ray_cluster import Share, ask_cluster

    assert ask_cluster(partial(int, "7"), Share(1, 0)) == 7
    with pytest.raises(OptionError, match="no such thing"):
        ask_cluster(partial(worker_tasks.refuse, "no such thing"), Share(1, 0))
