"""Samplers, which choose the architecture to evaluate next."""
