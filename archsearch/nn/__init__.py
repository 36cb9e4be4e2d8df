"""From an ``Arch`` to a ``torch.nn.Module``."""

from archsearch.nn.metanext import MetaNeXt, build, init_fan_in
from archsearch.nn.mixers import MIXERS

__all__ = ["MIXERS", "MetaNeXt", "build", "init_fan_in"]
