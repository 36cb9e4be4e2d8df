"""Counted costs of networks: parameters, multiply-adds, activations, receptive fields, zero-cost scores."""
