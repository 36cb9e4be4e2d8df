"""Neural architecture ablation and search over MetaNeXt networks."""

__version__ = "0.1.0"
