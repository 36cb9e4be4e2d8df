"""Costs that are counted, not measured: parameters and multiply-adds."""

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
        params: trainable parameters.
        macs: multiply-adds of one image (one multiply-add is one, as the paper and fvcore count).
    """

    params: int
    macs: int


def count(model: nn.Module, img_size: int) -> Complexity:
    """Counts a network with fvcore, for one image of ``img_size`` pixels a side.

    The model stays on its device; its mode (training or evaluation) is put back.
    """
    return Complexity(count_params(model), int(analyse(model, one_image(model, img_size)).total()))


def count_activations(model: nn.Module, img_size: int) -> int:
    """Elements that convolutions and matrix products give out for one image (``macts`` in timm, in millions)."""
    return int(analyse_activations(model, one_image(model, img_size)).total())


def analyse_activations(model: nn.Module, x: Tensor) -> ActivationCountAnalysis:
    """What fvcore counts of the elements that one forward pass gives out, finished and silent."""
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
    """Trainable parameters; one that is shared counts once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def one_image(model: nn.Module, img_size: int) -> Tensor:
    """Zeros of (1, 3, S, S) where the model is."""
    return torch.zeros(1, 3, img_size, img_size, device=next(model.parameters()).device)


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """A model in evaluation mode and without gradients; afterwards every module is as it was.

    Parameters ask for no gradient either: torch's counter trips over those that modules are given.
    ``nn.MultiheadAttention`` runs as single operators: no counter sees into its fast path.
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
    """What fvcore counts of one forward pass in evaluation mode, finished and silent.

    Products inside fused attention, convolutions padded by a word, baddbmm and some forms of matmul,
    which fvcore leaves out or miscounts, are counted as it counts others.
    """
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with warnings.catch_warnings(), at_rest(model):
        warnings.simplefilter("ignore")
        analysis = FlopCountAnalysis(model, x).set_op_handle(**_AMENDED)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        analysis.total()
    return analysis


def _matmul_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Also of vectors, which fvcore trips over, and of batches on the right alone, which it counts once."""
    return prod(get_shape(outputs[0])) * int(get_shape(inputs[0])[-1])


def attention_macs(query: Sequence[int], key: Sequence[int], value: Sequence[int]) -> int:
    """Queries times keys, and their product times values, from their shapes; softmax counts nothing, as in fvcore.

    >>> attention_macs((1, 4, 10, 8), (1, 4, 10, 8), (1, 4, 10, 8)) == 2 * 4 * 8 * 10**2
    True
    """
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _attention_activations(inputs: list[Any], outputs: list[Any]) -> int:
    """Of both products, whether or not a fused kernel keeps the first to itself."""
    return prod(get_shape(inputs[0])[:-1]) * int(get_shape(inputs[1])[-2]) + prod(get_shape(outputs[0]))


def _same_conv_macs(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """A convolution whose padding is a word: ``same`` or ``valid``."""
    x, weight, out = get_shape(inputs[0]), get_shape(inputs[1]), get_shape(outputs[0])
    return Counter({"conv": conv_flop_count(x, weight, out)})


def _baddbmm_macs(inputs: list[Any], outputs: list[Any]) -> int:
    return int(bmm_flop_jit(inputs[1:3], outputs))


#: Operators that multiply and that fvcore leaves out or miscounts, counted as it counts their kin.
_AMENDED: dict[str, Callable[[list[Any], list[Any]], Any]] = {
    "aten::scaled_dot_product_attention": lambda inputs, outputs: attention_macs(*map(get_shape, inputs[:3])),
    "aten::_convolution_mode": _same_conv_macs,
    "aten::baddbmm": _baddbmm_macs,
    "aten::matmul": _matmul_macs,
}
