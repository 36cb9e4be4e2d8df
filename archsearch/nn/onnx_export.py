"""Networks as ONNX files, whose batch may have any size, compared with torch as they are written."""

import contextlib
import copy
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archsearch.errors import ArchError, ArchsearchError, OptionError, StorageError, first_line

#: Names of a file's input, (N, 3, S, S), and of its output, (N, classes), both float32.
INPUT, OUTPUT = "images", "logits"
#: Libraries of the extra ``onnx``.
LIBRARIES = ("onnx", "onnxruntime", "onnxscript")
#: Largest difference of a logit from torch's, as a share of the largest logit, or of 1 where all are smaller.
TOLERANCE = 1e-4
#: Batches that a file is compared with torch at; it is traced at another one.
CHECKED_BATCHES, TRACED_BATCH = (1, 3), 2
#: Bytes of weights that are still written into the file itself: protobuf ends at 2 GiB.
WITHIN_FILE = 1_800_000_000


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that was written.

    Attributes:
        path: Path of the file; weights of more than ``WITHIN_FILE`` bytes stand beside it, in ``NAME.onnx.data``.
        names: Names of the files that were written, all in its folder.
        opset: Version of ONNX's operators.
        difference: Largest difference of a logit from torch's, as a share of the largest logit or of 1.
    """

    path: Path
    names: tuple[str, ...]
    opset: int
    difference: float


def check_onnx() -> None:
    """Make sure that the libraries of the extra are installed.

    Raises:
        OptionError: One of them is missing.
    """
    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        raise OptionError(f"ONNX needs {', '.join(missing)}: pip install 'archsearch[onnx]'")


def export_onnx(model: nn.Module, img_size: int, path: Path) -> OnnxFile:
    """Write a network as an ONNX file with a dynamic batch, and compare its logits with torch's.

    The network is written as it is, in its train or deploy form (``archsearch.nn.deploy.deploy_form``), in float32 and
    evaluation mode. An older file stays until the new one is complete and agrees.

    Args:
        model: Network that maps (N, 3, S, S) to logits, ours or timm's; it is not changed.
        img_size: Side of its images in pixels; the file takes images of this size alone.
        path: File to write; its folder is made.

    Raises:
        OptionError: The libraries are not installed.
        ArchError: A part of the network cannot be written as ONNX.
        ArchsearchError: onnxruntime gives other logits than torch.
        StorageError: The file cannot be written.
    """
    check_onnx()
    plain = copy.deepcopy(model).to("cpu", torch.float32).eval()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            scratch = Path(folder) / path.name
            opset = _write(plain, img_size, scratch)
            difference = _difference(plain, img_size, scratch)
            written = sorted(Path(folder).iterdir())
            for file in written:
                file.replace(path.parent / file.name)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {first_line(error)}; free its place, or name another") from None
    return OnnxFile(path, tuple(file.name for file in written), opset, difference)


def _write(model: nn.Module, img_size: int, path: Path) -> int:
    """Write the file without a check; return the version of its operators."""
    weights = sum(weight.numel() * weight.element_size() for weight in model.state_dict().values())
    images = torch.zeros(TRACED_BATCH, 3, img_size, img_size)
    try:
        with _silence():
            program = torch.onnx.export(
                model,
                (images,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
            )
            assert program is not None  # noqa: S101 - of the exporter by tracing it is
            program.save(path, external_data=weights > WITHIN_FILE)
    except OSError:
        raise
    except Exception as error:  # whatever a user's mixer does that the exporter cannot follow
        cause = error.__cause__ or error
        raise ArchError(f"the network cannot be written as ONNX: {first_line(cause)}") from error
    return int(program.model.opset_imports[""])


def _difference(model: nn.Module, img_size: int, path: Path) -> float:
    """Return the largest relative difference of a logit over ``CHECKED_BATCHES``.

    Raises:
        ArchsearchError: It exceeds ``TOLERANCE``.
    """
    session = open_session(path, ["CPUExecutionProvider"])
    worst = 0.0
    for batch in CHECKED_BATCHES:
        images = torch.randn(batch, 3, img_size, img_size, generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            expected: Tensor = model(images)
        (found,) = session.run([OUTPUT], {INPUT: images.numpy()})
        off = (torch.from_numpy(found) - expected).abs().max() / expected.abs().max().clamp(min=1)
        worst = max(worst, float(off))
    if not worst <= TOLERANCE:
        raise ArchsearchError(f"onnxruntime's logits differ from torch's by {worst:.1e}, more than {TOLERANCE:.0e}")
    return worst


def open_session(path: Path, providers: list[Any], threads: int | None = None) -> Any:
    """Return a session of onnxruntime (``onnxruntime.InferenceSession``) that says nothing but errors.

    Args:
        path: ONNX file.
        providers: Names of onnxruntime's execution providers, or pairs of a name and options.
        threads: Number of threads of an operator, which sleep while they wait for each other, as in every process that
            times; None for onnxruntime's own choice.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's remarks from both streams; what is wrong is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(io.StringIO()):
                yield
    finally:
        logging.disable(before)
