"""Weight gradient of depthwise convolutions on a CPU: torch's own against ``archsearch.train.kernels``.

    python benchmarks/depthwise_gradient.py [--batch-size 64] [--rounds 15] [--precision fp32]

Both sides take turns; times in ms are medians over rounds, the ratio is the median of the rounds' ratios. The last
column says which of them a training uses.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from archsearch.train.kernels import is_slow, weight_gradient

MAPS = ((24, 16), (48, 8), (96, 4), (192, 2), (3, 16), (12, 4))
KERNELS = ((3, 3), (5, 5), (7, 7), (1, 11), (11, 1), (11, 11))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {args.batch_size}, {args.precision}")
    print("| channels | map | kernel | torch (ms) | here (ms) | ratio | used |\n|" + " ---: |" * 6 + " --- |")
    for channels, size in MAPS:
        for kernel in KERNELS:
            row(channels, size, kernel, args)


def row(channels: int, size: int, kernel: tuple[int, int], args: argparse.Namespace) -> None:
    padding = (kernel[0] // 2, kernel[1] // 2)
    kind = torch.bfloat16 if args.precision == "bf16" else torch.float32
    x, grad = (
        torch.randn(args.batch_size, channels, size, size).to(kind).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    weight = torch.randn(channels, 1, *kernel).to(kind)

    def own() -> Tensor:
        only = [False, True, False]
        backward = torch.ops.aten.convolution_backward
        return backward(grad, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], channels, only)[1]

    def here() -> Tensor:
        return weight_gradient(x, grad, padding, (1, 1))

    a, b, ratio = compared(own, here, args.rounds)
    used = "here" if is_slow(kernel, (size, size), args.precision == "bf16") else "torch"
    print(f"| {channels} | {size} | {kernel[0]} x {kernel[1]} | {a:.2f} | {b:.2f} | {ratio:.1f} | {used} |", flush=True)


def compared(one: Callable[[], object], other: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Medians of both in ms, in turns after two rounds of warm-up, and the median of the rounds' ratios."""
    times = [(clocked(one), clocked(other)) for _ in range(rounds + 2)][2:]
    a, b = (statistics.median(side) for side in zip(*times, strict=True))
    return a, b, statistics.median(first / second for first, second in times)


def clocked(work: Callable[[], object], times: int = 4) -> float:
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times * 1e3


if __name__ == "__main__":
    main()
