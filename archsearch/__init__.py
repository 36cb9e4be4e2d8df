"""Neural architecture ablation and search over MetaNeXt networks.

The names below are imported on first use, so that ``import archsearch`` loads neither PyTorch nor Optuna.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsearch.ablation.spec import AblationRecord, AblationSpec
    from archsearch.arch import Arch, Mixer
    from archsearch.arch.networks import network
    from archsearch.benchmark.spec import BenchmarkSpec
    from archsearch.fidelity.spec import FidelitySpec
    from archsearch.nn import build, build_features, load_mixers
    from archsearch.objectives import Objective
    from archsearch.recipes import BenchRecipe, ProxyRecipe
    from archsearch.report.view import StudyView, read_view
    from archsearch.search.result import StudyResult
    from archsearch.search.spec import Engine, StudySpec
    from archsearch.space.space import Axis, Space
    from archsearch.space.yaml import load_space
    from archsearch.trial import Evaluation, Trial

__version__ = "0.1.0"

__all__ = [
    "AblationRecord",
    "AblationSpec",
    "Arch",
    "Axis",
    "BenchRecipe",
    "BenchmarkSpec",
    "Engine",
    "Evaluation",
    "FidelitySpec",
    "Mixer",
    "Objective",
    "ProxyRecipe",
    "Space",
    "StudyResult",
    "StudySpec",
    "StudyView",
    "Trial",
    "__version__",
    "build",
    "build_features",
    "load_mixers",
    "load_space",
    "network",
    "read_view",
]

#: Modules of the exported names.
_MODULES = {
    "AblationRecord": "ablation.spec",
    "AblationSpec": "ablation.spec",
    "Arch": "arch",
    "Axis": "space.space",
    "BenchRecipe": "recipes",
    "BenchmarkSpec": "benchmark.spec",
    "Engine": "search.spec",
    "Evaluation": "trial",
    "FidelitySpec": "fidelity.spec",
    "Mixer": "arch",
    "Objective": "objectives",
    "ProxyRecipe": "recipes",
    "Space": "space.space",
    "StudyResult": "search.result",
    "StudySpec": "search.spec",
    "StudyView": "report.view",
    "Trial": "trial",
    "build": "nn",
    "build_features": "nn",
    "load_mixers": "nn",
    "load_space": "space.yaml",
    "network": "arch.networks",
    "read_view": "report.view",
}
#: Packages whose functions and classes are reached through them: ``archsearch.search.run``.
_PACKAGES = ("ablation", "benchmark", "fidelity", "handover", "search")


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"{__name__}.{name}")
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_PACKAGES})
