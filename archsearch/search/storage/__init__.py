"""Storages of studies. Only this room and the samplers use internals of Optuna."""
