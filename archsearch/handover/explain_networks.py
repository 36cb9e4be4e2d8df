"""Networks with weights, from wherever they come, each with its own way to take an image."""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from archsearch.arch import Arch
from archsearch.arch.networks import TIMM
from archsearch.data.folder import decode_image, read_image
from archsearch.errors import ArchError, DataError, OptionError, first_line
from archsearch.handover.timm_config import ARCHITECTURE, CONFIG, OWN
from archsearch.handover.timm_form import built_by_source
from archsearch.handover.weights import load_weights
from archsearch.nn import build_trained, check_mixers
from archsearch.trial import parse_trial

#: Takes an image file; returns what the network sees, (S, S, 3) as uint8, and the same normalised, (3, S, S).
Prepare = Callable[[Path], tuple[np.ndarray, Tensor]]


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network to explain.

    Attributes:
        name: Short name: the reference, or the last part of a path without its suffix.
        model: Network with its weights, on the CPU and in evaluation mode.
        stages: Paths of the modules whose outputs are those of its stages.
        classes: Names of its classes.
        img_size: Side of its images, in pixels.
        prepare: How it takes an image.
        arch: Architecture; None for one of timm's networks.
        weights: What its weights are, in words.
        accuracy: Its accuracy, in words.
        preprocessing: How it takes an image, in words.
    """

    name: str
    model: nn.Module
    stages: tuple[str, ...]
    classes: tuple[str, ...]
    img_size: int
    prepare: Prepare
    arch: Arch | None
    weights: str
    accuracy: str
    preprocessing: str


def trained_network(reference: str, storage: str, folder: Path | None) -> TrainedNetwork:
    """Return a network with its weights.

    Args:
        reference: ``STUDY#TRIAL``, ``study:STUDY#TRIAL``, a ``.safetensors`` file, a folder that ``export`` wrote, or
            ``timm:NAME``.
        storage: Storage of the studies.
        folder: Folder with weights for timm's networks; None for timm's own cache and downloads.

    Raises:
        OptionError: The reference has another form.
        StorageError: The study has no such trained network.
        DataError: The weights are missing, or do not fit.
    """
    if reference.startswith(TIMM):
        name = reference.removeprefix(TIMM)
        return _timms(reference, build_trained(name, folder), f"timm's {name}", None, {})
    path = Path(reference)
    if path.is_dir():
        return _exported(path.resolve().name, path)
    if path.suffix == ".safetensors":
        return _own(path.stem, path)
    if (named := parse_trial(reference)) is not None:
        from archsearch.handover.trained import weights_of

        return _own(reference, weights_of(*named, storage))
    raise OptionError(
        f"{reference} names no trained network: write STUDY#TRIAL, a .safetensors file, a folder that export wrote, "
        "or timm:NAME"
    )


def _own(name: str, file: Path) -> TrainedNetwork:
    """Return a network of ours from its file of weights."""
    weights = load_weights(file)
    check_mixers([weights.arch])
    facts, size = weights.facts, weights.arch.img_size
    missing = [key for key in ("classes", "mean", "std") if key not in facts]
    if missing:
        raise DataError(f"{file} does not say its {' or '.join(missing)}; save it with these facts")
    if len(facts["classes"]) != weights.arch.num_classes:
        raise DataError(
            f"{file} names {len(facts['classes'])} classes for {weights.arch.num_classes} logits; save it again"
        )
    mean, std = (torch.tensor(facts[key], dtype=torch.float32).view(3, 1, 1) for key in ("mean", "std"))

    def prepare(path: Path) -> tuple[np.ndarray, Tensor]:
        pixels = decode_image(path, size)
        return pixels.transpose(1, 2, 0), (torch.from_numpy(pixels.copy()).float() / 255 - mean) / std

    return TrainedNetwork(
        name,
        weights.build(),
        tuple(f"stages.{stage}" for stage in range(len(weights.arch.depths))),
        tuple(facts["classes"]),
        size,
        prepare,
        weights.arch,
        _origin(facts) or f"network of {file}",
        _accuracy(facts),
        f"{size} x {size} px (shorter side resized, bicubic; center crop), {_normalised(facts['mean'], facts['std'])}",
    )


def _origin(facts: Mapping[str, Any]) -> str:
    """Return what the weights of a proxy network are, in words; empty where that is not on record.

    >>> _origin({"study": "night", "trial": 3, "seed": 0, "proxy": {"epochs": 30}})
    'proxy network of night#3, trained for 30 epochs with seed 0'
    """
    if "study" not in facts:
        return ""
    trial = f"#{facts['trial']}" if facts.get("trial") is not None else ", no trial of its search"
    epochs = (facts.get("proxy") or {}).get("epochs")
    length = f" for {epochs} epoch{'s' if epochs != 1 else ''}" if epochs else ""
    return f"proxy network of {facts['study']}{trial}, trained{length} with seed {facts.get('seed', 'unknown')}"


def _accuracy(facts: Mapping[str, Any]) -> str:
    """Return the accuracy of weights in words.

    >>> _accuracy({"accuracy": 0.8125, "split": "test", "data": {"name": "cifar10"}})
    '81.2 % on the test split of cifar10'
    """
    if facts.get("accuracy") is None:
        return "not on record"
    data = facts.get("data")
    name = data.get("name") if isinstance(data, Mapping) else data
    return " ".join(
        filter(
            None,
            (
                f"{100 * facts['accuracy']:.1f} %",
                f"on the {facts['split']} split" if facts.get("split") else "",
                f"of {name}" if name else "",
            ),
        )
    )


def _exported(name: str, folder: Path) -> TrainedNetwork:
    """Return a network from a folder that ``export`` wrote."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        entry, own = config["architecture"], config.get(OWN, {})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = _by_timm(folder, config).eval()
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} is no folder of export: it has no {Path(error.filename or 'config.json').name}"
        ) from None
    except Exception as error:  # whatever timm, or a damaged file, may raise
        raise DataError(f"cannot load {folder}: {first_line(error)}; export it again") from error
    weights = (
        f"exported from {own['network']}: weights {own.get('weights', 'of unknown origin')}" if own else str(folder)
    )
    return _timms(name, model, f"{weights}; {entry} in timm", _arch_of(folder), own.get("trained", {}))


def _by_timm(folder: Path, config: Mapping[str, Any]) -> nn.Module:
    """Build the network of a folder by the file that stands in it, or by timm's own classes where none does."""
    import timm

    entry = config["architecture"]
    file = folder / f"{entry}.py"
    if not file.is_file():
        return timm.create_model(f"local-dir:{folder}", pretrained=True)
    told = {key: config[key] for key in ("num_classes", "label_names") if key in config}
    cfg = {**config["pretrained_cfg"], **told}
    return built_by_source(entry, file.read_text(encoding="utf-8"), cfg, folder, config.get("model_args"))


def _arch_of(folder: Path) -> Arch | None:
    """Return the architecture beside exported weights; None where it cannot, as with mixers not known here."""
    try:
        return Arch.from_dict(json.loads((folder / ARCHITECTURE).read_text(encoding="utf-8")))
    except (OSError, ValueError, ArchError):
        return None


def _timms(name: str, model: nn.Module, weights: str, arch: Arch | None, facts: Mapping[str, Any]) -> TrainedNetwork:
    """Return one of timm's networks, which says itself how it takes an image."""
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    if not getattr(model, "num_classes", 0):
        raise DataError(f"{name} has no classes, so that there is nothing to explain; name weights with a classifier")
    config = resolve_model_data_config(model)
    transform = create_transform(**config, is_training=False)
    mean, std = (torch.tensor(config[key]).view(-1, 1, 1) for key in ("mean", "std"))

    def prepare(path: Path) -> tuple[np.ndarray, Tensor]:
        x = transform(read_image(path))
        view = ((x * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
        return view.permute(1, 2, 0).numpy(), x

    size = config["input_size"][-1]
    crop = f"{config['interpolation']}; {config['crop_mode']} crop of {100 * config['crop_pct']:g} %"
    how = f"{size} x {size} px (shorter side resized, {crop}), "
    return TrainedNetwork(
        name,
        model,
        _stages(name, model),
        _class_names(model),
        size,
        prepare,
        arch,
        weights,
        _accuracy(facts),
        how + _normalised(config["mean"], config["std"]),
    )


def _stages(name: str, model: nn.Module) -> tuple[str, ...]:
    """Return the modules of a timm network's feature maps, as timm lists them."""
    info = getattr(model, "feature_info", None)
    known = dict(model.named_modules())
    listed = dict.fromkeys(entry["module"] for entry in info) if isinstance(info, list) else {}
    if not listed and isinstance(stages := known.get("stages"), nn.Sequential):
        listed = dict.fromkeys(f"stages.{stage}" for stage in range(len(stages)))
    found = tuple(path for path in listed if path in known)
    if not found:
        raise DataError(f"{name}: timm does not say which modules its stages are; leave this network out")
    return found


def _class_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of a timm network's classes: its own, ImageNet's by their number, or numbers."""
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    count = int(model.num_classes)  # type: ignore[arg-type]
    own = (getattr(model, "pretrained_cfg", None) or {}).get("label_names")
    if own and len(own) == count:
        return tuple(own)
    subset = infer_imagenet_subset(model)
    if subset is None:
        return tuple(f"class {index}" for index in range(count))
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index).partition(",")[0] for index in range(count))


def _normalised(mean: Any, std: Any) -> str:
    means, stds = (", ".join(f"{value:.3f}" for value in values) for values in (mean, std))
    return f"normalised by mean {means} and standard deviation {stds}"
