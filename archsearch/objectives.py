"""What a study can optimise: a table of objectives."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from archsearch.errors import OptionError, unknown


class Tier(IntEnum):
    """What knowing an objective costs; candidates are scored in this order."""

    COUNTED = 0  # counted from the architecture
    MEASURED = 1  # measured in seconds
    TRAINED = 2  # trained


@dataclass(frozen=True)
class Objective:
    """One quantity to optimise.

    Attributes:
        name: as given to ``--objective`` and recorded with every trial.
        direction: ``maximize`` or ``minimize``.
        unit: of the recorded value.
        tier: what it costs to know.
        subject: ``proxy`` or ``target``, the network it speaks of.
        short: for table heads, behind the subject.
        noun: what it is, without a unit.
        si: unit that takes prefixes (``4.2 GMACs``); ``%`` for fractions.
        scale: the recorded value times this is shown under ``label``.
        precision: digits after the point when shown.
    """

    name: str
    direction: Literal["maximize", "minimize"]
    unit: str
    tier: Tier
    subject: str
    short: str
    noun: str
    si: str
    scale: float = 1.0
    precision: int = 1

    @property
    def label(self) -> str:
        """For table heads: which network it speaks of, what it is, its unit."""
        return f"{self.subject} {self.short}"

    @property
    def title(self) -> str:
        """Which network it speaks of, and what it is."""
        return f"{self.subject} {self.noun}"

    @property
    def axis(self) -> str:
        """For axes, whose ticks carry percent signs and prefixes but no unit."""
        return self.title if self.si in ("%", self.noun, "params", "elements") else f"{self.title} ({self.si})"


# fmt: off
OBJECTIVES: dict[str, Objective] = {
    o.name: o
    for o in (
        Objective("accuracy", "maximize", "fraction", Tier.TRAINED, "proxy", "top-1 (%)", "top-1", "%", 100),
        Objective(
            "macs", "minimize", "multiply-adds per image", Tier.COUNTED, "target", "GMACs", "MACs", "MACs", 1e-9, 2
        ),
        Objective(
            "params", "minimize", "parameters", Tier.COUNTED, "target", "params (M)", "parameters", "params", 1e-6
        ),
        Objective(
            "activations", "minimize", "elements per image", Tier.COUNTED, "target", "activations (M)", "activations",
            "elements", 1e-6,
        ),
        Objective(
            "infer_throughput", "maximize", "images/s", Tier.MEASURED, "target", "infer (img/s)",
            "inference throughput", "img/s",
        ),
        Objective(
            "train_throughput", "maximize", "images/s", Tier.MEASURED, "target", "train (img/s)", "training throughput",
            "img/s",
        ),
        Objective(
            "latency_ms", "minimize", "ms", Tier.MEASURED, "target", "latency at batch 1 (ms)", "latency at batch 1",
            "ms",
        ),
        Objective(
            "peak_memory_mb", "minimize", "MiB of a training step", Tier.MEASURED, "target", "memory (MiB)",
            "memory of a training step", "MiB", 1, 0,
        ),
    )
}
# fmt: on

#: Short names for several objectives at once.
OBJECTIVE_SETS: dict[str, tuple[str, ...]] = {"pareto": ("accuracy", "macs", "infer_throughput")}


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """Objectives from ``pareto`` or a comma-separated list of names.

    Raises:
        OptionError: a name is unknown or given twice.

    >>> [o.name for o in parse_objectives("pareto")]
    ['accuracy', 'macs', 'infer_throughput']
    """
    names = OBJECTIVE_SETS.get(text) or tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in OBJECTIVES:
            raise OptionError(unknown("objective", name, [*OBJECTIVE_SETS, *OBJECTIVES]))
        if names.count(name) > 1:
            raise OptionError(f"objective {name!r} is given twice; name each once")
    return tuple(OBJECTIVES[name] for name in names)
