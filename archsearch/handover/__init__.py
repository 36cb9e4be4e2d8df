"""What becomes of a study's findings: members of the front confirmed, handed over to other tools, and explained."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsearch.handover.confirm_record import confirmation_of
    from archsearch.handover.confirm_spec import ConfirmSpec
    from archsearch.handover.confirmation import Confirmation
    from archsearch.handover.confirming import ConfirmListener, confirm
    from archsearch.handover.explain_files import write_explanation
    from archsearch.handover.explain_spec import ExplainSpec, Explanation
    from archsearch.handover.explaining import explain
    from archsearch.handover.export_spec import Exported, ExportSpec
    from archsearch.handover.exporting import export
    from archsearch.handover.trained import weights_of
    from archsearch.handover.weights import Weights, load_weights, save_weights
    from archsearch.nn.onnx_export import OnnxFile, export_onnx

__all__ = [
    "ConfirmListener",
    "ConfirmSpec",
    "Confirmation",
    "ExplainSpec",
    "Explanation",
    "ExportSpec",
    "Exported",
    "OnnxFile",
    "Weights",
    "confirm",
    "confirmation_of",
    "explain",
    "export",
    "export_onnx",
    "load_weights",
    "save_weights",
    "weights_of",
    "write_explanation",
]

#: Modules of the exported names; imported on first use, so that importing this package stays cheap (PEP 562).
_MODULES = {
    "ConfirmListener": "archsearch.handover.confirming",
    "ConfirmSpec": "archsearch.handover.confirm_spec",
    "Confirmation": "archsearch.handover.confirmation",
    "ExplainSpec": "archsearch.handover.explain_spec",
    "Explanation": "archsearch.handover.explain_spec",
    "ExportSpec": "archsearch.handover.export_spec",
    "Exported": "archsearch.handover.export_spec",
    "OnnxFile": "archsearch.nn.onnx_export",
    "Weights": "archsearch.handover.weights",
    "confirm": "archsearch.handover.confirming",
    "confirmation_of": "archsearch.handover.confirm_record",
    "explain": "archsearch.handover.explaining",
    "export": "archsearch.handover.exporting",
    "export_onnx": "archsearch.nn.onnx_export",
    "load_weights": "archsearch.handover.weights",
    "save_weights": "archsearch.handover.weights",
    "weights_of": "archsearch.handover.trained",
    "write_explanation": "archsearch.handover.explain_files",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
