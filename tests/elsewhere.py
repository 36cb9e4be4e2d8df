"""Benchmark results of another machine, made up: the JSON that ``benchmark --results-file`` writes there."""

import json

from archsearch.benchmark import BenchmarkRecord
from archsearch.benchmark.jobs import Measured
from archsearch.benchmark.timing import Setting, Timing
from archsearch.report.speed_tables import entries, speed_table
from archsearch.utils.tables import render

DEVICE = "Toy Board"


def speed(place, kind="infer"):
    """Images per second of the network at a place of the list."""
    return {"infer": 100.0, "train": 30.0, "latency": 50.0}[kind] / (1 + place)


def record(name, arch, place, mode="eager", device=DEVICE, batch=8, form="train"):
    """A network that was timed in two layouts, the second of which is slower."""
    timings = []
    for layout, factor in (("channels_last", 1.0), ("channels_first", 2.0)):
        for kind in ("train", "infer", "latency"):
            images = 1 if kind == "latency" else batch
            own = "train" if kind == "train" else form
            setting = Setting(kind, mode, layout, "fp32", images, arch.img_size, own)
            step = factor * images / speed(place, kind)
            timings.append(
                Timing(
                    setting,
                    (step, 1.01 * step, 0.99 * step),
                    (0.5, 0.51, 0.49),
                    steps_per_block=2,
                    settled=True,
                    best=factor == 1.0,
                    conditions={"warnings": []},
                )
            )
    facts = {"device_name": device, "host": "board", "kind": "cpu"}
    return BenchmarkRecord(name, arch, Measured(params=1, macs=1, form=form, timings=tuple(timings), environment=facts))


def rows(archs, **changes):
    """The rows of a benchmark of architectures, as data."""
    records = [record(f"net{place}", arch, place, **changes) for place, arch in enumerate(archs)]
    return json.loads(render(speed_table(entries(records), "net0"), "json"))


def write(path, *lists):
    """Write rows to a file; return its path."""
    path.write_text(json.dumps([row for rows in lists for row in rows]))
    return path
