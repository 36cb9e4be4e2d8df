"""Ablations: a baseline and its variants, trained with the same seeds and compared pair by pair.

``run`` carries out an ``AblationSpec`` and returns an ``AblationRecord``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsearch.ablation.execute import run
    from archsearch.ablation.listener import AblationListener
    from archsearch.ablation.spec import AblationRecord, AblationSpec

__all__ = ["AblationListener", "AblationRecord", "AblationSpec", "run"]

#: Modules of the exported names; imported on first use, so that importing this package stays cheap (PEP 562).
_MODULES = {"AblationListener": "listener", "AblationRecord": "spec", "AblationSpec": "spec", "run": "execute"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
