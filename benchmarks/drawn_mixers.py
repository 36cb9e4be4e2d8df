"""What the drawn data set asks of a token mixer: accuracy by mixer, mean and deviation over seeds.

    python benchmarks/drawn_mixers.py [--seeds 3] [--device auto]

InceptionNeXt-T with its mixer replaced, trained by the default recipe of the device.
"""

import argparse
import statistics

from archsearch.arch.mixer import Mixer
from archsearch.arch.networks import network
from archsearch.data import load, reduce
from archsearch.evaluate.pipeline import Task, evaluate
from archsearch.nn.device import device_name, pick_device
from archsearch.objectives import parse_objectives
from archsearch.recipes import PROXIES, default_proxy

MIXERS = (
    Mixer.of("identity"),
    Mixer.of("pooling"),
    Mixer.of("inception"),
    Mixer.of("depthwise", kernel_size=3),
    Mixer.of("depthwise", kernel_size=7),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device = pick_device(args.device)
    proxy = PROXIES[default_proxy("cpu" if device.type == "cpu" else "gpu", "drawn")]
    data = reduce(load("drawn", None, proxy.img_size), proxy).to(device)
    task = Task(parse_objectives("accuracy"), proxy, data, device)
    print(f"{device_name(device)}, {len(data.train)} images, {proxy.epochs} epochs, seeds 0 to {args.seeds - 1}")
    print("| mixer | proxy top-1 (%) | deviation | seconds per training |\n| --- | ---: | ---: | ---: |")
    for mixer in MIXERS:
        arch = network("inceptionnext_tiny").replace(mixers=(mixer,) * 4)
        runs = [evaluate(arch, task, seed) for seed in range(args.seeds)]
        accuracy = [100 * run.scores["accuracy"] for run in runs]
        deviation = statistics.stdev(accuracy) if len(accuracy) > 1 else float("nan")
        seconds = statistics.median(run.seconds["train"] for run in runs)
        print(f"| {mixer} | {statistics.mean(accuracy):.1f} | {deviation:.1f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
