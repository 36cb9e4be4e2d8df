"""Ablations: a baseline and its variants, trained with the same seeds and compared pair by pair."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsearch.ablation.listener import AblationListener
    from archsearch.ablation.run_ablation import run
    from archsearch.ablation.spec import AblationRecord, AblationSpec

__all__ = ["AblationListener", "AblationRecord", "AblationSpec", "run"]

_HOMES = {"AblationListener": "listener", "AblationRecord": "spec", "AblationSpec": "spec", "run": "run_ablation"}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
