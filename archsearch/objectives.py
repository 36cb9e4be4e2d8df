"""Table of the objectives that a study can optimise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal

from archsearch.errors import OptionError, unknown


class Tier(IntEnum):
    """Cost of knowing an objective; candidates are scored in this order."""

    COUNTED = 0  # counted from the architecture
    MEASURED = 1  # timed on a device, in seconds
    TRAINED = 2  # read from a trained proxy network


@dataclass(frozen=True)
class FromTime:
    """A score computed from the time of a step; it has a confidence interval and a ratio to the reference.

    Attributes:
        step: Kind of step that is timed: ``infer``, ``latency`` (at batch 1) or ``train``.
        value: Function of the seconds per step and the images per step that returns the score.
    """

    step: str
    value: Callable[[float, int], float]


@dataclass(frozen=True)
class FromDevice:
    """A score that the device reports beside the time of a step; it has no interval and no ratio.

    Attributes:
        step: Kind of step that is run: ``infer``, ``latency`` (at batch 1) or ``train``.
        field: Field of ``archsearch.benchmark.timing.Timing`` that holds the score.
        source: Part of a GPU that reports it, for messages.
    """

    step: str
    field: str
    source: str


@dataclass(frozen=True)
class Objective:
    """One quantity to optimise: a row of ``OBJECTIVES``.

    Attributes:
        name: Name for ``--objective`` and in the record of every trial.
        direction: ``maximize`` or ``minimize``.
        unit: Unit of the recorded value.
        tier: Cost of knowing it.
        subject: Network that it describes, ``proxy`` or ``target``.
        short: Name with the displayed unit, for table heads.
        noun: Name without a unit.
        si: Unit for display, with prefixes where ``ticks`` has them (``4.2 GMACs``); ``%`` for fractions.
        scale: Factor from the recorded value to the one displayed under ``label``.
        precision: Digits after the decimal point in tables.
        ticks: d3 format of tick labels: ``%`` for a share, ``s`` with prefixes (k, M, G), ``g`` without.
        measured: Source of a measured score; None for the other tiers.
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
    ticks: str = ".3~s"
    measured: FromTime | FromDevice | None = None

    @property
    def label(self) -> str:
        """Subject, name and displayed unit, for table heads."""
        return f"{self.subject} {self.short}"

    @property
    def title(self) -> str:
        """Subject and name, without a unit."""
        return f"{self.subject} {self.noun}"

    @property
    def axis(self) -> str:
        """Title of an axis; counts and shares need no unit beside their ticks."""
        return f"{self.title} ({self.si})" if self.tier is Tier.MEASURED else self.title

    def in_form(self, form: str) -> "Objective":
        """Return the objective under names that say which form of the target it is measured in.

        Args:
            form: Form at inference, of ``archsearch.recipes.FORMS``; nothing is said of the train form, of training
                steps and of counts, which are its own.

        >>> OBJECTIVES["latency_ms"].in_form("deploy").title
        'target latency at batch 1 of the deploy form'
        """
        if form == "train" or self.measured is None or self.measured.step == "train":
            return self
        return replace(self, short=f"{self.short}, {form} form", noun=f"{self.noun} of the {form} form")

    def on(self, device: str | None) -> "Objective":
        """Return the objective under names that say which other machine's device measured it.

        Args:
            device: Name of the device; None for that of the study. Nothing is said of what is not measured.

        >>> OBJECTIVES["latency_ms"].on("Toy Board").label
        'target latency at batch 1 (ms on Toy Board)'
        """
        if device is None or self.tier is not Tier.MEASURED:
            return self
        return replace(self, short=f"{self.short.removesuffix(')')} on {device})", noun=f"{self.noun} on {device}")

    def interval(self, seconds: Sequence[float], images: int) -> tuple[float, float] | None:
        """Convert an interval of the time per step to one of the score; None where the score is not one of time.

        Args:
            seconds: Lower and upper end in seconds per step.
            images: Images per step.

        >>> OBJECTIVES["infer_throughput"].interval((0.5, 2.0), 8)
        (4.0, 16.0)
        """
        if not isinstance(self.measured, FromTime):
            return None
        low, high = sorted(self.measured.value(end, images) for end in seconds)
        return low, high


def images_per_second(seconds: float, images: int) -> float:
    """Return the throughput of a step."""
    return images / seconds


def milliseconds(seconds: float, images: int) -> float:
    """Return the latency of a step."""
    return seconds * 1e3


# fmt: off
OBJECTIVES: dict[str, Objective] = {
    o.name: o
    for o in (
        Objective(
            "accuracy", "maximize", "fraction", Tier.TRAINED, "proxy", "top-1 (%)", "top-1", "%", 100, ticks=".1~%"
        ),
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
            "inference throughput", "img/s", measured=FromTime("infer", images_per_second),
        ),
        Objective(
            "train_throughput", "maximize", "images/s", Tier.MEASURED, "target", "train (img/s)", "training throughput",
            "img/s", measured=FromTime("train", images_per_second),
        ),
        Objective(
            "latency_ms", "minimize", "ms", Tier.MEASURED, "target", "latency at batch 1 (ms)", "latency at batch 1",
            "ms", ticks=".3~g", measured=FromTime("latency", milliseconds),
        ),
        Objective(
            "peak_memory_mb", "minimize", "MiB of a training step", Tier.MEASURED, "target", "memory (MiB)",
            "memory of a training step", "MiB", 1, 0, ticks=".4~g",
            measured=FromDevice("train", "peak_memory_mb", "a GPU's allocator"),
        ),
        Objective(
            "energy_mj", "minimize", "mJ per image", Tier.MEASURED, "target", "energy (mJ/img)", "energy of inference",
            "mJ/img", ticks=".3~g", measured=FromDevice("infer", "energy_mj", "the energy counter of an NVIDIA GPU"),
        ),
    )
}
# fmt: on

#: Short names for several objectives at once.
OBJECTIVE_SETS: dict[str, tuple[str, ...]] = {"pareto": ("accuracy", "macs", "infer_throughput")}


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """Parse ``pareto`` or a comma-separated list of names.

    Raises:
        OptionError: A name is unknown or given twice.

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
