"""timm's command for full training with the paper's recipe (Table 9 of *InceptionNeXt*)."""

import shlex
from pathlib import Path

from archsearch.arch import Arch
from archsearch.recipes import PROXIES, ProxyRecipe

#: Stochastic depth by millions of parameters, up to which it is that of InceptionNeXt-A, T, S and B.
DROP_PATHS = ((15, 0.0), (38, 0.1), (68, 0.3))
#: That of larger networks.
LARGEST_DROP_PATH = 0.4
#: RandAugment with a standard deviation of the magnitude of 0.5, and operations that grow with it. The magnitude is cut
#: off at its mean: timm posterises to 0 bits where it draws one of 10, and Pillow 13 refuses that.
RAND_AUGMENT = "rand-m{magnitude}-mstd0.5-mmax{magnitude}-inc1"


def training_command(folder: Path, module: str | None, arch: Arch, params: int, data: str = "DATA") -> str:
    """Return the command line that trains the network of an exported folder by timm's ``train.py``.

    Options that follow it replace those that it has. ``train.py`` is in timm's repository, not in its package.

    Args:
        folder: Folder that ``export`` wrote.
        module: Python module in it that timm has to import; None where timm's own classes build the network.
        arch: Architecture of the network.
        params: Number of its parameters.
        data: Folder of the images.
    """
    recipe = PROXIES["paper"]
    words = ["python", "train.py", "--data-dir", data, "--model", f"local-dir:{folder}"]
    if module is not None:
        words += ["--device-modules", module]
    words += options(recipe, drop_path(arch, params))
    place = f"PYTHONPATH={shlex.quote(str(folder))} " if module is not None else ""
    return place + shlex.join(words)


def options(recipe: ProxyRecipe, drop_path: float) -> list[str]:
    """Return a recipe as options of ``train.py``.

    A batch is accumulated from the parts that the recipe has, each as large as one GPU's share of the paper's.
    """
    values: dict[str, float | str] = {
        "--batch-size": recipe.batch_size // recipe.accumulate,
        "--grad-accum-steps": recipe.accumulate,
        "--epochs": recipe.epochs,
        "--opt": "adamw",
        "--lr": recipe.lr,
        "--weight-decay": recipe.weight_decay,
        "--sched": "cosine",
        "--warmup-epochs": round(recipe.warmup * recipe.epochs),
        "--warmup-lr": 1e-6,
        "--aa": RAND_AUGMENT.format(magnitude=recipe.rand_augment),
        "--mixup": recipe.mixup,
        "--cutmix": recipe.cutmix,
        "--reprob": recipe.erasing,
        "--smoothing": recipe.label_smoothing,
        "--drop-path": drop_path,
    }
    return [word for name, value in values.items() for word in (name, str(value))]


def drop_path(arch: Arch, params: int) -> float:
    """Return the stochastic depth of full training: the architecture's own, or that of the paper's by size."""
    if arch.drop_path_rate:
        return arch.drop_path_rate
    return next((rate for most, rate in DROP_PATHS if params <= most * 1e6), LARGEST_DROP_PATH)
