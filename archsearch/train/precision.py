"""Arithmetic of trainings: autocast to bfloat16, bfloat16 throughout, or float32 with or without TF32."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from archsearch.nn.device import has_bfloat16

#: Layers whose weights autocast converts at every use.
CONVERTED = (nn.Conv2d, nn.Linear)
#: Layers whose weights stay in float32.
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def autocasts(precision: str, device: torch.device) -> bool:
    """Whether a recipe's precision means autocast to bfloat16 on a device.

    Args:
        precision: One of ``archsearch.recipes.PROXY_PRECISIONS``.
        device: Device that computes.
    """
    return precision in ("amp_bf16", "bf16") and has_bfloat16(device)


def forward(model: nn.Module, images: Tensor, autocast: bool, weights: dict[str, Tensor] | None = None) -> Tensor:
    """Return the logits of normalised images, (N, classes) in float32.

    Args:
        model: Model on the device of the images.
        images: Images, (N, 3, S, S) in float32.
        autocast: Whether to compute in bfloat16 by autocast.
        weights: Values that replace parameters of the model, by name; None for its own.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    capturing = images.is_cuda and torch.cuda.is_current_stream_capturing()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast, cache_enabled=not capturing):
        logits: Tensor = functional_call(model, weights, (images,)) if weights else model(images)
    return logits.float()


class ShadowWeights:
    """bfloat16 copies of a model's weights, converted together once per step.

    Autocast converts every weight before its use, and its gradient after it, in a kernel each: half of all kernels of a
    small network. The copies hold the same rounded values, so that the same numbers come out.

    Attributes:
        copies: Copies by the parameter's name; ``forward`` takes them as ``weights``.
    """

    def __init__(self, model: nn.Module, precision: str) -> None:
        """Make the copies.

        Args:
            model: Model that trains, in float32.
            precision: ``amp_bf16`` to copy what autocast converts; ``bf16`` to copy all but the weights of norms, so
                that layer scale and residuals are computed in bfloat16 too.
        """
        self._weights = _shadowed(model, everything=precision == "bf16")
        self.copies = {name: weight.detach().bfloat16().requires_grad_() for name, weight in self._weights.items()}

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the present weights, and forget gradients of the copies that a failed capture may have left."""
        for copy in self.copies.values():
            copy.grad = None
        torch._foreach_copy_(list(self.copies.values()), list(self._weights.values()))

    @torch.no_grad()
    def collect(self) -> None:
        """Add the gradients of the copies to those of the weights."""
        first: list[tuple[Tensor, Tensor]] = []
        later: list[tuple[Tensor, Tensor]] = []
        for name, copy in self.copies.items():
            weight, added, copy.grad = self._weights[name], copy.grad, None
            if added is not None:
                into = first if weight.grad is None else later
                weight.grad = torch.empty_like(weight) if weight.grad is None else weight.grad
                into.append((weight.grad, added))
        for pairs, combine in ((first, torch._foreach_copy_), (later, torch._foreach_add_)):
            if pairs:
                combine([gradient for gradient, _ in pairs], [added for _, added in pairs])


def _shadowed(model: nn.Module, everything: bool) -> dict[str, nn.Parameter]:
    """Return the parameters to copy, by name."""
    found = {}
    for prefix, module in model.named_modules():
        if type(module) in CONVERTED or (everything and not isinstance(module, NORMS)):
            for name, parameter in module.named_parameters(recurse=False):
                found[f"{prefix}.{name}" if prefix else name] = parameter
    return found
