"""Inference by onnxruntime, which many deploy with: a step from images to logits, in buffers that stay in place."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from archsearch.benchmark.timing import Setting
from archsearch.errors import OptionError
from archsearch.nn import deploy_form
from archsearch.nn.onnx_export import INPUT, OUTPUT, check_onnx, export_onnx, open_session
from archsearch.recipes import NO_TRAINING, ONNXRUNTIME, BenchRecipe

#: Execution provider of onnxruntime by type of device.
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
#: Arithmetic that files in float32 can be computed in.
PRECISIONS = ("fp32", "tf32")


def check_steps(bench: BenchRecipe, kinds: Iterable[str]) -> None:
    """Make sure that a recipe's mode has all kinds of step that are to be timed.

    Raises:
        OptionError: It has not.
    """
    if bench.mode == ONNXRUNTIME and "train" in kinds:
        raise OptionError(f"{NO_TRAINING}; time infer or latency, or choose another mode")


def runtime_version() -> str:
    """Return the version of onnxruntime, by whichever package it was installed."""
    import onnxruntime

    return str(onnxruntime.__version__)


def check_onnxruntime(bench: BenchRecipe, device: torch.device) -> None:
    """Make sure that onnxruntime is installed and can do what a recipe asks for on a device.

    Raises:
        OptionError: It is not, or cannot.
    """
    check_onnx()
    if bench.precision not in PRECISIONS:
        raise OptionError(f"mode {ONNXRUNTIME} computes in float32 (fp32, on NVIDIA GPUs tf32), not {bench.precision}")
    if device.type not in PROVIDERS:
        raise OptionError(f"mode {ONNXRUNTIME} runs on cpu and cuda, not on {device}")
    import onnxruntime

    if (provider := PROVIDERS[device.type]) not in onnxruntime.get_available_providers():
        remedy = "pip install onnxruntime-gpu instead of onnxruntime, or use --device cpu"
        raise OptionError(f"onnxruntime has no {provider} here: {remedy}")


class OnnxFiles:
    """ONNX files of one network in a temporary folder, each made when it is first asked for."""

    def __init__(self, model: nn.Module) -> None:
        """Make none yet.

        Args:
            model: Network on the CPU, in its train form.
        """
        self.model = model
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> "OnnxFiles":
        return self

    def __exit__(self, *args: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def of(self, setting: Setting) -> Path:
        """Return the file for a setting, which takes batches of any size.

        Raises:
            ArchError: The network cannot be written as ONNX.
            ArchsearchError: onnxruntime gives other logits than torch.
        """
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="archsearch-onnx-")
        path = Path(self._folder.name) / f"{setting.form}-{setting.img_size}.onnx"
        if not path.exists():
            model = deploy_form(self.model) if setting.form == "deploy" else self.model
            export_onnx(model, setting.img_size, path)
        return path


class OnnxStep:
    """One forward pass; it returns when the logits are there, on a GPU too, so that the wall clock times it.

    Images and logits are buffers on the device that onnxruntime reads and writes in place. Threads are as many as torch
    has in this process, and sleep while they wait for each other.

    Attributes:
        runtime: Version of onnxruntime, execution provider and number of threads, for the record.
    """

    def __init__(self, path: Path, setting: Setting, device: torch.device) -> None:
        """Load a file.

        Args:
            path: File of ``OnnxFiles``.
            setting: Setting of an ``infer`` or ``latency`` step.
            device: Device to run on.

        Raises:
            OptionError: onnxruntime would run it elsewhere.
        """
        threads, provider = torch.get_num_threads(), PROVIDERS[device.type]
        options = {"device_id": device.index or 0, "use_tf32": int(setting.precision == "tf32")}
        self._session = open_session(path, [(provider, options if device.type == "cuda" else {})], threads)
        _check_provider(ran := self._session.get_providers()[0], provider)
        shape = (setting.batch_size, 3, setting.img_size, setting.img_size)
        self._images = torch.randn(shape, device=device)
        self.logits = torch.empty((setting.batch_size, self._session.get_outputs()[0].shape[1]), device=device)
        self._binding = self._session.io_binding()
        self._bind(self._binding.bind_input, INPUT, self._images)
        self._bind(self._binding.bind_output, OUTPUT, self.logits)
        self.runtime = {"onnxruntime": runtime_version(), "provider": ran, "threads": threads}

    def __call__(self) -> object:
        """Run it; ``logits`` holds the outcome."""
        self._session.run_with_iobinding(self._binding)
        return self.logits

    @staticmethod
    def _bind(bind: Any, name: str, buffer: torch.Tensor) -> None:
        device = buffer.device
        bind(name, device.type, device.index or 0, np.float32, tuple(buffer.shape), buffer.data_ptr())


def _check_provider(ran: str, asked: str) -> None:
    """Make sure that a session has the provider it was asked for: without CUDA's libraries it takes the CPU's."""
    if ran != asked:
        raise OptionError(
            f"onnxruntime could not load {asked} and took {ran}: install the CUDA and cuDNN that this onnxruntime-gpu "
            "was built for, or use --device cpu"
        )
