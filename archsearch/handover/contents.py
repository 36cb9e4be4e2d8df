"""The network and the weights that an export writes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archsearch.arch import Arch
from archsearch.errors import OptionError, StorageError
from archsearch.handover.checkpoints import load_checkpoint
from archsearch.handover.export_spec import NONE, PROXY, ExportSpec
from archsearch.handover.references import Subject
from archsearch.handover.trained import weights_of
from archsearch.handover.weights import Weights, load_weights
from archsearch.nn import build, check_mixers
from archsearch.nn.deploy import deploy_form


@dataclass(frozen=True)
class Content:
    """The network that goes into a folder.

    Attributes:
        arch: Its architecture.
        model: The network with its weights, in evaluation mode.
        words: Where the weights come from, in words.
        facts: What is known of trained weights.
        options: Preprocessing that a checkpoint of timm's tells.
        proxy: Whether it is a proxy network.
        deploy: Whether it is in its deploy form.
    """

    arch: Arch
    model: nn.Module
    words: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    proxy: bool = False
    deploy: bool = False


def find_content(spec: ExportSpec, subject: Subject) -> Content:
    """Return the network to export, with its weights, in the form that is asked for.

    Raises:
        OptionError: The weights are not to be had; the message names the choices.
        StorageError: The trial has no weights; likewise.
        DataError: A file of weights cannot be read, or is of another architecture.
    """
    check_mixers([subject.arch])
    found = _with_weights(spec, subject)
    return replace(found, model=deploy_form(found.model), deploy=True) if spec.deploy else found


def _with_weights(spec: ExportSpec, subject: Subject) -> Content:
    if spec.weights == NONE:
        return _untrained(subject.arch, spec.seed)
    if spec.weights in (None, PROXY):
        return _proxy(subject)
    path = Path(str(spec.weights))
    if not path.exists():
        raise OptionError(f"--weights {path}: there is no such file; write none, proxy, or the path of a checkpoint")
    found = load_checkpoint(path, subject.arch)
    model = Weights(found.arch, found.state).build()
    return Content(found.arch, model, f"of {path.name}", found.facts, found.options)


def _untrained(arch: Arch, seed: int) -> Content:
    torch.manual_seed(seed)
    return Content(arch, build(arch).eval(), f"untrained, drawn with seed {seed}")


def _proxy(subject: Subject) -> Content:
    """Return the trained proxy network of a trial."""
    origin = subject.origin
    if origin is None:
        raise OptionError(
            f"{subject.name} is no trial of a study and has no trained proxy network: --weights none exports it "
            "untrained, --weights FILE with a checkpoint of full training"
        )
    try:
        path = weights_of(origin.study, origin.trial.number, origin.storage)
    except StorageError as error:
        raise StorageError(f"{error}; or export the untrained target with --weights none") from None
    weights = load_weights(path)
    model = weights.build()
    accuracy, split = weights.facts.get("accuracy"), weights.facts.get("split", "validation")
    words = "of the trained proxy network"
    words += f", accuracy {100 * accuracy:.1f} % on the {split} split" if isinstance(accuracy, float) else ""
    return Content(weights.arch, model, words, weights.facts, proxy=True)
