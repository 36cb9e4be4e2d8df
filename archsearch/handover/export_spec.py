"""What an export is to write, and what it wrote, as plain data."""

import keyword
import sys
import sysconfig
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from archsearch.arch import Arch
from archsearch.errors import OptionError
from archsearch.search.spec import STORAGE

#: Words for weights that come from no file.
NONE, PROXY = "none", "proxy"
#: Names that the generated file itself needs.
NEEDED = {
    "MetaNeXt",
    "build_model_with_cfg",
    "default_cfgs",
    "generate_default_cfgs",
    "nn",
    "partial",
    "register_model",
}


def other_meaning(name: str) -> str:
    """Return what else a name of a model means, so that its file cannot bear it, in words; empty for nothing.

    >>> other_meaning("class"), other_meaning("json"), other_meaning("mine")
    ('a keyword of Python', 'a library of Python', '')
    """
    if keyword.iskeyword(name):
        return "a keyword of Python"
    if name in NEEDED:
        return "a word of the generated file"
    installed = [sysconfig.get_path(kind) for kind in ("purelib", "platlib")]
    libraries = {*sys.stdlib_module_names, "archsearch", "timm", "torch"}
    return "a library of Python" if name in libraries or PathFinder.find_spec(name, installed) else ""


@dataclass(frozen=True)
class ExportSpec:
    """A network that is to be written into a folder; ``archsearch.handover.export`` does it.

    Attributes:
        network: ``STUDY#TRIAL``, ``study:STUDY#TRIAL``, a named network, or an architecture's .json file.
        out: Folder to write.
        weights: ``none`` for the target as it is initialised, ``proxy`` for the trial's trained proxy network, or a
            file with weights of the target; None for ``proxy`` where the trial has weights.
        storage: URL of the studies' storage, or path of an SQLite file.
        name: Name of the model for timm and of its Python file; None to make one of the network's.
        seed: Seed of the initialisation, for ``none``.
        deploy: Whether to write the network in its deploy form (``archsearch.nn.deploy``), for inference alone.
        onnx: Whether to write ``model.onnx``, too.
        force: Whether an earlier export may be replaced.
        mixers: Python files with token mixers of your own; they are executed.
    """

    network: str
    out: Path
    weights: str | Path | None = None
    storage: str = STORAGE
    name: str | None = None
    seed: int = 0
    deploy: bool = False
    onnx: bool = False
    force: bool = False
    mixers: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.name is not None and not (self.name.isidentifier() and self.name.isascii()):
            raise OptionError(f"the name {self.name!r} is no word of letters, digits and _, as Python's modules have")
        if self.name is not None and (meaning := other_meaning(self.name)):
            raise OptionError(f"the name {self.name} is {meaning}; choose another, as net_{self.name}")


@dataclass(frozen=True)
class Exported:
    """A folder that was written.

    Attributes:
        folder: Folder, as it was named.
        subject: What was exported, in words.
        arch: Architecture of the network in it.
        params: Number of its parameters, in that form.
        weights: Where the weights come from, in words.
        entry: Name of timm's entry point.
        module: Python module in the folder that timm has to import; None where timm's own classes build the network.
        reason: Why timm's own classes do not; empty where they do.
        files: Names of the files.
        loading: Python that loads the network in timm, a line each.
        training: Command that trains it in full, as the paper does; None for a proxy network or the deploy form.
    """

    folder: Path
    subject: str
    arch: Arch
    params: int
    weights: str
    entry: str
    module: str | None
    reason: str
    files: tuple[str, ...]
    loading: tuple[str, ...]
    training: str | None
