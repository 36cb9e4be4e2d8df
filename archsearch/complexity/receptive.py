"""Receptive fields: how far a mixer reaches, and how far a stage sees.

Our mixers' reaches follow from their kernels and add up over a network; the tests hold gradients
against them. A user's mixer and a network from elsewhere are found out by following gradients.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import Reach
from archsearch.nn.mixers import build_mixer


def mixer_reach(mixer: Mixer, dim: int, side: int) -> Reach | None:
    """Rows and columns of the map that one output of a mixer depends on.

    Args:
        mixer: any mixer; one from a user's file is followed at this width and map.
        dim: channels.
        side: of the map, in positions.

    Returns:
        The reach, on a map without borders, its own position included. None where no gradient
        tells.
    """
    if mixer.type.reach:
        return mixer.reach
    return followed_reach(build_mixer(mixer, dim), dim, side)


def followed_reach(module: nn.Module, dim: int, side: int) -> Reach | None:
    """The reach of any module, whose weights are overwritten, from gradients.

    Those of the central output tell; where the border cuts them off, those of two corners as well.
    """
    x = torch.rand(1, dim, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_()
    try:
        with _EvenPooling():
            y = _made_visible(module, torch.float32)(x)
        middle, first, last = (_seen(y[0, :, at, at], x) for at in (side // 2, 0, side - 1))
    except RuntimeError:  # it does not hand gradients on
        return None
    if side > 1 and middle.all() and first.all() and last.all():
        return "image"
    for seen, at in ((middle, side // 2), (first, 0), (last, side - 1)):
        seen[at, at] = True  # the residual sees it in any case
    rows, columns = (_reach(*(seen.any(axis) for seen in (middle, first, last))) for axis in (1, 0))
    return rows, columns


def _reach(middle: Tensor, first: Tensor, last: Tensor) -> int:
    """Along one axis; where the border cuts the middle's, what the corners see, each to its side."""
    side, centre = len(middle), len(middle) // 2
    before, after = _span(last) - 1, _span(first) - 1
    moved = min(before, centre) + 1 + min(after, side - 1 - centre)  # as far, if it is the same everywhere
    return before + 1 + after if max(before, after) < side - 1 and _span(middle) == moved else _span(middle)


def mixer_reaches(arch: Arch) -> tuple[Reach | None, ...]:
    """The reach of each stage's mixer, at its width and map."""
    stages = enumerate(zip(arch.mixers, arch.dims, strict=True))
    return tuple(mixer_reach(mixer, dim, arch.side(stage)) for stage, (mixer, dim) in stages)


def stage_fields(arch: Arch, reaches: Sequence[Reach | None] | None = None) -> tuple[Reach | None, ...]:
    """Rows and columns of the image that an output of the stem and of each stage depends on.

    The theoretical field: it goes on beyond the border of a small image. None from the first
    mixer on whose reach is not known.

    Args:
        arch: the network.
        reaches: of ``mixer_reaches``, where they are known already.
    """
    step = arch.stem_patch_size
    rows = columns = step
    fields: list[Reach | None] = [(rows, columns)]
    for stage, (reach, depth) in enumerate(zip(reaches or mixer_reaches(arch), arch.depths, strict=True)):
        if stage:
            rows, columns, step = rows + step, columns + step, step * 2
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
        centres = _centres(output)
        if not centres or not output.requires_grad:  # no map, or a part that never sees the image
            continue
        if not whole:  # what runs later sees no less
            seen = min((_seen(centre, image) for centre in centres), key=torch.sum)
            if not seen.any():  # made of parameters alone: a table of positions, say
                continue
            fields[path] = (_span(seen.any(1)), _span(seen.any(0)))
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


def _centres(output: Tensor) -> list[Tensor]:
    """The channels in the middle of a map or of a row of tokens; both readings, where the shape fits either order."""
    if output.ndim == 3:
        return [output[0, output.shape[1] // 2]]
    if output.ndim != 4:
        return []
    _, a, b, c = output.shape
    first, last = output[0, :, b // 2, c // 2], output[0, a // 2, b // 2]
    return [first, last] if a == b == c else [last if a == b else first]


def _seen(output: Tensor, x: Tensor) -> Tensor:
    """Which positions of (1, C, H, W) some of the outputs depend on, as (H, W) of truth values."""
    weights = torch.rand(output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype)
    (gradient,) = torch.autograd.grad(output, x, weights, retain_graph=True, materialize_grads=True)
    return (gradient[0] != 0).any(0)


def _span(flags: Tensor) -> int:
    """From the first true flag to the last."""
    return int(flags.nonzero().max() - flags.nonzero().min()) + 1


def _made_visible(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Overwrites weights with small positive values, so that gradients neither cancel nor vanish.

    Deep networks need double precision. Layer scales and position embeddings become values of
    order 1, biases zero.
    """
    generator = torch.Generator().manual_seed(0)
    module = module.to(dtype).eval()
    for name, parameter in module.named_parameters():
        value = torch.rand(parameter.shape, generator=generator, dtype=dtype) + 0.5
        if parameter.ndim > 1:
            value *= 0.3 / value[0].numel()
        parameter.data = torch.zeros_like(value) if name.endswith("bias") else value
    return module
