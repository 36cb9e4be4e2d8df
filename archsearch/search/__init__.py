"""Studies: ask a sampler for candidates, record what becomes of them, resume where a run ended.

``run`` carries out a ``StudySpec`` and returns a ``StudyResult``. The storage is the one source of truth.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsearch.search.engines.runner import ProgressListener
    from archsearch.search.execute import Progress, run
    from archsearch.search.repeat_trial import repeat
    from archsearch.search.result import StudyResult
    from archsearch.search.spec import Engine, StudySpec

__all__ = ["Engine", "Progress", "ProgressListener", "StudyResult", "StudySpec", "repeat", "run"]

#: Modules of the exported names; imported on first use, as workers import parts of this package alone.
_MODULES = {
    "Engine": "spec",
    "Progress": "execute",
    "ProgressListener": "engines.runner",
    "StudyResult": "result",
    "StudySpec": "spec",
    "repeat": "repeat_trial",
    "run": "execute",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
