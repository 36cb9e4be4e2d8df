"""Names of timm's ConvNeXt against ours."""

import torch

from archsearch.nn.timm_names import from_timm


def test_a_mixers_own_conv_dw_keeps_its_name():
    value = torch.zeros(1)
    ours = {"stages.0.blocks.0.token_mixer.conv_dw.weight": value}
    assert [*from_timm(ours, ours)] == [*ours]
    assert [*from_timm({"stages.0.blocks.0.conv_dw.conv_dw.weight": value}, ours)] == [*ours]
