"""Captures of CUDA graphs, and what is left of a process in which one has failed.

In torch 2.9 to 2.12 a failed capture outlasts its end: the random number generator believes that it is still being
captured, and the allocator no longer frees its cache when memory runs out. The generator is mended here. A process with
a failed capture captures nothing more, and is replaced after its candidate (``archsearch.evaluate``).
"""

import logging
from collections.abc import Callable
from contextlib import suppress

import torch

from archsearch.errors import first_line
from archsearch.nn.device import is_out_of_memory

logger = logging.getLogger(__name__)

_failed: list[str] = []


def failed() -> bool:
    """Whether a capture has failed in this process."""
    return bool(_failed)


def note_failure(reason: str) -> None:
    """Let nothing more be captured in this process.

    Args:
        reason: Why a capture has failed.
    """
    if not _failed:
        logger.warning("this network cannot be captured as a CUDA graph: %s", reason)
    _failed.append(reason)


def capture(launch: Callable[[], None], stream: torch.cuda.Stream) -> torch.cuda.CUDAGraph | None:
    """Capture what a function launches, without running it.

    Args:
        launch: Function that has run a few times before, on ``stream``.
        stream: Stream that is captured.

    Returns:
        The graph; None where the function cannot be captured, or an earlier capture has failed in this process.

    Raises:
        RuntimeError: Memory ran out; as ``torch.OutOfMemoryError`` without harm to the process.
    """
    if failed():
        return None
    usual, graph = torch.cuda.current_stream(stream.device), torch.cuda.CUDAGraph()
    try:
        # Thread-local: another thread may copy images to the device meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            launch()
    except torch.OutOfMemoryError:  # the capture itself has ended well
        torch.cuda.set_stream(usual)
        raise
    except RuntimeError as error:
        note_failure(first_line(error))
        torch.cuda.set_stream(usual)  # a failed capture may leave another one
        _renew_generator(stream.device)
        if is_out_of_memory(error):
            raise
        return None
    return graph


def run_beside(launch: Callable[[], None], stream: torch.cuda.Stream) -> None:
    """Run a function on the stream that is going to be captured, as CUDA graphs require.

    Args:
        launch: Function to run.
        stream: Stream to run it on; the current one waits for it.
    """
    usual = torch.cuda.current_stream(stream.device)
    stream.wait_stream(usual)
    with torch.cuda.stream(stream):
        launch()
    usual.wait_stream(stream)


def _renew_generator(device: torch.device) -> None:
    """Give the device's random number generator a new state of the same seed, which is not being captured."""
    with suppress(RuntimeError, AttributeError):
        generator = torch.cuda.default_generators[device.index or 0]
        generator.graphsafe_set_state(generator.clone_state())
