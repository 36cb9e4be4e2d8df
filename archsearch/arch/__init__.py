"""Architectures as plain data: token mixers, named networks, the paper's tables."""

from archsearch.arch.architecture import Arch
from archsearch.arch.mixer import Mixer

__all__ = ["Arch", "Mixer"]
