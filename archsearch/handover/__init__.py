"""What becomes of a study's findings: members of the front confirmed, handed over to other tools, and explained."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsearch.handover.weights import Weights, load_weights, save_weights
    from archsearch.nn.onnx_export import OnnxFile, export_onnx

__all__ = ["OnnxFile", "Weights", "export_onnx", "load_weights", "save_weights"]

#: Modules of the exported names; imported on first use, so that importing this package stays cheap (PEP 562).
_MODULES = {
    "OnnxFile": "archsearch.nn.onnx_export",
    "Weights": "archsearch.handover.weights",
    "export_onnx": "archsearch.nn.onnx_export",
    "load_weights": "archsearch.handover.weights",
    "save_weights": "archsearch.handover.weights",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
