"""Gradients of pointwise convolutions on a CPU in float32: torch's own against ``archsearch.train.kernels``.

    python benchmarks/pointwise_gradient.py [--batch-size 32] [--rounds 15]

The convolutions are those of InceptionNeXt-T's proxy. Both sides take turns; times in ms are medians over rounds, the
ratio is the median of the rounds' ratios.
"""

import argparse
from collections.abc import Callable

import torch
from depthwise_gradient import compared
from torch import Tensor

from archsearch.train.kernels import pointwise_gradients

#: Channels in, channels out, side of the map.
CONVOLUTIONS = (
    (24, 96, 16), (96, 24, 16), (48, 192, 8), (192, 48, 8), (96, 384, 4), (384, 96, 4), (192, 576, 2), (576, 192, 2)
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {args.batch_size}, float32")
    print("| channels | map | torch (ms) | here (ms) | ratio |\n|" + " ---: |" * 5)
    for inside, outside, side in CONVOLUTIONS:
        x, grad = (
            torch.randn(args.batch_size, width, side, side).contiguous(memory_format=torch.channels_last)
            for width in (inside, outside)
        )
        theirs, ours, ratio = compared(*both(x, torch.randn(outside, inside, 1, 1), grad), args.rounds)
        print(f"| {inside} to {outside} | {side} | {theirs:.2f} | {ours:.2f} | {ratio:.1f} |", flush=True)


def both(x: Tensor, weight: Tensor, grad: Tensor) -> tuple[Callable[[], object], Callable[[], object]]:
    """Torch's way and ours to the gradients of input and weight."""
    backward = torch.ops.aten.convolution_backward
    layout, wanted = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1), [True, True, False]
    return lambda: backward(grad, x, weight, None, *layout, wanted), lambda: pointwise_gradients(x, weight, grad)


if __name__ == "__main__":
    main()
