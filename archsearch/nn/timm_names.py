"""Names of parameters and buffers: ours, and those of timm's ``MetaNeXt`` and ``ConvNeXt``.

Most names are the same. timm's ConvNeXt calls the token mixer ``conv_dw``, and its MLPs may be linear layers, whose
matrices have another shape than our 1 x 1 convolutions.
"""

from collections.abc import Mapping

from torch import Tensor

OURS, TIMMS = ".token_mixer.", ".conv_dw."


def from_timm(state: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state of timm's ``MetaNeXt`` or ``ConvNeXt`` with our names and shapes.

    Args:
        state: Parameters, buffers or gradients by timm's names.
        like: State of our network, for its names and shapes; a name that it has, as a mixer's own ``conv_dw``, stays.
    """
    renamed = {name if name in like else name.replace(TIMMS, OURS, 1): value for name, value in state.items()}
    return {name: _shaped(name, value, like) for name, value in renamed.items()}


def to_timms_convnext(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state of our network with the names of timm's ``ConvNeXt``, whose MLPs are 1 x 1 convolutions.

    >>> import torch
    >>> list(to_timms_convnext({"stages.0.blocks.0.token_mixer.weight": torch.zeros(1)}))
    ['stages.0.blocks.0.conv_dw.weight']
    """
    return {name.replace(OURS, TIMMS): value for name, value in state.items()}


def _shaped(name: str, value: Tensor, like: Mapping[str, Tensor]) -> Tensor:
    """Make a linear layer's matrix the kernel of a 1 x 1 convolution."""
    is_matrix = ".mlp.fc" in name and name in like and value.numel() == like[name].numel()
    return value.reshape(like[name].shape) if is_matrix else value
