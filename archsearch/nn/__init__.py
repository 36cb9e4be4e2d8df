"""From an ``Arch`` to a ``torch.nn.Module``."""

from archsearch.nn.metanext import MetaNeXt, build, init_fan_in
from archsearch.nn.mixers import MIXERS
from archsearch.nn.user_mixers import check_mixers, load_mixers
from archsearch.nn.zoo import build_network

__all__ = ["MIXERS", "MetaNeXt", "build", "build_network", "check_mixers", "init_fan_in", "load_mixers"]
