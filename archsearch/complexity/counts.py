"""Parameters, multiply-adds and activations, counted with fvcore."""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fvcore imports what torch has deprecated
    from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis
    from fvcore.nn.jit_handles import bmm_flop_jit, conv_flop_count, generic_activation_jit, get_shape


@dataclass(frozen=True)
class Complexity:
    """Counted costs of one network at one resolution.

    Attributes:
        params: Number of trainable parameters.
        macs: Multiply-adds for one image (a multiply-add counts once, as in the paper and in fvcore).
    """

    params: int
    macs: int


def count(model: nn.Module, img_size: int) -> Complexity:
    """Count parameters and multiply-adds for one image of ``img_size`` pixels a side.

    The model stays on its device; its mode (training or evaluation) is restored.
    """
    return Complexity(count_params(model), int(analyse(model, one_image(model, img_size)).total()))


def count_activations(model: nn.Module, img_size: int) -> int:
    """Count the output elements of convolutions and matrix products for one image (timm: ``macts``, in millions)."""
    return int(analyse_activations(model, one_image(model, img_size)).total())


def analyse_activations(model: nn.Module, x: Tensor) -> ActivationCountAnalysis:
    """Return fvcore's analysis of the activations of a forward pass, completed and without warnings."""
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with warnings.catch_warnings(), at_rest(model):
        warnings.simplefilter("ignore")
        analysis = ActivationCountAnalysis(model, x)
        analysis.set_op_handle(**{name: generic_activation_jit() for name in _AMENDED})
        analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_activations)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        analysis.total()
    return analysis


def count_params(model: nn.Module) -> int:
    """Count trainable parameters; a shared one counts once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def one_image(model: nn.Module, img_size: int) -> Tensor:
    """Return zeros of (1, 3, S, S) on the model's device."""
    return torch.zeros(1, 3, img_size, img_size, device=next(model.parameters()).device)


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode and without gradients; restore every module afterwards.

    Parameters require no gradient either, as torch's counter fails on those passed to modules.
    ``nn.MultiheadAttention`` runs as single operators, as counters do not see into its fast path.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    modes = [(module, module.training) for module in model.modules()]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval().requires_grad_(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, training in modes:
            module.training = training
        for parameter in learning:
            parameter.requires_grad_(True)


def analyse(model: nn.Module, x: Tensor) -> FlopCountAnalysis:
    """Return fvcore's analysis of the multiply-adds of a forward pass, completed and without warnings.

    Fused attention, convolutions with ``padding="same"``, baddbmm and some forms of matmul, which fvcore skips or
    miscounts, are counted like other products.
    """
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with warnings.catch_warnings(), at_rest(model):
        warnings.simplefilter("ignore")
        analysis = FlopCountAnalysis(model, x).set_op_handle(**_AMENDED)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        analysis.total()
    return analysis


def _matmul_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Count a matrix product, also of vectors, where fvcore fails, and of batches on the right alone."""
    return prod(get_shape(outputs[0])) * int(get_shape(inputs[0])[-1])


def attention_macs(query: Sequence[int], key: Sequence[int], value: Sequence[int]) -> int:
    """Count the two products of attention from the shapes; softmax counts nothing, as in fvcore.

    >>> attention_macs((1, 4, 10, 8), (1, 4, 10, 8), (1, 4, 10, 8)) == 2 * 4 * 8 * 10**2
    True
    """
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _attention_activations(inputs: list[Any], outputs: list[Any]) -> int:
    """Count the outputs of both products, also where a fused kernel does not return the first."""
    return prod(get_shape(inputs[0])[:-1]) * int(get_shape(inputs[1])[-2]) + prod(get_shape(outputs[0]))


def _same_conv_macs(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Count a convolution with ``padding="same"`` or ``"valid"``."""
    x, weight, out = get_shape(inputs[0]), get_shape(inputs[1]), get_shape(outputs[0])
    return Counter({"conv": conv_flop_count(x, weight, out)})


def _baddbmm_macs(inputs: list[Any], outputs: list[Any]) -> int:
    return int(bmm_flop_jit(inputs[1:3], outputs))


#: Counters of the operators that fvcore skips or miscounts.
_AMENDED: dict[str, Callable[[list[Any], list[Any]], Any]] = {
    "aten::scaled_dot_product_attention": lambda inputs, outputs: attention_macs(*map(get_shape, inputs[:3])),
    "aten::_convolution_mode": _same_conv_macs,
    "aten::baddbmm": _baddbmm_macs,
    "aten::matmul": _matmul_macs,
}
