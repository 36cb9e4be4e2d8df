"""What timing a step gave: raw blocks, and the figures that are read from them."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from archsearch.stats.intervals import median, median_interval, quartiles

#: Rounds of which an interval says little.
FEW = 5
#: Distance of the quartiles, as a share of the median, from which on a machine is not quiet.
SCATTERED = 0.1
#: What can be timed: a forward pass, the same at batch 1, and a training step.
KINDS = ("infer", "latency", "train")


@dataclass(frozen=True)
class Setting:
    """What a figure is named by, besides the network and the device.

    Attributes:
        kind: one of ``KINDS``.
        mode: as in ``archsearch.recipes.MODES``.
        layout: as in ``LAYOUTS`` there.
        precision: as in ``PRECISIONS`` there.
        batch_size: images per step.
        img_size: side of an image in pixels.
    """

    kind: str
    mode: str
    layout: str
    precision: str
    batch_size: int
    img_size: int


@dataclass(frozen=True)
class Timing:
    """One step of one network, timed.

    Attributes:
        setting: what was timed.
        blocks_s: seconds per step, a value per round; empty where it could not be timed.
        reference_s: seconds per step of the reference, timed right before or after each block, in the
            same mode and with the same batch; its own blocks where this is it; empty where there is none.
        steps_per_block: steps in each block.
        warmup_blocks: blocks before the first that counts.
        settled: whether the warm-up ended because blocks agreed, and not because it took too long.
        peak_memory_mb: MiB that one step needs, with weights, gradients and optimiser; None if unknown.
        energy_mj: millijoules per image, of the whole device; None where it cannot tell.
        best: whether this is the network's better layout.
        error: why it could not be timed, in one line.
        conditions: the machine during the rounds, as ``archsearch.benchmark.conditions`` tells it.
        recalled: whether it was kept from before; no part of the record.
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
        """Seconds per step: the median over rounds."""
        return median(self.blocks_s)

    @cached_property
    def quartiles_s(self) -> tuple[float, float]:
        """First and third quartile of the same."""
        return quartiles(self.blocks_s)

    @cached_property
    def interval_s(self) -> tuple[float, float]:
        """Bootstrap interval (95 %) of the same."""
        return median_interval(self.blocks_s)

    @property
    def scatter(self) -> float:
        """The distance of the quartiles as a share of the median."""
        first, third = self.quartiles_s
        return (third - first) / self.step_s

    @property
    def remarks(self) -> list[str]:
        """What speaks against the figure itself, in words; ``conditions`` has what disturbed all alike."""
        if self.error:
            return []
        remarks = [] if self.settled else ["not settled in its warm-up"]
        if len(self.blocks_s) < FEW:
            remarks.append(f"only {len(self.blocks_s)} rounds")
        return remarks + ([f"blocks scatter by {self.scatter:.0%}"] if self.scatter > SCATTERED else [])

    @property
    def throughput(self) -> float:
        """Images per second."""
        return self.setting.batch_size / self.step_s

    @property
    def throughput_interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        low, high = self.interval_s
        return self.setting.batch_size / high, self.setting.batch_size / low

    @cached_property
    def ratios(self) -> tuple[float, ...]:
        """Images per second over those of the reference, pair by pair; empty without a reference."""
        return tuple(reference / own for own, reference in zip(self.blocks_s, self.reference_s, strict=False))

    @cached_property
    def ratio(self) -> float | None:
        """The median of ``ratios``: above 1 is faster than the reference."""
        return median(self.ratios) if self.ratios else None

    @cached_property
    def ratio_interval(self) -> tuple[float, float] | None:
        """Its 95 % interval."""
        return median_interval(self.ratios) if self.ratios else None

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON-ready data; ``from_dict`` reads it."""
        return {name: value for name, value in asdict(self).items() if name != "recalled"}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Timing":
        """What ``to_dict`` gave, also after a way through JSON."""
        values = dict(data)
        values["setting"] = Setting(**data["setting"])
        for name in ("blocks_s", "reference_s"):
            values[name] = tuple(data[name])
        return cls(**values)

    def details(self) -> dict[str, Any]:
        """For the record of a trial: what was timed, the figures, and the blocks behind them."""
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
