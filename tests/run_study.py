"""A program that runs a study of made-up evaluations, for tests that kill it.

Usage: run_study.py STORAGE_URL TRIALS WORKERS PAUSE, with a pause in seconds at each epoch.
"""

import sys
import time
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import tiny  # noqa: E402
import worker_tasks  # noqa: E402

from archsearch.errors import ArchsearchError  # noqa: E402
from archsearch.search.definition import create_or_resume  # noqa: E402
from archsearch.search.engines.local import run_local  # noqa: E402
from archsearch.search.engines.runner import ProgressListener, Runner  # noqa: E402
from archsearch.search.search import Search  # noqa: E402
from archsearch.search.storage.lock import owned, sign  # noqa: E402
from archsearch.search.storage.mirror import StorageMirror  # noqa: E402
from archsearch.search.storage.opening import open_storage  # noqa: E402


class Lines(ProgressListener):
    """Print a line per event to stdout."""

    def started(self, candidate, worker):
        print("started", candidate.number, flush=True)

    def ended(self, trial):
        print("ended", trial.number, flush=True)


def slow(evaluate, pause, arch, seed, report, known):
    """Run the made-up evaluation with a pause in seconds at each epoch."""

    def report_slowly(what):
        time.sleep(pause)
        return report(what)

    return evaluate(arch, seed, report_slowly)


class MakeSlow:
    def __init__(self, pause):
        self.pause = pause

    def __call__(self, index):
        return partial(slow, worker_tasks.made_up, self.pause)


def make_study():
    return tiny.make_study("metanext", population=8, sampler="random")


def main(url, n_trials, workers, pause):
    study = make_study()
    storage = open_storage(url, create=True)
    with owned(study.name, url) as check:
        record = create_or_resume(study, storage)
        sign(record)
        search = Search(study, StorageMirror(record, check))
        search.mirror.trouble = lambda words: print("trouble", words, flush=True)
        run_local(Runner(search, int(n_trials), Lines()), MakeSlow(float(pause)), int(workers))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ArchsearchError as error:
        print("error", error, flush=True)
        raise SystemExit(error.exit_code) from None
