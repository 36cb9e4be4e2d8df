"""Weights of a trained network in one safetensors file, with its architecture and how it was trained."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from archsearch.arch import Arch
from archsearch.arch.mixer import declarations, declare
from archsearch.errors import ArchError, DataError, StorageError, first_line
from archsearch.nn import Backbone, MetaNeXt, build
from archsearch.nn.backbone import OutIndices
from archsearch.utils.whole_file import replacing

#: Key of the file's metadata that holds what is known of the weights, as JSON.
KEY = "archsearch"


@dataclass(frozen=True)
class Weights:
    """Weights of a network and what is known of them.

    Attributes:
        arch: Architecture of the network that they are of: for a proxy network its own, not that of its target.
        state: Parameters and buffers by the names of ``archsearch.nn.MetaNeXt``, on the CPU.
        facts: How they came about, JSON-ready. ``classes``, ``mean`` and ``std`` (per channel, of pixels from 0 to 1)
            are there for every trained network; a proxy network of a study also has ``target`` (the architecture it
            stands for), ``study``, ``trial``, ``seed``, ``proxy`` (its recipe), ``data``, ``split``, ``accuracy`` (a
            fraction) and ``environment``.
    """

    arch: Arch
    state: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> MetaNeXt:
        """Build the network with these weights, on the CPU and in evaluation mode; it maps (N, 3, S, S) to logits.

        Raises:
            DataError: They do not fit the architecture.
        """
        model = build(self.arch)
        try:
            model.load_state_dict(dict(self.state))
        except RuntimeError as error:
            raise DataError(f"the weights do not fit their architecture: {first_line(error)}") from None
        return model.eval()

    def build_features(self, out_indices: OutIndices = None) -> Backbone:
        """Build the backbone with these weights, without the head, on the CPU and in evaluation mode.

        Args:
            out_indices: Indices of the stages whose maps it returns, as for ``archsearch.nn.Backbone``.

        Raises:
            DataError: The weights do not fit the architecture.
            OptionError: There is no such stage.
        """
        return Backbone(self.build(), out_indices)


def save_weights(path: Path, weights: Weights) -> None:
    """Write weights to a safetensors file in one step; an older file stays until the new one is complete.

    Args:
        path: File to write; its folder is made.
        weights: Weights, on any device.

    Raises:
        StorageError: The file cannot be written.
    """
    kinds = {mixer.token_mixer for mixer in weights.arch.mixers}
    own = {name: declared for name, declared in declarations().items() if name in kinds}
    known = {"arch": weights.arch.to_dict(), "mixers": own, "facts": dict(weights.facts)}
    state = {name: value.detach().cpu().contiguous() for name, value in weights.state.items()}
    try:
        with replacing(path) as scratch:
            save_file(state, scratch, metadata={"format": "pt", KEY: json.dumps(known)})
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"cannot write {path}: {first_line(error)}; free its place, or name another folder"
        ) from None


def load_weights(path: Path) -> Weights:
    """Read what ``save_weights`` wrote.

    Raises:
        DataError: The file is missing or damaged, or another tool wrote it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            known = (file.metadata() or {}).get(KEY)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot read the weights {path}: {first_line(error)}") from None
    if known is None:
        raise DataError(f"{path} has no architecture in its metadata: archsearch did not write it")
    try:
        data = json.loads(known)
        for name, declared in data["mixers"].items():
            declare(name, **declared)
        return Weights(Arch.from_dict(data["arch"]), state, data["facts"])
    except (KeyError, TypeError, ValueError, ArchError) as error:
        raise DataError(f"{path}: its architecture cannot be read: {first_line(error)}") from None
