"""A program that runs a study on a Ray cluster of two local nodes and kills one of them during the run.

Usage: run_two_nodes.py STORAGE_URL
"""

import os
import secrets
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32), RAY_USAGE_STATS_ENABLED="0")
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # as everywhere but there, it would listen to all the world

import run_study  # noqa: E402
import worker_tasks  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

from archsearch.search.definition import create_or_resume  # noqa: E402
from archsearch.search.engines.ray_cluster import Share, cluster  # noqa: E402
from archsearch.search.engines.ray_tune import run_ray  # noqa: E402
from archsearch.search.engines.runner import ProgressListener, Runner  # noqa: E402
from archsearch.search.search import Search  # noqa: E402
from archsearch.search.storage.mirror import StorageMirror  # noqa: E402
from archsearch.search.storage.opening import open_storage  # noqa: E402


def main(url):
    options = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 150_000_000}
    nodes = Cluster(initialize_head=True, head_node_args={**options, "include_dashboard": False})
    second = nodes.add_node(**options)

    class Kills(ProgressListener):
        def ended(self, trial):
            if len(search.trials) == 8:
                nodes.remove_node(second, allow_graceful=False)

        def lost(self, candidate, reason):
            print("lost", candidate.number, reason, flush=True)

    study = run_study.make_study()
    search = Search(study, StorageMirror(create_or_resume(study, open_storage(url, create=True))))
    with cluster(nodes.address) as machines:
        assert [there["CPU"] for there in machines] == [1, 1], machines
        run_ray(Runner(search, 30, Kills()), worker_tasks.MakeSlow(0.1), Share(1, 0), {})
    nodes.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
