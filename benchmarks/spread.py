"""How well a speed repeats: archsearch's protocol beside timm's way, on the same networks in one sitting.

    python benchmarks/spread.py [--repeats 3] [--device auto] [--img-size 96] [MODEL ...]

timm's way: ten steps of warm-up, then the mean of 40 steps, one network after the other. Both are
repeated, in turns and each time in a new process; what is printed is the ratio of each network to the
first one, and how far apart its repetitions lie.
"""

import argparse
import json
import subprocess
import sys
import time

import torch

from archsearch.arch.networks import find
from archsearch.benchmark.clocks import synchronize
from archsearch.benchmark.timed_steps import has_tf32, lay_out, make_step, set_precision
from archsearch.benchmark.timing import Setting
from archsearch.nn import build_network
from archsearch.nn.device import device_name, pick_device
from archsearch.recipes import BENCHES

MODELS = ("inceptionnext_tiny", "convnext_tiny", "timm:resnet18")
WARM_UP, STEPS = 10, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--img-size", type=int)
    parser.add_argument("-b", "--batch-size", type=int)
    parser.add_argument("--one-mean", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    device = pick_device(args.device)
    args.batch_size = args.batch_size or BENCHES["cpu" if device.type == "cpu" else "gpu"].batch_size
    args.img_size = args.img_size or (96 if device.type == "cpu" else 224)
    if args.one_mean:
        print(json.dumps(one_mean(args, device)))
        return
    print(f"{device_name(device)}, batch {args.batch_size}, {args.img_size} px, channels last", flush=True)
    ways = {"mean of 40 steps": means_of, "archsearch": measured}
    ratios = {name: [] for name in ways}
    seconds = dict.fromkeys(ways, 0.0)
    for _ in range(args.repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            ratios[name].append(way(args))
            seconds[name] += time.perf_counter() - start
    print("| step | network | way | ratio, each time | spread |\n| --- | --- | --- | --- | ---: |")
    for kind in ("infer", "train"):
        for model in args.models[1:]:
            for name, runs in ratios.items():
                values = [run[f"{kind} {model}"] for run in runs]
                spread = max(values) / min(values) - 1
                print(f"| {kind} | {model} | {name} | {', '.join(f'{v:.3f}' for v in values)} | {spread:.1%} |")
    print("seconds per repetition: " + ", ".join(f"{n} {s / args.repeats:.0f}" for n, s in seconds.items()))


def measured(args: argparse.Namespace) -> dict[str, float]:
    """The ratios of one run of the protocol."""
    command = [sys.executable, "cli.py", "benchmark", *args.models, "--reference", args.models[0], "-f", "json", "-q"]
    sizes = ["--img-size", str(args.img_size), "-b", str(args.batch_size), "--device", args.device, "--channels-last"]
    rows = json.loads(subprocess.run([*command, *sizes], capture_output=True, text=True, check=True).stdout)
    return {f"{kind} {row['model']}": row[f"{kind}_ratio"] for row in rows for kind in ("infer", "train")}


def means_of(args: argparse.Namespace) -> dict[str, float]:
    """The ratios of one run of timm's way, in a new process."""
    command = [sys.executable, __file__, *args.models, "--one-mean", "--device", args.device]
    sizes = ["--img-size", str(args.img_size), "-b", str(args.batch_size)]
    speeds = json.loads(subprocess.run([*command, *sizes], capture_output=True, text=True, check=True).stdout)
    return {name: speed / speeds[f"{name.partition(' ')[0]} {args.models[0]}"] for name, speed in speeds.items()}


def one_mean(args: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """Images/s by network and step, in this process."""
    precision = "tf32" if has_tf32(device) else "fp32"
    set_precision(precision)
    speeds = {}
    for name in args.models:
        for kind in ("infer", "train"):
            model, img_size = build_network(find(name, args.img_size))
            setting = Setting(kind, "eager", "channels_last", precision, args.batch_size, img_size)
            step = make_step(lay_out(model, setting, device), setting, device)
            for _ in range(WARM_UP):
                step()
            synchronize(device)
            start = time.perf_counter()
            for _ in range(STEPS):
                step()
            synchronize(device)
            speeds[f"{kind} {name}"] = STEPS * args.batch_size / (time.perf_counter() - start)
    return speeds


if __name__ == "__main__":
    main()
