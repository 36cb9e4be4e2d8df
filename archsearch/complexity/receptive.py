"""Receptive fields of mixers, of stages, and of the modules of any network.

Those of built-in mixers follow from their kernels and add up over a network; tests compare them with gradients. Those
of users' mixers and of timm's networks are read from gradients.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import ReceptiveField
from archsearch.nn.mixers import build_mixer


def mixer_field(mixer: Mixer, dim: int, side: int) -> ReceptiveField | None:
    """Return the rows and columns of the map that one output of a mixer depends on.

    Args:
        mixer: Built-in mixer or a user's; gradients tell the latter's at this width and map.
        dim: Number of channels.
        side: Side of the map, in positions.

    Returns:
        The receptive field on a map without borders, with the output's own position; None where gradients do not pass.
    """
    if mixer.type.receptive_field:
        return mixer.receptive_field
    return traced_field(build_mixer(mixer, dim), dim, side)


def traced_field(module: nn.Module, dim: int, side: int) -> ReceptiveField | None:
    """Return the receptive field of a module from gradients. The module's weights are overwritten.

    The gradient of the central output tells it; where the border cuts that off, two corners tell as well.
    """
    x = torch.rand(1, dim, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_()
    try:
        with _EvenPooling():
            y = _made_visible(module, torch.float32)(x)
        middle, first, last = (_seen(y[0, :, at, at], x) for at in (side // 2, 0, side - 1))
    except RuntimeError:  # it does not pass gradients on
        return None
    if side > 1 and middle.all() and first.all() and last.all():
        return "image"
    for seen, at in ((middle, side // 2), (first, 0), (last, side - 1)):
        seen[at, at] = True  # the residual depends on it in any case
    rows, columns = (_extent(*(seen.any(axis) for seen in (middle, first, last))) for axis in (1, 0))
    return rows, columns


def _extent(middle: Tensor, first: Tensor, last: Tensor) -> int:
    """Return the field along one axis; where the border cuts the middle's, from the corners, each to its side."""
    side, centre = len(middle), len(middle) // 2
    before, after = _span(last) - 1, _span(first) - 1
    moved = min(before, centre) + 1 + min(after, side - 1 - centre)  # the same extent, if it is equal everywhere
    return before + 1 + after if max(before, after) < side - 1 and _span(middle) == moved else _span(middle)


def mixer_fields(arch: Arch) -> tuple[ReceptiveField | None, ...]:
    """Return the receptive field of each stage's mixer on its map."""
    stages = enumerate(zip(arch.mixers, arch.dims, strict=True))
    return tuple(mixer_field(mixer, dim, arch.side(stage)) for stage, (mixer, dim) in stages)


def stage_fields(
    arch: Arch, of_mixers: Sequence[ReceptiveField | None] | None = None
) -> tuple[ReceptiveField | None, ...]:
    """Return the rows and columns of the image that an output of the stem and of each stage depends on.

    These are theoretical fields, which go on beyond the border of a small image. They are None from the first mixer on
    whose field is not known.

    Args:
        arch: Architecture of the network.
        of_mixers: Result of ``mixer_fields``, where it is known already.
    """
    step = arch.stem_patch_size
    rows = columns = step
    fields: list[ReceptiveField | None] = [(rows, columns)]
    for stage, (field, depth) in enumerate(zip(of_mixers or mixer_fields(arch), arch.depths, strict=True)):
        if stage:
            rows, columns, step = rows + step, columns + step, step * 2
        if not isinstance(field, tuple):
            rest = len(arch.depths) - stage
            return (*fields, *[field] * rest)
        rows, columns = rows + depth * (field[0] - 1) * step, columns + depth * (field[1] - 1) * step
        fields.append((rows, columns))
    return tuple(fields)


def traced_fields(model: nn.Module, paths: Sequence[str], img_size: int) -> dict[str, ReceptiveField]:
    """Return the receptive field of the central output of each module within one image, from gradients.

    Args:
        model: Any network; it is not changed.
        paths: Paths of modules in the order in which they run. Their outputs are maps of (C, H, W) or (H, W, C), or
            tokens of (L, C); modules with other outputs are left out.
        img_size: Side of the image, in pixels.
    """
    model = _made_visible(copy.deepcopy(model), torch.float64)
    image = torch.rand(1, 3, img_size, img_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    image.requires_grad_()
    try:
        with _EvenPooling():
            outputs = outputs_of(model, paths, image)
    except (RuntimeError, ValueError):  # constants of single precision, for example
        return {}
    return dict(_fields(outputs, image))


def _fields(outputs: Mapping[str, Tensor], image: Tensor) -> Iterator[tuple[str, ReceptiveField]]:
    """Yield the fields of modules' outputs, in the order in which the modules run."""
    side, whole = image.shape[-1], False
    for path, output in outputs.items():
        centres = _centres(output)
        if not centres or not output.requires_grad:  # no map, or it does not depend on the image
            continue
        if not whole:  # later modules depend on no less
            seen = min((_seen(centre, image) for centre in centres), key=torch.sum)
            if not seen.any():  # computed from parameters alone: position embeddings, for example
                continue
            field = _span(seen.any(1)), _span(seen.any(0))
            whole = field == (side, side)
        yield path, "image" if whole else field


def outputs_of(model: nn.Module, paths: Sequence[str], images: Tensor) -> dict[str, Tensor]:
    """Return the outputs of modules by path, in the order in which they run; those that are no tensor are left out."""
    outputs: dict[str, Tensor] = {}
    hooks = []
    for path in paths:

        def keep(module: nn.Module, inputs: object, output: object, path: str = path) -> None:
            if isinstance(output, Tensor):
                outputs[path] = output

        hooks.append(model.get_submodule(path).register_forward_hook(keep))
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


class _EvenPooling(TorchFunctionMode):
    """Mode that replaces maximum pooling by average pooling, as the gradient of a maximum reaches one position only."""

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
    """Apply ``avg_pool2d`` with the arguments of ``max_pool2d``; the border may be padded with minus infinity."""
    return F.avg_pool2d(x.clamp(min=-1e3), kernel_size, stride, padding, ceil_mode)


def _centres(output: Tensor) -> list[Tensor]:
    """Return the channels in the middle of a map or of the tokens, for both orders of axes where either fits."""
    if output.ndim == 3:
        return [output[0, output.shape[1] // 2]]
    if output.ndim != 4:
        return []
    _, a, b, c = output.shape
    first, last = output[0, :, b // 2, c // 2], output[0, a // 2, b // 2]
    return [first, last] if a == b == c else [last if a == b else first]


def _seen(output: Tensor, x: Tensor) -> Tensor:
    """Return the positions of (1, C, H, W) that some of the outputs depend on, as booleans of (H, W)."""
    weights = torch.rand(output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype)
    (gradient,) = torch.autograd.grad(output, x, weights, retain_graph=True, materialize_grads=True)
    return (gradient[0] != 0).any(0)


def _span(flags: Tensor) -> int:
    """Return the distance from the first true flag to the last, both included."""
    return int(flags.nonzero().max() - flags.nonzero().min()) + 1


def _made_visible(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Overwrite weights with small positive values, so that gradients neither cancel nor vanish.

    Deep networks need double precision. Layer scales and position embeddings become values of
    order 1, biases become 0.
    """
    generator = torch.Generator().manual_seed(0)
    module = module.to(dtype).eval()
    for name, parameter in module.named_parameters():
        value = torch.rand(parameter.shape, generator=generator, dtype=dtype) + 0.5
        if parameter.ndim > 1:
            value *= 0.3 / value[0].numel()
        parameter.data = torch.zeros_like(value) if name.endswith("bias") else value
    return module
