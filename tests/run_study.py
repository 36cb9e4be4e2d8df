"""A program that runs a study of made-up evaluations, for tests that kill it.

Usage: run_study.py STORAGE_URL TRIALS WORKERS PAUSE, with a pause in seconds at each epoch.

Each worker loads this file again, which therefore imports next to nothing before it is needed.
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from worker_tasks import MakeSlow  # noqa: E402

from archsearch.errors import ArchsearchError  # noqa: E402


def make_study():
    import tiny

    return tiny.make_study("metanext", population=8, sampler="random")


def lines():
    """Return a listener that prints a line per event to stdout."""
    from archsearch.search.engines.runner import ProgressListener

    class Lines(ProgressListener):
        def started(self, candidate, worker):
            print("started", candidate.number, flush=True)

        def ended(self, trial):
            print("ended", trial.number, flush=True)

    return Lines()


def main(url, n_trials, workers, pause):
    from archsearch.search.definition import create_or_resume
    from archsearch.search.engines.local import run_local
    from archsearch.search.engines.runner import Runner
    from archsearch.search.search import Search
    from archsearch.search.storage.lock import owned, sign
    from archsearch.search.storage.mirror import StorageMirror
    from archsearch.search.storage.opening import open_storage

    study = make_study()
    storage = open_storage(url, create=True)
    with owned(study.name, url) as check:
        record = create_or_resume(study, storage)
        sign(record)
        search = Search(study, StorageMirror(record, check))
        search.mirror.trouble = lambda words: print("trouble", words, flush=True)
        run_local(Runner(search, int(n_trials), lines()), MakeSlow(float(pause)), int(workers))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ArchsearchError as error:
        print("error", error, flush=True)
        raise SystemExit(error.exit_code) from None
