"""Architectures as plain data: mixers, networks by name, the tables of the paper."""

from archsearch.arch.architecture import Arch
from archsearch.arch.mixer import Mixer

__all__ = ["Arch", "Mixer"]
