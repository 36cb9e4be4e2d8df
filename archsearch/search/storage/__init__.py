"""Storages: where studies are kept. The one place, beside the samplers, that touches Optuna internals."""
