"""Fidelity of proxy networks: how well short trainings rank architectures, judged by long ones.

``run(load_plan("inception_dw_drawn"))`` trains the architectures of a plan and returns a table of records, which
``FidelityReport.of`` turns into rank correlations and verdicts.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsearch.fidelity.execute import (
        FidelityEvent,
        FidelityProgress,
        PlanStarted,
        TrainingDone,
        TrainingsStarted,
        run,
    )
    from archsearch.fidelity.plan import Plan, Schedule
    from archsearch.fidelity.spec import FidelitySpec
    from archsearch.fidelity.training_records import read_records
    from archsearch.fidelity.verdicts import FidelityReport
    from archsearch.fidelity.yaml import load_plan

_MODULES = {
    "FidelityEvent": "execute",
    "FidelityProgress": "execute",
    "FidelityReport": "verdicts",
    "FidelitySpec": "spec",
    "Plan": "plan",
    "PlanStarted": "execute",
    "Schedule": "plan",
    "TrainingDone": "execute",
    "TrainingsStarted": "execute",
    "load_plan": "yaml",
    "read_records": "training_records",
    "run": "execute",
}

__all__ = [
    "FidelityEvent",
    "FidelityProgress",
    "FidelityReport",
    "FidelitySpec",
    "Plan",
    "PlanStarted",
    "Schedule",
    "TrainingDone",
    "TrainingsStarted",
    "load_plan",
    "read_records",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing this package stays cheap (PEP 562)."""
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
