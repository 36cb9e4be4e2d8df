"""Checkpoints of full trainings: ours, or those of timm's ``train.py``."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from archsearch.arch import Arch
from archsearch.errors import ArchError, DataError, first_line
from archsearch.handover.timm_config import CONFIG
from archsearch.handover.weights import KEY, load_weights
from archsearch.nn import build
from archsearch.nn.deploy import deploy_form
from archsearch.nn.timm_names import from_timm

#: Keys under which a checkpoint holds its weights, the better ones first: moving averages, then the last step's.
STATES = ("state_dict_ema", "model_ema", "state_dict", "model")
#: Prefixes that wrappers put before the names of parameters.
WRAPPERS = ("module.", "_orig_mod.")
#: Last linear layer's bias, whose length is the number of classes.
BIASES = {"linear": "head.fc.bias", "mlp": "head.fc2.bias"}
#: What names a folder for timm.
LOCAL = "local-dir:"
#: Options of ``train.py`` that decide the preprocessing, besides ``input_size``, which goes before ``img_size``.
OPTIONS = ("img_size", "mean", "std", "crop_pct", "interpolation")


@dataclass(frozen=True)
class Checkpoint:
    """Weights of an architecture from a file.

    Attributes:
        arch: Architecture, with as many classes as the weights have.
        state: Parameters and buffers by our names.
        facts: What our own files tell (``archsearch.handover.Weights``).
        options: Preprocessing that ``train.py`` was told, by the names of its options.
    """

    arch: Arch
    state: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def load_checkpoint(path: Path, arch: Arch) -> Checkpoint:
    """Read the weights of an architecture from a file of safetensors or torch; nothing in it is run.

    Args:
        path: File.
        arch: Architecture that the weights are of; they may have another number of classes.

    Raises:
        DataError: The file is missing or damaged, or its weights are of another architecture.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the file of the weights in it")
    state, facts, options = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    arch = _with_classes(arch, state, path)
    model = build(arch)
    expected = model.state_dict()
    state = from_timm(state, expected)
    if wrong := _misfit(state, expected):
        if _is_deployed(state, model):
            raise DataError(
                f"{path} holds the deploy form, which cannot be loaded again; name weights of the train form, as "
                "export writes them without --deploy"
            )
        raise DataError(f"{path} holds weights of another architecture: {wrong}")
    return Checkpoint(arch, state, facts, options)


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            own = KEY in (file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot read the weights {path}: {first_line(error)}") from None
    return state, dict(load_weights(path).facts) if own else {}, {}


def _torch(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"cannot read the weights {path}: {error.strerror or first_line(error)}") from None
    except Exception:  # a damaged file may raise anything
        raise DataError(f"{path} is no checkpoint of torch that holds weights alone") from None
    if not isinstance(content, Mapping):
        raise DataError(f"{path} holds no mapping from names to weights")
    found = next((content[key] for key in STATES if isinstance(content.get(key), Mapping)), content)
    state = {_unwrapped(str(name)): value for name, value in found.items() if isinstance(value, Tensor)}
    told = vars(content["args"]) if isinstance(content.get("args"), argparse.Namespace) else {}
    options = {name: told[name] for name in OPTIONS if told.get(name)} | _size(told.get("input_size"), path)
    return state, {}, _of_folder(str(told.get("model"))) | options


def _size(input_size: Any, path: Path) -> dict[str, Any]:
    """Return the side of the images by the option ``--input-size``, channels, height and width; empty without it."""
    if not input_size:
        return {}
    if len(input_size) != 3 or input_size[0] != 3 or input_size[1] != input_size[2]:
        raise DataError(f"{path} was trained with --input-size {input_size}; square images of 3 channels are needed")
    return {"img_size": input_size[-1]}


def _of_folder(model: str) -> dict[str, Any]:
    """Return the preprocessing of the folder that was trained, which holds where no option says otherwise."""
    try:
        config = json.loads((Path(model.removeprefix(LOCAL)) / CONFIG).read_text(encoding="utf-8"))
        cfg = config["pretrained_cfg"] if model.startswith(LOCAL) else {}
        return {"img_size": cfg["input_size"][-1], **{name: cfg[name] for name in OPTIONS[1:]}}
    except (OSError, ValueError, KeyError, TypeError):  # another network, or its folder has moved
        return {}


def _unwrapped(name: str) -> str:
    for prefix in WRAPPERS:
        name = name.removeprefix(prefix)
    return name


def _with_classes(arch: Arch, state: Mapping[str, Tensor], path: Path) -> Arch:
    bias = state.get(BIASES[arch.head])
    if bias is None:
        raise DataError(f"{path} holds weights of another architecture: there is no {BIASES[arch.head]}")
    try:
        return arch.replace(num_classes=bias.numel())
    except ArchError as error:
        raise DataError(f"{path}: {error}") from None


def _is_deployed(state: Mapping[str, Tensor], model: nn.Module) -> bool:
    """Tell whether a state is that of a network's deploy form."""
    try:
        return _misfit(state, deploy_form(model).state_dict()) is None
    except ArchError:  # a user's mixer that fails to merge
        return False


def _misfit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """Return in words how a state differs from what is expected; None where it fits."""
    if missing := sorted(expected.keys() - state.keys()):
        return f"there is no {missing[0]}"
    if extra := sorted(state.keys() - expected.keys()):
        return f"{extra[0]} has no place in it"
    for name, value in expected.items():
        if state[name].shape != value.shape:
            return f"{name} is {tuple(state[name].shape)} instead of {tuple(value.shape)}"
    return None
