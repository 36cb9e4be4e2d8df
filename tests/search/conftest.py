"""Real storages and engines for tests of studies."""

import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import servers

from archsearch import Engine, StudySpec
from archsearch.search.engines.local import run_local
from archsearch.search.engines.runner import run_here


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server."""
    if servers.postgres_programs() is None or not find_spec("psycopg"):
        pytest.skip("PostgreSQL's server or psycopg is not installed here")
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # pytest's own folders are closed to the server's user
    server = servers.Postgres(folder)
    yield server
    server.stop("immediate")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _cluster():
    """A Ray cluster with two cores on this machine."""
    if not find_spec("ray"):
        pytest.skip("Ray is not installed here")
    from archsearch.search.engines.ray_cluster import cluster

    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with cluster(None, 2) as resources:
            yield resources


@pytest.fixture
def database(request, tmp_path):
    """A function that returns the URL of a new storage of one kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").database
    numbers = iter(range(100))
    return lambda: f"sqlite:///{tmp_path}/{next(numbers)}.db"


def on_ray(runner, make, workers, trial_timeout=None):
    from archsearch.search.engines.ray_cluster import Share
    from archsearch.search.engines.ray_tune import run_ray

    run_ray(runner, make, Share(1, 0), {}, workers, trial_timeout)


def in_this_process(runner, make, workers, trial_timeout=None):
    run_here(runner, make(0))


@pytest.fixture
def engine(request):
    """A function that runs a study, given a runner, a factory of evaluations, and the number of workers."""
    if request.param == "ray":
        request.getfixturevalue("_cluster")
        return on_ray
    return {"local": run_local, "here": in_this_process}[request.param]


@pytest.fixture
def spec(tmp_path, small_space):
    """A study that costs next to nothing, in this process."""
    return StudySpec(
        space=small_space,
        objectives=("accuracy", "macs"),
        n_trials=3,
        sampler="random",
        proxy="smoke",
        proxy_changes={"train_samples": 64},
        bench="smoke",
        engine=Engine(workers=0),
        device="cpu",
        storage=str(tmp_path / "s.db"),
    )
