"""Ablations: a baseline and its variants, trained with the same seeds and compared pair by pair."""
