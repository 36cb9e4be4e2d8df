"""Token mixers from a user's own Python file.

The file defines ``MIXERS``, a mapping from names to classes. A class takes the number of channels and keyword
parameters with defaults, which become parameters of the mixer in JSON and in search spaces:

    class Shift(nn.Module):
        def __init__(self, dim, shift_ratio=0.25): ...
        def forward(self, x): ...  # (N, dim, H, W) to the same shape

    MIXERS = {"shift": Shift}
"""

import dataclasses
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer, check_own_name, declarations, declare
from archsearch.arch.params import Value
from archsearch.errors import ArchError, MixerError, in_one_line
from archsearch.nn.mixers import MIXERS, SOURCES, build_mixer
from archsearch.space.axes import STAGE_AXES

#: Names that already have a meaning beside parameters of mixers.
TAKEN = {"token_mixer", "source", *STAGE_AXES, *(field.name for field in dataclasses.fields(Arch))}

POSITIONAL = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)


def load_mixers(path: Path) -> tuple[str, ...]:
    """Load the mixers of a file and return their names.

    The file is executed, so it has to be trusted.

    Raises:
        MixerError: The file cannot be read or run, or does not define valid mixers.
    """
    module = _run(path)
    table = getattr(module, "MIXERS", None)
    if not isinstance(table, Mapping) or not table:
        raise MixerError(f'{path}: defines no mixers; end it with MIXERS = {{"name": Class}}')
    source = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    for name, make in table.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise MixerError(f"{path}: a mixer is called {name!r}, but must have a word of letters, digits and _")
        try:
            check_own_name(name)
            defaults = _defaults(make)
            if name in MIXERS and MIXERS[name].__module__ != make.__module__:
                raise ArchError("another file has a mixer of this name; rename one of them")
            declare(name, defaults, source)
        except ArchError as error:
            raise MixerError(f"{path}, mixer {name!r}: {error}") from None
        MIXERS[name], SOURCES[name] = make, source
    return tuple(table)


def check_mixers(archs: Iterable[Arch]) -> None:
    """Run users' mixers forwards and backwards at every width and map of some architectures.

    Raises:
        MixerError: A mixer fails, returns another shape or type than that of its input, or changes the input itself.
    """
    own = declarations().keys() & MIXERS.keys()  # of one known from a record only, building says what is missing
    seen: set[tuple[Mixer, int, int]] = set()
    for arch in archs:
        for stage, (mixer, dim) in enumerate(zip(arch.mixers, arch.dims, strict=True)):
            case = (mixer, dim, arch.side(stage))
            if mixer.token_mixer in own and case not in seen:
                seen.add(case)
                _check(*case)


def _check(mixer: Mixer, dim: int, side: int) -> None:
    where = f"token_mixer {mixer}, {dim} channels, {side} x {side} positions"
    x = torch.rand(2, dim, side, side)
    before = x.clone()
    try:
        module = build_mixer(mixer, dim)
        with torch.no_grad():
            y = module.eval()(x)
    except (Exception, SystemExit) as error:  # whatever a user's code raises is reported as theirs
        raise MixerError(f"{where}: {in_one_line(error)}{_place(mixer, error)}") from error
    if not isinstance(y, Tensor) or y.shape != x.shape:
        got = f"a tensor of {tuple(y.shape)}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise MixerError(f"{where}: forward returns {got}; it must keep the shape {tuple(x.shape)}")
    if not torch.equal(x, before):
        raise MixerError(f"{where}: forward changes its input in place; it must leave it as it is")
    if y.dtype != x.dtype:
        raise MixerError(f"{where}: forward returns {y.dtype}; it must keep {x.dtype}")
    if not y.isfinite().all():
        raise MixerError(f"{where}: forward returns values that are not finite")
    try:
        y = module.train()(x.requires_grad_())
        if y.requires_grad:
            y.sum().backward()
    except (Exception, SystemExit) as error:
        raise MixerError(f"{where}, in training: {in_one_line(error)}{_place(mixer, error)}") from error


def _place(mixer: Mixer, error: BaseException) -> str:
    """Return the line of the user's file that an error came from, in brackets."""
    file = inspect.getsourcefile(MIXERS[mixer.token_mixer])
    line = _line(error, file)
    return f" ({Path(file).name}, line {line})" if file and line else ""


def _run(path: Path) -> ModuleType:
    if path.suffix != ".py":
        raise MixerError(f"{path}: a file of mixers must end in .py")
    if not path.is_file():
        raise MixerError(f"{path}: {'is a folder; name a file' if path.is_dir() else 'there is no such file'}")
    name = f"archsearch_mixers_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise MixerError(f"{path}: Python cannot read it")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that its classes can be pickled
    sys.path.insert(0, str(path.resolve().parent))  # so that it finds the modules beside it
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise MixerError(f"{path}{_at(error.lineno)}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        raise MixerError(f"{path}{_at(_line(error, spec.origin))}: {in_one_line(error)}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _at(line: int | None) -> str:
    return f", line {line}" if line else ""


def _line(error: BaseException, path: str | None) -> int | None:
    """Return the last line of a file in an exception's traceback."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _defaults(make: Callable[..., Any]) -> dict[str, Value]:
    """Return the parameters of a mixer and their defaults from the signature of its class."""
    if not (isinstance(make, type) and issubclass(make, nn.Module)):
        raise ArchError(f"it is {make!r}, but must be a class derived from torch.nn.Module")
    parameters = list(inspect.signature(make).parameters.values())
    if not parameters or parameters[0].kind not in POSITIONAL:
        raise ArchError("__init__ must take the number of channels first")
    for parameter in parameters[1:]:
        if parameter.name in TAKEN:
            raise ArchError(f"the parameter {parameter.name!r} would be taken for another setting; rename it")
        if not isinstance(parameter.default, (bool, int, float, str)):
            raise ArchError(
                f"the parameter {parameter.name!r} needs a default that is a number, a word or a truth value"
            )
    return {parameter.name: parameter.default for parameter in parameters[1:]}
