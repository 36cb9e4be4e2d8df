"""Receptive fields: how far a mixer reaches, and how far a stage sees.

Our mixers' reaches follow from their kernels and add up over a network; the tests hold gradients
against them. A user's mixer and a network from elsewhere are found out by following gradients.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from archsearch.arch import Arch
from archsearch.mixer import Mixer
from archsearch.nn.mixers import build_mixer

#: Rows and columns, in pixels of the image or positions of a map; or that all of it is seen.
Reach = tuple[int, int] | Literal["image"]


def _square(size: Any) -> Reach:
    return int(size), int(size)


def _inception(mixer: Mixer) -> Reach:
    kernels = [int(mixer[f"{name}_kernel_size"]) for name in ("square", "band")]
    square, band = (int(mixer["dilation"]) * (kernel - 1) + 1 for kernel in kernels)
    spans = {"square": (square, square), "horizontal": (1, band), "vertical": (band, 1)}
    present = [spans[name] for name in str(mixer["branches"]).split("+")]
    return max(rows for rows, _ in present), max(columns for _, columns in present)


#: How far each mixer of ours reaches, in positions of its map.
REACHES: dict[str, Callable[[Mixer], Reach]] = {
    "identity": lambda mixer: (1, 1),
    "pooling": lambda mixer: _square(mixer["pool_size"]),
    "depthwise": lambda mixer: _square(mixer["kernel_size"]),
    "inception": _inception,
    "partial_depthwise": lambda mixer: _square(mixer["kernel_size"]),
    "attention": lambda mixer: "image",
    "large_band": lambda mixer: _square(mixer["long_kernel_size"]),
    "mixed_depthwise": lambda mixer: _square(2 * int(mixer["num_kernels"]) + 1),
}


def mixer_reach(mixer: Mixer, dim: int, side: int) -> Reach | None:
    """Rows and columns of the map that one output of a mixer depends on.

    Args:
        mixer: any mixer; one from a user's file is followed at this width and map.
        dim: channels.
        side: of the map, in positions.

    Returns:
        The reach, on a map without borders; for a user's mixer at most the map, its own position
        included. None where no gradient tells.
    """
    known = REACHES.get(mixer.token_mixer)
    return known(mixer) if known else followed_reach(build_mixer(mixer, dim), dim, side)


def followed_reach(module: nn.Module, dim: int, side: int) -> Reach | None:
    """The same for any module, from gradients: of the central output, at borders of those in two corners."""
    x = torch.rand(1, dim, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_()
    try:
        y = _made_visible(module, torch.float32)(x)
        middle, first, last = (_seen(y[0, :, at, at], x) for at in (side // 2, 0, side - 1))
    except RuntimeError:  # it does not hand gradients on
        return None
    if side > 1 and middle.all() and first.all() and last.all():
        return "image"
    middle[side // 2, side // 2] = True  # the residual sees it in any case
    spans = []
    for axis in (1, 0):
        flags = middle.any(axis)
        reach = int(flags.nonzero().max() - flags.nonzero().min()) + 1
        if flags[0] or flags[-1]:  # perhaps cut off there: the corners see as far, each to its side
            reach = max(reach, _last(first.any(axis)) + _last(last.any(axis).flip(0)) - 1)
        spans.append(reach)
    return spans[0], spans[1]


def stage_fields(arch: Arch) -> tuple[Reach | None, ...]:
    """Rows and columns of the image that an output of the stem and of each stage depends on.

    The theoretical field: it goes on beyond the border of a small image. None from the first
    mixer on whose reach is not known.
    """
    step = arch.stem_patch_size
    rows = columns = step
    fields: list[Reach | None] = [(rows, columns)]
    for stage, (mixer, dim, depth) in enumerate(zip(arch.mixers, arch.dims, arch.depths, strict=True)):
        if stage:
            rows, columns, step = rows + step, columns + step, step * 2
        reach = mixer_reach(mixer, dim, arch.side(stage))
        if not isinstance(reach, tuple):
            rest = len(arch.depths) - stage
            return (*fields, *[reach] * rest)
        rows, columns = rows + depth * (reach[0] - 1) * step, columns + depth * (reach[1] - 1) * step
        fields.append((rows, columns))
    return tuple(fields)


def followed_fields(model: nn.Module, paths: Sequence[str], img_size: int) -> dict[str, Reach]:
    """What the central output of each module depends on, within one image.

    Args:
        model: any network; it stays as it is.
        paths: of modules in the order they run; maps of (C, H, W) or (H, W, C), or tokens (L, C).
            Modules with other outputs are left out.
        img_size: in pixels.
    """
    model = _made_visible(copy.deepcopy(model), torch.float64)
    image = torch.rand(1, 3, img_size, img_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    image.requires_grad_()
    try:
        outputs = _outputs(model, paths, image)
    except (RuntimeError, ValueError):  # constants of single precision, say
        return {}
    fields: dict[str, Reach] = {}
    whole = False
    for path, output in outputs.items():
        centre = _centre(output)
        if centre is None or not centre.requires_grad:  # no map, or a part that never sees the image
            continue
        if not whole:  # what runs later sees no less
            seen = _seen(centre, image)
            fields[path] = (int(seen.any(1).sum()), int(seen.any(0).sum()))
            whole = fields[path] == (img_size, img_size)
        if whole:
            fields[path] = "image"
    return fields


def _outputs(model: nn.Module, paths: Sequence[str], image: Tensor) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}
    hooks = []
    for path in paths:

        def keep(module: nn.Module, inputs: object, output: object, path: str = path) -> None:
            if isinstance(output, Tensor):
                outputs[path] = output

        hooks.append(model.get_submodule(path).register_forward_hook(keep))
    try:
        with _EvenPooling():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


class _EvenPooling(TorchFunctionMode):
    """Maximum pooling as average pooling: its gradient follows one position and forgets that it looked at all."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in (F.max_pool2d, torch.max_pool2d):
            return func(*args, **(kwargs or {}))
        return _average(*args, **(kwargs or {}))


def _average(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """``avg_pool2d`` called as ``max_pool2d`` is; the border may be padded with minus infinity."""
    return F.avg_pool2d(x.clamp(min=-1e3), kernel_size, stride, padding, ceil_mode)


def _centre(output: Tensor) -> Tensor | None:
    """The channels in the middle of a map or of a row of tokens."""
    if output.ndim == 4:
        maps = output.permute(0, 3, 1, 2) if output.shape[1] == output.shape[2] != output.shape[3] else output
        return maps[0, :, maps.shape[2] // 2, maps.shape[3] // 2]
    return output[0, output.shape[1] // 2] if output.ndim == 3 else None


def _seen(output: Tensor, x: Tensor) -> Tensor:
    """Which positions of (1, C, H, W) some of the outputs depend on, as (H, W) of truth values."""
    weights = torch.rand(output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype)
    (gradient,) = torch.autograd.grad(output, x, weights, retain_graph=True, materialize_grads=True)
    return (gradient[0] != 0).any(0)


def _last(flags: Tensor) -> int:
    """Index of the last true flag, counted from 1; at least 1."""
    return int(flags.nonzero().max()) + 1 if flags.any() else 1


def _made_visible(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Positive weights so small that no gradient dies, cancels or saturates on its way.

    Over many layers it takes double precision.

    Layer scales and position embeddings become values of order 1, biases zero.
    """
    generator = torch.Generator().manual_seed(0)
    module = module.to(dtype).eval()
    for name, parameter in module.named_parameters():
        value = torch.rand(parameter.shape, generator=generator, dtype=dtype) + 0.5
        if parameter.ndim > 1:
            value *= 0.3 / value[0].numel()
        parameter.data = torch.zeros_like(value) if name.endswith("bias") else value
    return module
