"""Training of proxy networks: small networks at small resolutions, as fast as the device allows."""

from archsearch.train.training import Training

__all__ = ["Training"]
