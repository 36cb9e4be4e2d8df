"""What becomes of a study's findings: members of the front confirmed, handed over to other tools, and explained."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsearch.handover.weights import Weights, load_weights, save_weights

__all__ = ["Weights", "load_weights", "save_weights"]

#: Modules of the exported names; imported on first use, so that importing this package stays cheap (PEP 562).
_MODULES = {"Weights": "weights", "load_weights": "weights", "save_weights": "weights"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
