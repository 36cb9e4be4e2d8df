"""Timing of one step: raw block times, and the statistics computed from them."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from archsearch.stats.intervals import median, median_interval, quartiles

#: Fewer rounds than this give an unreliable interval.
FEW = 5
#: Interquartile range, as a share of the median, above which the machine was not quiet.
SCATTERED = 0.1
#: Kinds of step: a forward pass, a forward pass at batch 1, and a training step.
KINDS = ("infer", "latency", "train")


@dataclass(frozen=True)
class Setting:
    """Kind of step and conditions that a timing is valid for, besides the network and the device.

    Attributes:
        kind: Kind of step, of ``KINDS``.
        mode: Execution mode, of ``archsearch.recipes.MODES``.
        layout: Memory layout, of ``archsearch.recipes.LAYOUTS``.
        precision: Arithmetic, of ``archsearch.recipes.PRECISIONS``.
        batch_size: Images per step.
        img_size: Side of an image in pixels.
    """

    kind: str
    mode: str
    layout: str
    precision: str
    batch_size: int
    img_size: int


@dataclass(frozen=True)
class Timing:
    """Timing of one step of one network.

    Attributes:
        setting: Kind of step and conditions.
        blocks_s: Seconds per step, a value per round; empty where the step could not be timed.
        reference_s: Seconds per step of the reference, timed right before or after each block, in the same mode and
            with the same batch; the same as ``blocks_s`` for the reference itself; empty without a reference.
        steps_per_block: Number of steps in each block.
        warmup_blocks: Number of blocks of the warm-up.
        settled: Whether the warm-up ended because block times agreed, and not at its time limit.
        peak_memory_mb: Peak memory of one step in MiB, with weights, gradients and optimiser; None if unknown.
        energy_mj: Millijoules per image, of the whole device; None if unknown.
        best: Whether this is the network's faster layout.
        error: Why the step could not be timed, in one line.
        conditions: State of the machine during the rounds, from ``archsearch.benchmark.conditions``.
        recalled: Whether the timing comes from the disk cache; not part of the record.
    """

    setting: Setting
    blocks_s: tuple[float, ...] = ()
    reference_s: tuple[float, ...] = ()
    steps_per_block: int = 0
    warmup_blocks: int = 0
    settled: bool = False
    peak_memory_mb: float | None = None
    energy_mj: float | None = None
    best: bool = False
    error: str | None = None
    conditions: dict[str, Any] = field(default_factory=dict)
    recalled: bool = field(default=False, compare=False)

    @cached_property
    def step_s(self) -> float:
        """Median seconds per step over rounds."""
        return median(self.blocks_s)

    @cached_property
    def quartiles_s(self) -> tuple[float, float]:
        """First and third quartile of seconds per step."""
        return quartiles(self.blocks_s)

    @cached_property
    def interval_s(self) -> tuple[float, float]:
        """95 % bootstrap interval of the median seconds per step."""
        return median_interval(self.blocks_s)

    @property
    def scatter(self) -> float:
        """Interquartile range as a share of the median."""
        first, third = self.quartiles_s
        return (third - first) / self.step_s

    @property
    def remarks(self) -> list[str]:
        """Reasons to doubt this timing, in words; ``conditions`` has what disturbed all timings alike."""
        if self.error:
            return []
        remarks = [] if self.settled else ["not settled in its warm-up"]
        if len(self.blocks_s) < FEW:
            remarks.append(f"only {len(self.blocks_s)} rounds")
        return remarks + ([f"blocks scatter by {self.scatter:.0%}"] if self.scatter > SCATTERED else [])

    @property
    def throughput(self) -> float:
        """Throughput in images per second."""
        return self.setting.batch_size / self.step_s

    @property
    def throughput_interval(self) -> tuple[float, float]:
        """95 % interval of the throughput."""
        low, high = self.interval_s
        return self.setting.batch_size / high, self.setting.batch_size / low

    @cached_property
    def ratios(self) -> tuple[float, ...]:
        """Relative throughput in each round: images/s over those of the reference; empty without a reference."""
        return tuple(reference / own for own, reference in zip(self.blocks_s, self.reference_s, strict=False))

    @cached_property
    def ratio(self) -> float | None:
        """Relative throughput: the median of ``ratios``, above 1 if faster than the reference; None without one."""
        return median(self.ratios) if self.ratios else None

    @cached_property
    def ratio_interval(self) -> tuple[float, float] | None:
        """95 % interval of the relative throughput."""
        return median_interval(self.ratios) if self.ratios else None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready data for ``from_dict``."""
        return {name: value for name, value in asdict(self).items() if name != "recalled"}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Timing":
        """Read what ``to_dict`` returned, also after a round trip through JSON."""
        values = dict(data)
        values["setting"] = Setting(**data["setting"])
        for name in ("blocks_s", "reference_s"):
            values[name] = tuple(data[name])
        return cls(**values)

    def details(self) -> dict[str, Any]:
        """Return what goes into a trial's record: setting, statistics, and raw block times."""
        low_high = self.ratio_interval
        return {
            **asdict(self.setting),
            "step_s": self.step_s,
            "throughput": self.throughput,
            "throughput_interval": list(self.throughput_interval),
            "interval_s": list(self.interval_s),
            "quartiles_s": list(self.quartiles_s),
            "ratio": self.ratio,
            "ratio_interval": None if low_high is None else list(low_high),
            "blocks_s": list(self.blocks_s),
            "reference_s": list(self.reference_s),
            "steps_per_block": self.steps_per_block,
            "settled": self.settled,
            "peak_memory_mb": self.peak_memory_mb,
            "conditions": self.conditions,
        }
