"""Two small networks with weights, and images in folders by class, for tests of ``explain``."""

from pathlib import Path

import torch
from PIL import Image

from archsearch.arch.networks import network
from archsearch.data import load, reduce
from archsearch.handover import Weights, save_weights
from archsearch.nn import build
from archsearch.recipes import PROXIES
from archsearch.train import Training

SMOKE = PROXIES["smoke"]


def train_into(folder: Path, name: str, **facts) -> Path:
    """Train a named network's smallest proxy network for an epoch; return its file of weights."""
    data = reduce(load("drawn", None, SMOKE.img_size), SMOKE)
    arch = SMOKE.shrink(network(name), len(data.classes))
    torch.manual_seed(0)
    training = Training(build(arch), data, SMOKE, seed=0)
    (epoch,) = training
    known = {
        "classes": list(data.classes),
        "mean": (training.mean.flatten() / 255).tolist(),
        "std": (training.std.flatten() / 255).tolist(),
        "accuracy": epoch.accuracy,
        "split": "validation",
        "data": {"name": "drawn"},
    }
    save_weights(folder / f"{name}.safetensors", Weights(arch, training.model.state_dict(), known | facts))
    return folder / f"{name}.safetensors"


def write_images(folder: Path, per_class: int = 3) -> Path:
    """Write images of the drawn data set's test split, without loss, in a folder per class."""
    data = load("drawn", None, SMOKE.img_size)
    for label, name in enumerate(data.classes):
        name = name.replace("/", "-")
        (folder / name).mkdir(parents=True)
        for index in torch.nonzero(data.test.labels == label).flatten()[:per_class].tolist():
            pixels = data.test.pixels(torch.tensor([index]))[0].permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(folder / name / f"{index:04}.png")
    return folder
