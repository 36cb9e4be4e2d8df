"""Studies of made-up evaluations, and a server of their page."""

import contextlib
import threading

from archsearch.report.page.follow import Follower
from archsearch.report.page.serve import Server
from archsearch.search.definition import create_or_resume, load
from archsearch.search.engines.runner import ProgressListener, Runner, run_here
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.storage.opening import open_storage
from archsearch.trial import Epoch, Evaluation


def made_up(arch, seed, report, known=None):
    size = float(sum(arch.dims) * sum(arch.depths))
    scores = {"macs": size, "infer_throughput": 1e4 / size, "accuracy": (size % 97) / 97}
    return Evaluation(scores, curve=(Epoch(1, 1.0, 0.5, 0.1),), seconds={"train": 0.1}), {"device": "none"}


def go(study, url, total):
    """Run a study in this process until it has ``total`` trials."""
    run_here(
        Runner(
            Search(study, StorageMirror(create_or_resume(study, open_storage(url, create=True)))),
            total,
            ProgressListener(),
        ),
        made_up,
    )


@contextlib.contextmanager
def serving(url, *names, host="127.0.0.1"):
    """Serve the page of studies of a storage on a free port while the context lasts."""
    storage = open_storage(url, create=False)
    follower = Follower([load(name, storage) for name in names])
    with Server(host, 0, follower, []) as server:
        follower.start()
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            follower.stop()
            thread.join()
