"""Filters of a token mixer's module, read from the operators that run: convolutions, pooling, padding."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from archsearch.arch.mixer import Mixer
from archsearch.complexity.padding import Window
from archsearch.errors import ArchError, first_line
from archsearch.nn.mixers import build_mixer

#: Operators that pad a map and are none of convolution or pooling.
PADS = ("constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d")
#: Operators that slide a window over each channel.
POOLS = ("avg_pool2d", "max_pool2d_with_indices")


@lru_cache(maxsize=4096)
def traced_windows(mixer: Mixer, source: str | None, dim: int, side: int) -> tuple[Window, ...]:
    """Return the filters that a mixer's module runs on a map, but for those of a single position.

    Padding that the module adds before a filter, by ``F.pad`` or a padding layer, counts as the filter's own.
    Transposed convolutions are left out.

    Args:
        mixer: Token mixer.
        source: Hash of its source file, as an edited mixer has other filters.
        dim: Number of channels.
        side: Side of the map, in positions.

    Raises:
        ArchError: The mixer's file is not here, or the mixer does not run.
    """
    with suppress(Exception), torch.device("meta"):  # which computes nothing; whatever asks for values fails
        return module_windows(build_mixer(mixer, dim), dim, side)
    module = build_mixer(mixer, dim)
    try:
        return module_windows(module, dim, side)
    except Exception as error:  # whatever a user's code raises
        raise ArchError(f"token_mixer {mixer} does not run: {first_line(error)}") from error


def module_windows(module: nn.Module, dim: int, side: int) -> tuple[Window, ...]:
    """Return the filters that a module runs on one map of (dim, side, side), in the order in which they run."""
    seen = _Filters()
    with torch.no_grad(), seen:
        module.eval()(torch.zeros(1, dim, side, side))
    return tuple(seen.windows)


class _Filters(TorchDispatchMode):
    """Filters of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.windows: list[Window] = []
        self._padded: dict[int, _Padded] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in PADS:
            self._padded[id(made)] = self._unpadded(args[0]).padded(made, args[1])
        elif name == "convolution" and not args[6]:
            x, weight, _, stride, padding, dilation, *_ = args
            self._add(x, made, weight.shape[2:], padding, stride, dilation, prod(weight.shape[:2]))
        elif name in POOLS:
            self._pool(args[0], made[0] if isinstance(made, tuple) else made, *args[1:5])
        return made

    def _pool(
        self,
        x: Tensor,
        made: Tensor,
        kernel: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0, 0),
        dilation: Any = None,
    ) -> None:
        dilation = dilation if isinstance(dilation, list) else (1, 1)  # average pooling has ``ceil_mode`` there
        self._add(x, made, kernel, padding, stride or kernel, dilation, x.shape[-3])

    def _add(
        self,
        x: Tensor,
        made: Tensor,
        kernel: Sequence[int],
        padding: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        channels: int,
    ) -> None:
        axes, known = len(kernel), self._unpadded(x)
        before = tuple(a + b for a, b in zip(known.before[-axes:], padding, strict=True))
        steps = (before, tuple(stride), tuple(dilation))
        if prod(kernel) > 1:
            self.windows.append(Window(known.sizes[-axes:], tuple(made.shape[-axes:]), tuple(kernel), *steps, channels))

    def _unpadded(self, x: Tensor) -> "_Padded":
        return self._padded.get(id(x)) or _Padded(x, tuple(x.shape), (0,) * x.ndim)


@dataclass(frozen=True)
class _Padded:
    """A map that was padded: the tensor, which keeps its identity; the sizes before, and what stands before them."""

    tensor: Tensor
    sizes: tuple[int, ...]
    before: tuple[int, ...]

    def padded(self, made: Tensor, pads: Sequence[int]) -> "_Padded":
        """Return the map with more padding; ``pads`` are pairs of before and behind that begin with the last axis."""
        more = [0] * (len(self.before) - len(pads) // 2) + [*pads[::2]][::-1]
        return _Padded(made, self.sizes, tuple(a + b for a, b in zip(self.before, more, strict=True)))
