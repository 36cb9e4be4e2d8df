"""The deploy form of a network: the same function at inference, with less to compute.

A network is made and trained in its *train form*. At inference, norms with fixed statistics and scales are affine, so
that they fold into a convolution or linear layer beside them, and parallel convolutions merge. The walk is timm's
(``timm.models.reparameterize_model``): each module inside the network that has ``fuse()`` is replaced by what it
returns, each that has ``reparameterize()`` or ``switch_to_deploy()`` is changed by it. Our modules and users' mixers
follow the same protocol, so that timm's function gives this form of a network of ours, too.

What our modules do (``archsearch.nn.blocks``, ``metanext``, ``mixers``):

- batch norms fold into the stem's convolution, the 2 x 2 convolutions between stages, and the first layer of each MLP;
  in a MetaFormer block the norm before the mixer folds into self-attention alone, as depthwise convolutions pad (their
  borders would miss the norm's shift) and poolings have no weights; layer norms depend on the image and stay;
- layer scale folds into the second layer of each MLP; in a MetaFormer block that of the mixer folds into mixers all of
  whose channels come from a convolution or linear layer: not where channels pass through unchanged, nor into poolings;
- ``large_band`` merges its two kernels where one of long x long costs no more: up to long = 2 x short. The branches of
  ``inception`` and the groups of ``mixed_depthwise`` work on channels of their own: as one convolution with the largest
  kernel they would cost more. Bands in sequence stay, too: they would cost more, and the bias between them does not
  reach the padding. ``partial_depthwise``, ``depthwise`` and ``pooling`` are one operator.
"""

import copy

import torch
from torch import nn

from archsearch.errors import ArchError, in_one_line

#: Methods by which a module is changed for inference.
METHODS = ("fuse", "reparameterize", "switch_to_deploy")


def has_deploy_form(model: nn.Module) -> bool:
    """Whether some module inside a network says how it is changed for inference."""
    return any(hasattr(module, name) for module in model.modules() if module is not model for name in METHODS)


def deploy_form(model: nn.Module) -> nn.Module:
    """Return a network in its deploy form, in evaluation mode.

    Args:
        model: Network, ours or timm's, on any device and of any type; it is not changed.

    Returns:
        A changed copy. What was trainable stays so, and merged weights are: timm takes some weights beside branches for
        branches too, and freezes them.

    Raises:
        ArchError: A module fails at it.
    """
    from timm.utils.model import reparameterize_model

    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    try:
        with torch.no_grad():
            merged: nn.Module = reparameterize_model(copy.deepcopy(model).eval(), inplace=True)
    except Exception as error:  # whatever a user's mixer does
        raise ArchError(f"no deploy form of it, as a module fails to merge: {in_one_line(error)}") from error
    for name, weight in merged.named_parameters():
        weight.requires_grad_(name not in frozen)
    return merged.eval()
