"""Receptive fields: how far a mixer reaches, how far a stage sees, found by following gradients.

A mixer is asked by itself, at the size of its map, and the reaches of a network's parts add up
exactly. A network from elsewhere is followed as a whole.
"""

import copy
from collections.abc import Sequence
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


def mixer_reach(mixer: Mixer, dim: int, side: int) -> Reach:
    """Rows and columns of the map that one output of a mixer depends on.

    The central output is followed back. Where it sees as far as the border, two opposite corners
    are: a kernel wider than the map, of which no output sees less than all of it, is told from
    one that just fits.

    Args:
        mixer: any mixer, also a user's.
        dim: channels.
        side: of the map, in positions.
    """
    module = _made_visible(build_mixer(mixer, dim))
    x = torch.rand(1, dim, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x.requires_grad_()
    y = module(x)
    seen = _seen(y[0, :, side // 2, side // 2], x)
    if not (seen[0].any() or seen[-1].any() or seen[:, 0].any() or seen[:, -1].any()):
        return _span(seen.any(1)), _span(seen.any(0))
    (down, right), (up, left) = (_extent(y, x, corner) for corner in (0, side - 1))
    if side > 1 and min(down, right, up, left) == side:
        return "image"
    return down + up - 1, right + left - 1


def _extent(y: Tensor, x: Tensor, corner: int) -> tuple[int, int]:
    """Rows and columns, counted from a corner, that the output in this corner depends on."""
    seen = _seen(y[0, :, corner, corner], x)
    if corner:
        seen = seen.flip(0, 1)
    return _last(seen.any(1)), _last(seen.any(0))


def stage_fields(arch: Arch) -> tuple[Reach, ...]:
    """Rows and columns of the image that an output of the stem and of each stage depends on.

    The theoretical field: it goes on beyond the border of a small image.
    """
    step = arch.stem_patch_size
    rows = columns = step
    whole = False
    fields: list[Reach] = [(rows, columns)]
    for stage, (mixer, dim, depth) in enumerate(zip(arch.mixers, arch.dims, arch.depths, strict=True)):
        if stage:
            rows, columns, step = rows + step, columns + step, step * 2
        reach = mixer_reach(mixer, dim, arch.side(stage))
        whole = whole or reach == "image"
        if reach != "image":
            rows, columns = rows + depth * (reach[0] - 1) * step, columns + depth * (reach[1] - 1) * step
        fields.append("image" if whole else (rows, columns))
    return tuple(fields)


def followed_fields(model: nn.Module, paths: Sequence[str], img_size: int) -> dict[str, Reach]:
    """What the central output of each module depends on, within one image.

    Args:
        model: any network; it stays as it is.
        paths: of modules in the order they run; maps of (C, H, W) or (H, W, C), or tokens (L, C).
            Modules with other outputs are left out.
        img_size: in pixels.
    """
    model = _made_visible(copy.deepcopy(model))
    image = torch.rand(1, 3, img_size, img_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    image.requires_grad_()
    outputs = _outputs(model, paths, image)
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


def _span(flags: Tensor) -> int:
    """How many flags lie between the first and the last true one, both included; at least 1."""
    places = flags.nonzero()
    return int(places.max() - places.min()) + 1 if len(places) else 1


def _made_visible(module: nn.Module) -> nn.Module:
    """Double precision, and positive weights so small that no gradient dies, cancels or saturates on its way.

    Layer scales and position embeddings become values of order 1, biases zero.
    """
    generator = torch.Generator().manual_seed(0)
    module = module.double().eval()
    for name, parameter in module.named_parameters():
        value = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.5
        if parameter.ndim > 1:
            value *= 0.3 / value[0].numel()
        parameter.data = torch.zeros_like(value) if name.endswith("bias") else value
    return module
