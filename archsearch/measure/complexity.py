"""Costs that are counted, not measured: parameters and multiply-adds."""

import logging
import warnings
from dataclasses import dataclass

import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fvcore imports what torch has deprecated
    from fvcore.nn import FlopCountAnalysis


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
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    image = torch.zeros(1, 3, img_size, img_size, device=device)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        macs = _quiet(FlopCountAnalysis(model, image)).total()
    model.train(training)
    params = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Complexity(params=params, macs=int(macs))


def _quiet(analysis: FlopCountAnalysis) -> FlopCountAnalysis:
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
