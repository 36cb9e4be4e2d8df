"""Do a study's speeds hold on a busy machine? The same networks timed in quiet, and beside a neighbour.

    python benchmarks/busy.py [--networks 10] [--space inception_dw] [--spinning] [--seed 0]

Networks of a search space are timed as a study times them, one after another, on an otherwise idle machine (twice),
and then beside a neighbour that this program starts and ends: bursts of one or two processes that compute or copy
memory for seconds, with pauses between them. Printed are, against the first quiet timing: Kendall's tau and the largest
deviation of any network, for raw images per second and for the speeds that a study reports (the relative throughput
times the fixed speed of the reference); the seconds that a timing takes; and how much further apart repeated timings
lie than their intervals say, which is where ``archsearch.stats.intervals.RETIMING`` comes from. With ``--spinning``
the busy part is repeated with OpenMP's default, threads that spin while they wait.

It takes about ten minutes on two cores; nothing else should run meanwhile.
"""

import argparse
import contextlib
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path

import numpy as np
import torch

from archsearch.benchmark.reference import time_reference
from archsearch.benchmark.timer import Timer, Timings
from archsearch.complexity.parts import PartCounter
from archsearch.nn.device import environment
from archsearch.recipes import BENCHES
from archsearch.search.engines.runner import TIMINGS
from archsearch.space.yaml import load_space
from archsearch.stats.agreement import kendall
from archsearch.stats.intervals import NORMAL

#: Programs of the neighbour: one computes, one copies more memory than the caches hold.
COMPUTES = "while True: sum(range(10**6))"
COPIES = "import numpy as np\na, b = np.ones(1 << 24), np.ones(1 << 24)\nwhile True: np.copyto(a, b)"
#: Seconds that a burst of the neighbour and a pause after it last, at least and at most.
BURST, PAUSE = (2.0, 8.0), (1.0, 6.0)
SECONDS = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--space", default="inception_dw")
    parser.add_argument("--spinning", action="store_true", help="repeat the busy part with threads that spin")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    archs = networks(args.space, args.networks, args.seed)
    print(f"{len(archs)} networks of {args.space}, {os.cpu_count()} cores, torch {torch.__version__}", flush=True)
    facts = environment(torch.device("cpu"))
    fixed = time_reference(BENCHES["cpu"], ("infer",), "cpu", facts)["infer"]
    print(
        f"reference: {BENCHES['cpu'].batch_size / fixed.step_s:.2f} images/s, disturbed: {fixed.disturbed}", flush=True
    )
    quiet, again = (timed(archs, fixed.step_s) for _ in range(2))
    with neighbour(args.seed):
        busy = timed(archs, fixed.step_s)
    rows = {"quiet again": again, "beside a neighbour": busy}
    if args.spinning:
        os.environ["GOMP_SPINCOUNT"] = "300000"  # what libgomp does where nothing is set
        with neighbour(args.seed):
            rows["beside it, threads spin"] = timed(archs, fixed.step_s)
    print("| | speed | Kendall's tau | largest deviation | refused | put off | seconds per timing |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for name, found in rows.items():
        for which in ("raw", "reported"):
            print(f"| {name} | {which} | {row(quiet, found, which)} |")
    print(f"\nseconds per timing in quiet: {statistics.mean(one['seconds'] for one in quiet):.1f}")
    for name, found in rows.items():
        print(f"{name}: timings differ {excess(quiet, found):.2f} times as much as their intervals say")


def networks(space_name: str, count: int, seed: int) -> list:
    """Return architectures of a space, spread over its multiply-adds."""
    space, rng, macs = load_space(space_name), random.Random(seed), PartCounter()
    drawn = {arch.key: arch for arch in (space.possible(space.sample(rng)) for _ in range(200)) if arch is not None}
    ranked = sorted(drawn.values(), key=lambda arch: macs(arch)["macs"])
    chosen = [ranked[round(i * (len(ranked) - 1) / (count - 1))] for i in range(count)]
    rng.shuffle(chosen)
    return chosen


def timed(archs: list, fixed_s: float) -> list[dict]:
    """Time networks as a study does: what is not known well enough is timed again after the others."""
    bench, found, left = BENCHES["cpu"], {}, deque((number, None) for number in range(len(archs)))
    with tempfile.TemporaryDirectory() as folder:
        timings = Timings(Path(folder), environment(torch.device("cpu")))
        with Timer(bench, "cpu", timings, remeasure=True, fixed={"infer": fixed_s}) as timer:
            while left:
                number, earlier = left.popleft()
                start = time.perf_counter()
                timing = timer(archs[number], ("infer",))["infer"]
                timing = timing if earlier is None else timing.joined(earlier)
                one = found.setdefault(number, {"seconds": 0.0, "times": 0})
                one["seconds"] += time.perf_counter() - start
                one["times"] += 1
                one["timing"], one["known"] = timing, timing.known(bench.known_within)
                if not one["known"] and one["times"] < TIMINGS:
                    left.append((number, timing))
    return [found[number] for number in range(len(archs))]


def speeds(found: list[dict], which: str) -> np.ndarray:
    """Return images per second, raw or as a study reports them; NaN for what it refuses."""
    batch = BENCHES["cpu"].batch_size
    if which == "raw":
        return np.array([batch / one["timing"].step_s for one in found])
    return np.array([batch / one["timing"].score_s if one["known"] else math.nan for one in found])


def row(quiet: list[dict], found: list[dict], which: str) -> str:
    one, other = speeds(quiet, which), speeds(found, which)
    both = np.isfinite(one) & np.isfinite(other)
    off = np.abs(other[both] / one[both] - 1).max()
    put_off = sum(result["times"] > 1 for result in found) if which == "reported" else "-"
    refused = int((~np.isfinite(other)).sum()) if which == "reported" else "-"
    seconds = statistics.mean(result["seconds"] for result in found)
    return f"{kendall(one[both], other[both]):.2f} | {off:.1%} | {refused} | {put_off} | {seconds:.1f}"


def excess(quiet: list[dict], found: list[dict]) -> float:
    """Return the deviation between two timings of a network over the one that their intervals have them expect."""
    squares = []
    for one, other in zip(quiet, found, strict=True):
        first, second = one["timing"], other["timing"]
        errors = [math.log(t.ratio_interval[1] / t.ratio_interval[0]) / (2 * NORMAL) for t in (first, second)]
        squares.append(math.log(first.ratio / second.ratio) ** 2 / (errors[0] ** 2 + errors[1] ** 2))
    return math.sqrt(statistics.mean(squares))


@contextlib.contextmanager
def neighbour(seed: int):
    """Run bursts of other processes for the time of a context."""
    rng, over, running = random.Random(seed), threading.Event(), []

    def bursts() -> None:
        while not over.is_set():
            programs = [rng.choice((COMPUTES, COPIES)) for _ in range(rng.choice((1, 1, 2)))]
            running.extend(subprocess.Popen([sys.executable, "-c", program]) for program in programs)
            over.wait(rng.uniform(*BURST))
            end()
            over.wait(rng.uniform(*PAUSE))

    def end() -> None:
        while running:
            process = running.pop()
            process.kill()
            process.wait()

    thread = threading.Thread(target=bursts)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        end()


if __name__ == "__main__":
    main()
