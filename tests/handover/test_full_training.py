"""The printed command of full training: timm's script reads it, and timm trains an exported folder by it."""

import importlib.util
import json
import math
import os
import shlex
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import Mixup, create_dataset, create_loader, resolve_model_data_config
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import random_seed

from archsearch.arch.networks import network
from archsearch.handover import Exported, ExportSpec, export
from archsearch.handover.full_training import drop_path, options
from archsearch.recipes import PROXIES

CLASSES, TRAIN, VAL = 4, 120, 50
TINY = PROXIES["smoke"].shrink(network("inceptionnext_tiny"), CLASSES).replace(drop_path_rate=0.1)
#: Classes of the images.
COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "grey": (128, 128, 128), "red": (200, 50, 40)}
#: An architecture of timm's own and one that needs a file.
ARCHS = {"timm's": TINY.replace(stem_patch_size=4), "generated": TINY}


def exported(arch, folder: Path) -> Exported:
    path = folder / "tiny_trained.json"
    path.write_text(json.dumps(arch.to_dict()))
    return export(ExportSpec(str(path), folder / "out put", "none"))


def words_of(made: Exported) -> list[str]:
    """The printed command line behind ``train.py``."""
    words = shlex.split(made.training)
    return words[words.index("train.py") + 1 :]


class Told(Namespace):
    """Options by name, which note in ``read`` which of them were asked for."""

    def __getattribute__(self, name: str):
        value = super().__getattribute__(name)
        if not name.startswith("_") and name != "read":
            self.read.add(name)
        return value


def told(made: Exported, *more: str) -> Told:
    """Options of the printed command line and of those that follow it, by name, numbers as such."""
    words = [*words_of(made), *more]
    pairs = zip(words[::2], words[1::2], strict=True)

    def value(text: str):
        try:
            return float(text) if "." in text or "e-" in text else int(text)
        except ValueError:
            return text

    return Told(read=set(), **{name.removeprefix("--").replace("-", "_"): value(text) for name, text in pairs})


def test_the_recipe_is_that_of_table_9(tmp_path):
    args = told(exported(TINY, tmp_path))
    assert (args.opt, args.lr, args.weight_decay) == ("adamw", 4e-3, 0.05)
    assert args.batch_size * args.grad_accum_steps == 4096
    assert (args.epochs, args.warmup_epochs, args.sched) == (300, 20, "cosine")
    assert (args.mixup, args.cutmix, args.reprob, args.smoothing) == (0.8, 1.0, 0.25, 0.1)
    assert args.aa.startswith("rand-m9-mstd0.5-")
    assert args.drop_path == 0.1


def test_stochastic_depth_is_the_architectures_or_the_papers_by_size():
    sizes = {"inceptionnext_atto": 4_156_520, "inceptionnext_tiny": 28_055_680}
    sizes |= {"inceptionnext_small": 49_374_016, "inceptionnext_base": 86_672_136}
    for name, params in sizes.items():
        arch = network(name)
        assert drop_path(arch, params) == arch.drop_path_rate == drop_path(arch.replace(drop_path_rate=0.0), params)
    assert drop_path(network("inceptionnext_tiny").replace(drop_path_rate=0.25), 1) == 0.25
    assert options(PROXIES["paper"], 0.3)[-2:] == ["--drop-path", "0.3"]


@pytest.mark.parametrize("kind", ARCHS)
def test_timms_script_reads_the_command(kind, tmp_path):
    script = os.environ.get("TIMM_TRAIN")
    if not script:
        pytest.skip("TIMM_TRAIN names no copy of timm's train.py, which is not in timm's package")
    spec = importlib.util.spec_from_file_location("timm_train", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = exported(ARCHS[kind], tmp_path)
    args = vars(module.parser.parse_args(words_of(made)))
    for name, value in vars(told(made)).items():
        if name == "read":
            continue
        assert args[name] == ([value] if name == "device_modules" else value), name
    assert made.training.startswith("PYTHONPATH=") == (made.module is not None)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """A folder of images of four colours, as timm and its script read it."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in (("train", TRAIN), ("validation", VAL)):
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.array(colour) + rng.normal(0, 20, 3) + rng.normal(0, 30, (32, 32, 3))
                image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                image.save(folder / split / name / f"{number}.png")
    return folder


@pytest.mark.parametrize("kind", ARCHS)
def test_two_epochs_by_timm_improve_on_chance(kind, tmp_path, images):
    made = exported(ARCHS[kind], tmp_path)
    smaller = ("--batch-size", "8", "--grad-accum-steps", "2", "--epochs", "2", "--warmup-epochs", "0")
    args = told(made, "--data-dir", str(images), *smaller)
    if made.module:
        sys.path.insert(0, str(made.folder))
        importlib.import_module(args.device_modules)
        sys.path.remove(str(made.folder))
    random_seed(0)
    model = timm.create_model(args.model, pretrained=True, drop_path_rate=args.drop_path)
    before = accuracy(model, images)
    train(model, args)
    assert args.read == vars(args).keys() - {"read"}, "an option of the command that this test does not follow"
    after = accuracy(model, images)
    chance, images_seen = 1 / CLASSES, CLASSES * VAL
    assert after > chance + 3 * math.sqrt(chance * (1 - chance) / images_seen), (before, after)
    assert after > before


def train(model, args: Told) -> None:
    """Train as timm's script does, on the CPU and without its prefetcher."""
    config = resolve_model_data_config(model)
    mixup = Mixup(mixup_alpha=args.mixup, cutmix_alpha=args.cutmix, label_smoothing=args.smoothing, num_classes=CLASSES)
    loader = create_loader(
        create_dataset("", root=args.data_dir, split="train", is_training=True),
        config["input_size"],
        args.batch_size,
        is_training=True,
        auto_augment=args.aa,
        re_prob=args.reprob,
        mean=config["mean"],
        std=config["std"],
        num_workers=0,
        use_prefetcher=False,
    )
    optimizer = create_optimizer_v2(model, args.opt, lr=args.lr, weight_decay=args.weight_decay)
    schedule, epochs = create_scheduler_v2(
        optimizer, args.sched, num_epochs=args.epochs, warmup_epochs=args.warmup_epochs, warmup_lr=args.warmup_lr
    )
    loss_of = SoftTargetCrossEntropy()
    for epoch in range(epochs):
        model.train()
        for step, (batch, labels) in enumerate(loader, 1):
            mixed, targets = mixup(batch, labels)
            (loss_of(model(mixed), targets) / args.grad_accum_steps).backward()
            if step % args.grad_accum_steps == 0:
                optimizer.step()
                optimizer.zero_grad()
        schedule.step(epoch + 1)


def accuracy(model, images: Path) -> float:
    config = resolve_model_data_config(model)
    loader = create_loader(
        create_dataset("", root=images, split="validation"),
        config["input_size"],
        64,
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        crop_pct=config["crop_pct"],
        num_workers=0,
        use_prefetcher=False,
    )
    model.eval()
    with torch.no_grad():
        right = [model(batch).argmax(1) == labels for batch, labels in loader]
    return float(torch.cat(right).float().mean())
