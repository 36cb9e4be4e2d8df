"""Timing of one step: raw block times, and the statistics computed from them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from archsearch.objectives import FromDevice, FromTime
from archsearch.stats.intervals import median, median_interval, quartiles, retimed_half_width

#: Fewer rounds than this give an unreliable interval.
FEW = 5
#: Interquartile range, as a share of the median, above which the machine was not quiet.
SCATTERED = 0.1
#: Fields of ``Timing`` that are no part of its record.
NOT_RECORDED = ("recalled", "fixed_s")
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
        form: Form of the network, of ``archsearch.recipes.FORMS``.
    """

    kind: str
    mode: str
    layout: str
    precision: str
    batch_size: int
    img_size: int
    form: str = "train"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready data; the form only where it is not the train form, as in older records."""
        return {name: value for name, value in asdict(self).items() if name != "form" or value != "train"}


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
        single_steps_s: Median and 95th percentile of the seconds of the single steps of all rounds, or of those of the
            last sitting, for ``latency``, whose steps wait for each other; None for other kinds, and in older records.
        device: Device of another machine that it was made on (``archsearch.benchmark.speeds``); None for this one's.
        runtime: Version, execution provider and number of threads of onnxruntime; None for torch's own modes.
        recalled: Whether the timing comes from the disk cache; not part of the record.
        fixed_s: Seconds per step of the reference by which a study turns relative throughputs into scores, from
            ``archsearch.benchmark.reference``; None outside of studies; not part of the record.
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
    single_steps_s: tuple[float, float] | None = None
    device: str | None = None
    runtime: dict[str, Any] | None = None
    recalled: bool = field(default=False, compare=False)
    fixed_s: float | None = field(default=None, compare=False)

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

    @property
    def score_s(self) -> float:
        """Seconds per step that a study's score is made of: those of the fixed reference over the relative throughput.

        A machine that is busy slows the network and the reference down alike. Without a reference: ``step_s``.
        """
        return self.step_s if self.fixed_s is None or self.ratio is None else self.fixed_s / self.ratio

    def score(self, how: FromTime | FromDevice) -> float | None:
        """Return the score of an objective; None where the device did not report it.

        Args:
            how: Where the objective's score comes from.
        """
        if isinstance(how, FromTime):
            return how.value(self.score_s, self.setting.batch_size)
        reported: float | None = getattr(self, how.field)
        return reported

    @property
    def half_width(self) -> float | None:
        """Half the width of the relative throughput's widened interval, as a share of it; None without one."""
        if self.ratio is None or self.ratio_interval is None:
            return None
        return retimed_half_width(self.ratio, self.ratio_interval)

    def known(self, within: float) -> bool:
        """Return whether the timing can be scored, kept and shared.

        Args:
            within: Limit of ``half_width``; where it is 0 or there is no reference, nothing may have disturbed the
                timing.
        """
        if self.half_width is None or not within:
            return not self.conditions.get("warnings")
        return self.half_width <= within

    def joined(self, earlier: "Timing") -> "Timing":
        """Return the timing with the rounds of an earlier one of the same step, which another minute disturbed.

        Args:
            earlier: Timing of the same network in the same setting.
        """
        if earlier.setting != self.setting or not (self.reference_s and earlier.reference_s):
            return self
        return replace(
            self, blocks_s=earlier.blocks_s + self.blocks_s, reference_s=earlier.reference_s + self.reference_s
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready data for ``from_dict``."""
        empty = tuple(name for name in ("single_steps_s", "device", "runtime") if not getattr(self, name))
        data = asdict(self) | {"setting": self.setting.to_dict()}
        return {name: value for name, value in data.items() if name not in (*NOT_RECORDED, *empty)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Timing":
        """Read what ``to_dict`` returned, also after a round trip through JSON."""
        values = dict(data)
        values["setting"] = Setting(**data["setting"])
        for name in ("blocks_s", "reference_s"):
            values[name] = tuple(data[name])
        if data.get("single_steps_s") is not None:
            values["single_steps_s"] = tuple(data["single_steps_s"])
        return cls(**values)

    def details(self) -> dict[str, Any]:
        """Return what goes into a trial's record: setting, statistics, and raw block times."""
        low_high = self.ratio_interval
        return {
            **self.setting.to_dict(),
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
            **({} if self.single_steps_s is None else {"single_steps_s": list(self.single_steps_s)}),
            **({} if self.device is None else {"device": self.device}),
            **({} if self.runtime is None else {"runtime": self.runtime}),
            **({} if self.fixed_s is None else {"fixed_reference_s": self.fixed_s}),
        }

    @classmethod
    def from_details(cls, details: Mapping[str, Any]) -> "Timing":
        """Read what ``details`` returned, as far as it is recorded there."""
        singles = details.get("single_steps_s")
        return cls(
            Setting(**{f.name: details[f.name] for f in fields(Setting) if f.name in details}),
            tuple(details["blocks_s"]),
            tuple(details["reference_s"]),
            details["steps_per_block"],
            settled=details["settled"],
            peak_memory_mb=details["peak_memory_mb"],
            conditions=details["conditions"],
            single_steps_s=None if singles is None else tuple(singles),
            device=details.get("device"),
            runtime=details.get("runtime"),
            best=True,
        )
