"""Devices: choosing one by name, and the facts that are recorded about it."""

import os
import platform
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from archsearch import __version__
from archsearch.errors import OptionError
from archsearch.utils.processor import cpuinfo

#: Words by which torch, its compiler and CUDA's libraries report that memory has run out.
NO_MEMORY = (
    "out of memory",
    "outofmemoryerror",
    "can't allocate memory",
    "alloc_failed",
    "cublas_status_not_initialized",
)

#: Facts of ``environment`` about software that the speed of a step depends on.
VERSIONS = ("torch", "timm", "cuda", "cudnn")


def pick_device(name: str) -> torch.device:
    """Return the device of a name: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        OptionError: This machine has no such device; the message lists those it has.
    """
    here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        here.append("mps")
    if name == "auto":
        return torch.device(here[1] if len(here) > 1 else "cpu")
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in here:
        raise OptionError(f"no device {name!r} here (available: auto, {', '.join(here)})")
    return torch.device(wanted)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware, so that autocast is faster."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return any({"avx512_bf16", "amx_bf16"} & set(flags.split()) for flags in cpuinfo("flags")[:1])
    return False


def environment(device: torch.device) -> dict[str, Any]:
    """Return the facts that results depend on besides the network: machine, versions, git commit, threads."""
    facts: dict[str, Any] = {
        "archsearch": __version__,
        "commit": git_commit(),
        "torch": torch.__version__,
        "timm": version("timm"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "device": str(device),
        "device_name": device_name(device),
        "proxy_autocast": "bfloat16" if has_bfloat16(device) else "off",
    }
    if device.type == "cuda":
        facts["cuda"] = torch.version.cuda
        facts["cudnn"] = torch.backends.cudnn.version()
    facts["threads"] = torch.get_num_threads()
    facts["load_average"] = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return facts


def versions(device: torch.device) -> dict[str, Any]:
    """Return the versions that speeds on a device depend on, by name as in ``environment``."""
    facts = environment(device)
    return {name: str(facts[name]) for name in VERSIONS if name in facts}


def identity(device: torch.device) -> str:
    """Return a name of the device that is unique on the machine: a GPU's UUID, else the device type."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_properties(device).uuid)
    return device.type


def device_name(device: torch.device) -> str:
    """Return the product name of a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor() if device.type == "cpu" else device.type


def _processor() -> str:
    names = cpuinfo("model name")
    return f"{names[0]} ({len(names)} logical cores)" if names else platform.processor() or platform.machine()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory has run out, on a GPU or on the host.

    Errors that it followed on count too: where memory runs out while a CUDA graph is captured, torch raises that the
    capture failed, in the context of the first error.
    """
    return any(map(_says_out_of_memory, origins(error)))


def origins(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and those that it was raised from or in the handling of, back to the first."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        yield at
        seen.add(id(at))
        at = at.__cause__ or at.__context__


def _says_out_of_memory(error: BaseException) -> bool:
    words = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(said in words for said in NO_MEMORY)


@cache
def git_commit() -> str | None:
    """Return the git commit that archsearch runs from, with ``+`` where files are changed; None where installed."""
    here = Path(__file__).resolve().parent
    commit = _git(here, "rev-parse", "--short=12", "HEAD")
    if commit is None or _git(here, "ls-files", "--error-unmatch", "device.py") is None:
        return None  # installed, not checked out; or inside somebody else's repository
    return commit + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
