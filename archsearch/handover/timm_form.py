"""A network in the form in which timm loads it from a folder, and the proof that it is the same network."""

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from archsearch.arch import Arch
from archsearch.errors import ArchsearchError, MixerError, in_one_line
from archsearch.handover.model_file import CLASSIFIERS, REGISTER, model_source
from archsearch.handover.timm_config import Preprocessing, pretrained_cfg
from archsearch.handover.timm_shapes import BeyondTimm, timm_shape

#: Prefix of the module that is imported for the proof alone.
UNREGISTERED = "archsearch_unregistered_"
#: Largest difference of timm's logits from ours, absolute and relative.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class TimmForm:
    """A network as timm builds and loads it.

    Attributes:
        entry: Name of the entry point.
        args: Arguments of the entry point, JSON-ready.
        cfg: timm's description of weights and preprocessing.
        state: Parameters and buffers by the names of timm's network.
        source: Text of the Python file that defines the entry point; None where timm has it.
        reason: Why timm's own classes cannot be the network; empty where they can.
    """

    entry: str
    args: Mapping[str, Any]
    cfg: Mapping[str, Any]
    state: Mapping[str, Tensor]
    source: str | None = None
    reason: str = ""

    @property
    def module(self) -> str | None:
        """Name of the Python module that timm has to import; None for none."""
        return None if self.source is None else self.entry


def timm_form(
    arch: Arch, state: Mapping[str, Tensor], name: str, images: Preprocessing, deploy: bool = False
) -> TimmForm:
    """Return the form of a network: timm's own classes where they can be it, otherwise those of a generated file.

    Args:
        arch: Architecture of the network.
        state: Parameters and buffers by our names.
        name: Name of the entry point in a generated file.
        images: Preprocessing of images.
        deploy: Whether the state is that of the deploy form, which timm's own classes do not have.

    Raises:
        MixerError: A mixer of the user's cannot be copied into a file.
    """
    try:
        if deploy:
            raise BeyondTimm("they have no deploy form")
        shape = timm_shape(arch)
    except BeyondTimm as error:
        cfg = pretrained_cfg(arch, CLASSIFIERS[arch.head], images)
        return TimmForm(name, {}, cfg, dict(state), model_source(arch, name, cfg, deploy), str(error))
    return TimmForm(shape.entry, shape.args, pretrained_cfg(arch, shape.classifier, images), shape.rename(state))


def rebuild(folder: Path, form: TimmForm) -> nn.Module:
    """Build the network of a complete folder as timm does, in evaluation mode, but register nothing in this process.

    Raises:
        MixerError: The generated file cannot be run.
    """
    if form.source is None:
        return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    try:
        model = built_by_source(form.entry, form.source, form.cfg, folder)
    except Exception as error:  # whatever a user's mixer raises outside of its file
        raise MixerError(f"the file of this network cannot be run by itself: {in_one_line(error)}") from error
    return model.eval()


def built_by_source(
    name: str, source: str, cfg: Mapping[str, Any], folder: Path, args: Mapping[str, Any] | None = None
) -> nn.Module:
    """Build a network by the text of its own Python file, whatever timm knows by that name; nothing is registered.

    Args:
        name: Name of the entry point.
        source: Text of the file; it is executed.
        cfg: timm's description of weights and preprocessing.
        folder: Folder with the weights.
        args: Arguments of the entry point; None for none.
    """
    entry = _entry_point(name, source.replace(REGISTER, ""))
    return entry(True, pretrained_cfg={**cfg, "file": str(folder), "source": "local-dir"}, **(args or {}))


def _entry_point(name: str, source: str) -> Callable[..., nn.Module]:
    """Import a source from a file of its own, and return its function of that name."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.py"
        file.write_text(source, encoding="utf-8")
        spec = spec_from_file_location(UNREGISTERED + name, file)
        assert spec is not None  # noqa: S101 - the file is there
        assert spec.loader is not None  # noqa: S101
        module = sys.modules[spec.name] = module_from_spec(spec)  # dataclasses look their module up there
        try:
            spec.loader.exec_module(module)
        finally:
            del sys.modules[spec.name]
    entry: Callable[..., nn.Module] = getattr(module, name)
    return entry


def check_logits(ours: nn.Module, theirs: nn.Module, img_size: int) -> None:
    """Check that two networks have the same logits on random images.

    Raises:
        ArchsearchError: They have not.
    """
    images = torch.randn(2, 3, img_size, img_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        want, got = ours(images), theirs(images)
    if not torch.allclose(got, want, atol=TOLERANCE, rtol=TOLERANCE):
        apart = float((got - want).abs().max())
        raise ArchsearchError(f"timm's network has other logits than ours, by up to {apart:.2g}; nothing was written")
