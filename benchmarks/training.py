"""A proxy's training against the plain PyTorch loop that one would write, in one run: images per second, as a ratio.

    python benchmarks/training.py [NETWORK ...] [--data-root DIR] [--samples 3584] [--rounds 3] [--device auto]

Plain: ``ImageFolder``, ``DataLoader`` with workers, torchvision's crop and flip, float32 (TF32 allowed on a GPU),
default memory layout, AdamW as it comes. Both sides train the same proxy network on the same JPEG files with the
same number of samples, steps and validation images, end to end: from the files (plain) and from the cache that was
decoded once
(ours, whose decoding is told apart). The sides take turns, round by round; the ratio is the median over rounds.
"""

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from archsearch.arch.networks import network
from archsearch.data import ImageData, load, reduce
from archsearch.data.images import stratified
from archsearch.data.stream import batches, room_on
from archsearch.nn import build, init_fan_in
from archsearch.nn.device import device_name, has_bfloat16, pick_device
from archsearch.recipes import PROXIES, ProxyRecipe
from archsearch.train import Training

NETWORKS = ("inceptionnext_tiny", "convnext_tiny")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--data-root", type=Path, help="folder with train/ and test/ (default: the drawn data as JPEG)")
    parser.add_argument("--samples", type=int, default=3584)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device = pick_device(args.device)
    proxy = PROXIES["cpu" if device.type == "cpu" else "gpu"]
    changes = {"epochs": 1, "train_samples": args.samples, "crop_padding": 4, "flip": True, "cutout": 0, "ema": 0.0}
    changes |= {"epoch_samples": 0, "teacher": 0.0}
    if args.batch_size:
        changes["batch_size"] = args.batch_size
    proxy = dataclasses.replace(proxy, **changes)
    with tempfile.TemporaryDirectory() as scratch:
        root = args.data_root or write_drawn(Path(scratch))
        begin = time.perf_counter()
        data = reduce(load("folder", root, proxy.img_size), proxy).to(device, room_on(device))
        print(f"{device_name(device)}, torch {torch.__version__}, bfloat16 {has_bfloat16(device)}")
        print(
            f"{len(data.train)} samples, {len(data.val)} for validation, batch {proxy.batch_size}, {proxy.img_size} px"
        )
        print(f"loading (decoding, if it was not cached): {time.perf_counter() - begin:.1f} s")
        loaders = plain_loaders(root, data, proxy)
        head = "| network | plain (img/s) | ours (img/s) | ratio | lowest | highest | input share of a step |"
        print(head + "\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
        for name in args.networks:
            compare(name, data, proxy, loaders, device, args.rounds)


def write_drawn(folder: Path) -> Path:
    """The drawn data set as an image folder."""
    drawn = load("drawn", None, 32)
    for name, split in (("train", drawn.train), ("test", drawn.test)):
        for number, (pixels, label) in enumerate(zip(split.images, split.labels.tolist(), strict=True)):
            path = folder / name / str(label) / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path, quality=92)
    return folder


def compare(
    name: str,
    data: ImageData,
    proxy: ProxyRecipe,
    loaders: tuple[DataLoader, DataLoader],
    device: torch.device,
    rounds: int,
) -> None:
    """Prints a row; each round runs both sides, in turns."""
    sides: dict[str, Callable[[], None]] = {
        "plain": lambda: plain_epoch(proxy_model(name, data, proxy, device), loaders, proxy, device),
        "ours": lambda: our_epoch(proxy_model(name, data, proxy, device), data, proxy),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds + 1):
        for side in list(sides)[:: 1 if number % 2 else -1]:
            took = clocked(sides[side], device)
            if number:  # the first round warms up
                seconds[side].append(took)
    used = len(data.train) // proxy.batch_size * proxy.batch_size
    ratios = [a / b for a, b in zip(seconds["plain"], seconds["ours"], strict=True)]
    plain, ours = (used / statistics.median(seconds[side]) for side in sides)
    share = input_seconds(data, proxy, device) / statistics.median(seconds["ours"])
    cells = (
        f"{plain:.0f}",
        f"{ours:.0f}",
        f"{statistics.median(ratios):.2f}",
        f"{min(ratios):.2f}",
        f"{max(ratios):.2f}",
    )
    print(f"| {name} | {' | '.join(cells)} | {share:.1%} |", flush=True)


def clocked(work: Callable[[], None], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def proxy_model(name: str, data: ImageData, proxy: ProxyRecipe, device: torch.device) -> nn.Module:
    torch.manual_seed(0)
    model = build(proxy.shrink(network(name), len(data.classes)))
    init_fan_in(model)
    return model.to(device)


def our_epoch(model: nn.Module, data: ImageData, proxy: ProxyRecipe) -> None:
    next(Training(model, data, proxy, seed=0))


def input_seconds(data: ImageData, proxy: ProxyRecipe, device: torch.device) -> float:
    """Drawing, fetching and augmenting the batches of an epoch, and nothing else."""

    def through() -> None:
        for _ in batches(data, proxy, 0, 1, device):
            pass

    clocked(through, device)
    return statistics.median(clocked(through, device) for _ in range(5))


def plain_loaders(root: Path, data: ImageData, proxy: ProxyRecipe) -> tuple[DataLoader, DataLoader]:
    """As many files for training and validation as our side has images."""
    normalise = transforms.Normalize([0.5] * 3, [0.25] * 3)
    size = transforms.Resize(proxy.img_size)
    crop = transforms.RandomCrop(proxy.img_size, proxy.crop_padding, padding_mode="reflect")
    changes = [
        size,
        crop,
        *([transforms.RandomHorizontalFlip()] if data.flip else []),
        transforms.ToTensor(),
        normalise,
    ]
    workers = min(8, os.cpu_count() or 1)
    loaders = []
    for split, changing, training in (
        (data.train, changes, True),
        (data.val, [size, transforms.CenterCrop(proxy.img_size), transforms.ToTensor(), normalise], False),
    ):
        files = ImageFolder(str(root / "train"), transforms.Compose(changing))
        labels = torch.tensor(files.targets)
        chosen = stratified(labels, min(len(split), len(labels)), seed=0)
        loaders.append(
            DataLoader(
                Subset(files, chosen.tolist()),
                proxy.batch_size,
                shuffle=training,
                drop_last=training,
                num_workers=workers,
                pin_memory=torch.cuda.is_available(),
                persistent_workers=True,
            )
        )
    return loaders[0], loaders[1]


def plain_epoch(
    model: nn.Module, loaders: tuple[DataLoader, DataLoader], proxy: ProxyRecipe, device: torch.device
) -> None:
    """The loop of a tutorial."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    optimizer = torch.optim.AdamW(model.parameters(), lr=proxy.lr, weight_decay=proxy.weight_decay)
    train, val = loaders
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(train))
    total = 0.0
    model.train()
    for images, labels in train:
        images, labels = move(images, device), move(labels, device)
        loss = F.cross_entropy(model(images), labels, label_smoothing=proxy.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
    model.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in val:
            correct += (model(move(images, device)).argmax(1) == move(labels, device)).sum().item()


def move(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, non_blocking=True)


if __name__ == "__main__":
    main()
