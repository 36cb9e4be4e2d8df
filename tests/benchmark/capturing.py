"""A mixer file with which a process on a CPU takes the way of CUDA graphs; what stands in for torch.cuda records none.

Steps run as they are while they are "captured", and a replay does nothing. By its parameter ``fails``, the mixer does
then what a user's own may do: what cannot be captured (1, in training steps only), or run out of memory (2; 3, beside
other networks only).
"""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from archsearch.benchmark import timed_steps

STATE = SimpleNamespace(capturing=False, broken=False, captured=0)
STREAM = SimpleNamespace(wait_stream=lambda other: None)


@contextmanager
def graph(graph, pool, stream):
    """Ends as ``torch.cuda.graph`` does: with an error of its own where the step has raised one."""
    if STATE.broken:
        raise RuntimeError("a capture failed before in this process")
    STATE.capturing = True
    try:
        yield
    except Exception:
        STATE.broken = True
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")  # noqa: B904
    finally:
        STATE.capturing = False
    STATE.captured += 1


timed_steps.check_device = lambda bench, device: None
timed_steps._for_captures = lambda device: (STREAM, None)
torch.cuda.current_stream = lambda device: STREAM
torch.cuda.stream = lambda stream: nullcontext()
torch.cuda.synchronize = torch.cuda.reset_peak_memory_stats = lambda device: None
torch.cuda.CUDAGraph = lambda: SimpleNamespace(replay=lambda: None)
torch.cuda.graph = graph


class Awkward(nn.Module):
    """A depthwise convolution that fails while it is captured."""

    def __init__(self, dim: int, fails: int = 0) -> None:
        super().__init__()
        self.conv, self.fails = nn.Conv2d(dim, dim, 3, padding=1, groups=dim), fails

    def forward(self, x: Tensor) -> Tensor:
        if STATE.capturing and self.fails == 1 and self.training:
            raise ValueError("operation not permitted when stream is capturing")
        if STATE.capturing and (self.fails == 2 or (self.fails == 3 and STATE.captured > 3)):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.conv(x)


MIXERS = {"awkward": Awkward}
