"""Several seeds of one architecture: one after the other, in processes side by side, or stacked by ``vmap``.

    python benchmarks/several.py [NETWORK ...] [--seeds 4] [--steps 40] [--rounds 3] [--device auto]

Trained images per second over all seeds, steps only, and the ratio to one after the other; the ways take turns.
Networks that keep running statistics cannot be stacked: there ``vmap`` is left out.
"""

import argparse
import copy
import dataclasses
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from archsearch.arch.networks import network
from archsearch.data import ImageData, load, reduce
from archsearch.data.stream import batches
from archsearch.evaluate.machine import Machine, Source, default_workers
from archsearch.evaluate.train_jobs import TrainJob, train_all
from archsearch.nn import build, init_fan_in
from archsearch.nn.device import device_name, pick_device
from archsearch.recipes import PROXIES, ProxyRecipe
from archsearch.train import Training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=("inceptionnext_tiny", "convnext_tiny"))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device = pick_device(args.device)
    recipe = PROXIES["cpu" if device.type == "cpu" else "gpu"]
    samples = args.steps * recipe.batch_size
    proxy = dataclasses.replace(recipe, epochs=1, epoch_samples=0, train_samples=samples, val_samples=64, teacher=0.0)
    data = reduce(load("drawn", None, proxy.img_size), proxy).to(device)
    workers = max(2, default_workers([str(device)]))
    print(f"{device_name(device)}, torch {torch.__version__}, {args.seeds} seeds, {workers} processes")
    print("| network | one after the other (img/s) | processes | ratio | vmap | ratio |\n" + "| --- |" + " ---: |" * 5)
    for name in args.networks:
        compare(name, data, proxy, device, workers, args)


def compare(
    name: str, data: ImageData, proxy: ProxyRecipe, device: torch.device, workers: int, args: argparse.Namespace
) -> None:
    ways: dict[str, Callable[[], float]] = {
        "sequence": lambda: in_sequence(name, data, proxy, device, args.seeds),
        "processes": lambda: in_processes(name, len(data.train), proxy, device, workers, args.seeds),
    }
    if network(name).norm == "layer":
        ways["vmap"] = lambda: stacked(name, data, proxy, device, args.seeds)
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(args.rounds):
        for way, speed in ways.items():
            speeds[way].append(speed())
    cells = [f"{statistics.median(speeds['sequence']):.0f}"]
    for way in ("processes", "vmap"):
        if way in speeds:
            ratio = statistics.median(a / b for a, b in zip(speeds[way], speeds["sequence"], strict=True))
            cells += [f"{statistics.median(speeds[way]):.0f}", f"{ratio:.2f}"]
        else:
            cells += ["-", "-"]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def proxy_model(name: str, data: ImageData, proxy: ProxyRecipe, device: torch.device, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = build(proxy.shrink(network(name), len(data.classes)))
    init_fan_in(model)
    return model.to(device, memory_format=torch.channels_last).train()


def in_sequence(name: str, data: ImageData, proxy: ProxyRecipe, device: torch.device, seeds: int) -> float:
    trained = 0
    took = 0.0
    for seed in range(seeds):
        training = Training(proxy_model(name, data, proxy, device, seed), data, proxy, seed)
        training._pass(1)  # warms up
        start = time.perf_counter()
        training._pass(2)
        took += time.perf_counter() - start
        trained += len(data.train)
    return trained / took


def in_processes(name: str, images: int, proxy: ProxyRecipe, device: torch.device, workers: int, seeds: int) -> float:
    """From when every worker has finished one training until all have: what starting costs is left out."""
    jobs = [TrainJob(network(name), proxy, seed) for seed in range(workers + max(seeds, 2 * workers))]
    ends = []
    machine = dataclasses.replace(Machine.here([str(device)], workers, threads=1), beside=1)
    for _ in train_all(jobs, Source("drawn", None, retrain=True), machine):
        ends.append(time.perf_counter())
    return (len(jobs) - workers) * images / (ends[-1] - ends[workers - 1])


def stacked(name: str, data: ImageData, proxy: ProxyRecipe, device: torch.device, seeds: int) -> float:
    models = [proxy_model(name, data, proxy, device, seed) for seed in range(seeds)]
    params, buffers = stack_module_state(models)
    skeleton = copy.deepcopy(models[0]).to("meta")
    optimizer = torch.optim.AdamW(list(params.values()), lr=proxy.lr, fused=True)
    streams = [[b[0].float() / 128 - 1 for b in batches(data, proxy, seed, 1, device)] for seed in range(seeds)]
    labels = [[b[1] for b in batches(data, proxy, seed, 1, device)] for seed in range(seeds)]

    def loss(p: dict, b: dict, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = functional_call(skeleton, (p, b), (images,))
        return F.cross_entropy(logits.float(), targets, label_smoothing=proxy.label_smoothing)

    def step(number: int) -> None:
        images = torch.stack([stream[number] for stream in streams])
        targets = torch.stack([stream[number] for stream in labels])
        with torch.autocast(device.type, torch.bfloat16):
            losses = vmap(loss)(params, buffers, images, targets)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()

    step(0)
    start = time.perf_counter()
    for number in range(len(streams[0])):
        step(number)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return seeds * len(data.train) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
