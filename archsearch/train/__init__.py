"""Training of proxies, for small networks at small resolutions, as fast as the device allows."""

from archsearch.train.steps import has_bfloat16
from archsearch.train.training import Training

__all__ = ["Training", "has_bfloat16"]
