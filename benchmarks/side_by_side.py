"""Ways to train proxy networks, in one run: precisions, batches, CUDA graphs, and several candidates in one process.

    python benchmarks/side_by_side.py [NETWORK] [--device auto] [--samples 22400] [--rounds 3] [--together 1 2 4 8]

Images per second over whole epochs with their validation, and the ratio to the first row. The first epoch of each,
which captures and chooses kernels, is left out. The ways take turns, round by round; figures are medians over rounds.
``operator by operator`` is the same step without a CUDA graph; elsewhere than on a GPU every step is. Candidates side
by side train in threads of one process, a step each in turn, on a stream each where there are streams.
"""

import argparse
import dataclasses
import statistics
import threading
import time
from collections.abc import Callable, Sequence

import torch

from archsearch.arch.networks import network
from archsearch.benchmark.clocks import synchronize
from archsearch.data import ImageData, load, reduce
from archsearch.evaluate.pipeline import build_proxy
from archsearch.nn.device import device_name, has_bfloat16, pick_device
from archsearch.recipes import PROXIES, ProxyRecipe
from archsearch.train import Training
from archsearch.train.steps import Step
from archsearch.train.turns import Line, SharedTurn, Turn

#: Changes to the device's recipe, by the words of a row; the first is what others are compared with.
WAYS: dict[str, dict[str, object]] = {
    "amp_bf16": {"precision": "amp_bf16"},
    "bf16": {"precision": "bf16"},
    "tf32": {"precision": "tf32"},
    "amp_bf16, average of weights": {"precision": "amp_bf16", "ema": 0.99},
    "amp_bf16, four times the batch": {"precision": "amp_bf16", "batch_size": 0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", nargs="?", default="inceptionnext_tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--samples", type=int, default=22400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--together", type=int, nargs="+", default=(1, 2, 4, 8))
    args = parser.parse_args()
    device = pick_device(args.device)
    recipe = PROXIES["cpu" if device.type == "cpu" else "gpu"]
    proxy = dataclasses.replace(
        recipe, epochs=2, epoch_samples=0, train_samples=args.samples, val_samples=0, ema=0.0, teacher=0.0
    )
    data = drawn_again(reduce(load("drawn", None, proxy.img_size), proxy), args.samples).to(device)
    print(f"{device_name(device)}, torch {torch.__version__}, bfloat16 {has_bfloat16(device)}, {args.network}")
    print(
        f"{len(data.train)} samples, {len(data.val)} for validation, batch {proxy.batch_size}, "
        f"width {proxy.width:.3g}\n"
    )
    table("one candidate", ways(args.network, data, proxy, device), args.rounds)
    several = {f"{count} side by side": _beside(args.network, data, proxy, device, count) for count in args.together}
    table("candidates in one process", several, args.rounds)


def drawn_again(data: ImageData, samples: int) -> ImageData:
    """The data set with as many training samples as asked for; they are repeated where it has fewer."""
    return dataclasses.replace(data, train=data.train.take(torch.arange(samples) % len(data.train)))


def ways(name: str, data: ImageData, proxy: ProxyRecipe, device: torch.device) -> dict[str, Callable[[], float]]:
    """Functions that train one candidate and return images per second."""

    def timed(changes: dict[str, object], plain: bool = False) -> float:
        batch = {"batch_size": 4 * proxy.batch_size} if changes.get("batch_size") == 0 else {}
        training = started(name, data, dataclasses.replace(proxy, **{**changes, **batch}), device, 0)
        if plain:
            training.step = Step(training.model, training.proxy, training.mean, training.std)
        next(training)
        return rate([training])

    found: dict[str, Callable[[], float]] = {words: lambda c=changes: timed(c) for words, changes in WAYS.items()}
    if device.type == "cuda":
        found["amp_bf16, operator by operator"] = lambda: timed(WAYS["amp_bf16"], plain=True)
    return found


def _beside(name: str, data: ImageData, proxy: ProxyRecipe, device: torch.device, count: int) -> Callable[[], float]:
    def timed() -> float:
        line = Line()
        turns = [SharedTurn(line, device) if count > 1 else Turn() for _ in range(count)]
        trainings = []
        for seed, turn in enumerate(turns):
            with turn.taken():
                trainings.append(started(name, data, proxy, device, seed, turn))
                next(trainings[-1])
        return rate(trainings)

    return timed


def started(
    name: str, data: ImageData, proxy: ProxyRecipe, device: torch.device, seed: int, turn: Turn | None = None
) -> Training:
    arch = proxy.shrink(network(name), len(data.classes))
    return Training(build_proxy(arch, proxy, seed).to(device), data, proxy, seed, turn)


def rate(trainings: Sequence[Training]) -> float:
    """Images per second of the second epoch of all trainings together."""

    def epoch(training: Training) -> None:
        with training.turn.taken():
            next(training)

    threads = [threading.Thread(target=epoch, args=(training,)) for training in trainings]
    synchronize(trainings[0].device)
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    return sum(t.per_epoch * min(t.proxy.batch_size, len(t.data.train)) for t in trainings) / seconds


def table(title: str, ways: dict[str, Callable[[], float]], rounds: int) -> None:
    """Time the ways in turns, and print their medians."""
    found: dict[str, list[float]] = {words: [] for words in ways}
    for _ in range(rounds):
        for words, way in ways.items():
            found[words].append(way())
    print(f"| {title} | images/s | ratio | lowest | highest |\n| --- | ---: | ---: | ---: | ---: |", flush=True)
    first = next(iter(found.values()))
    for words, rates in found.items():
        ratios = [mine / theirs for mine, theirs in zip(rates, first, strict=True)]
        middle = statistics.median(ratios)
        print(f"| {words} | {statistics.median(rates):.0f} | {middle:.2f} | {min(ratios):.2f} | {max(ratios):.2f} |")
    print(flush=True)


if __name__ == "__main__":
    main()
