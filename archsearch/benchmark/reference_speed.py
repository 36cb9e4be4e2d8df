"""The fixed speed of the reference, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from archsearch.stats.intervals import median

#: Facts of ``archsearch.nn.device.environment`` that a timing depends on besides network and recipe.
DEVICE_FACTS = ("host", "device_name", "torch", "timm", "cuda", "cudnn", "threads")
#: Quantile of the times of the reference's blocks that is taken where all timings were disturbed.
FAST = 0.25


@dataclass(frozen=True)
class ReferenceSpeed:
    """The reference's time for one kind of step, and where it comes from.

    Attributes:
        step_s: Seconds per step.
        blocks: Number of blocks that it comes from.
        disturbed: Whether other programs disturbed all of them, so that it is the fast quarter's and not the median.
        facts: Device, host and versions, as ``DEVICE_FACTS`` names them.
        origin: Where it was found, in words.
        taken: Date and time in UTC, ISO 8601.
    """

    step_s: float
    blocks: int
    disturbed: bool
    facts: Mapping[str, Any]
    origin: str
    taken: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data for ``from_dict``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ReferenceSpeed":
        """Read what ``to_dict`` returned.

        Raises:
            TypeError: It is no such data.
        """
        return cls(**data)

    @classmethod
    def of(
        cls, quiet: Sequence[float], disturbed: Sequence[float], facts: Mapping[str, Any], origin: str
    ) -> "ReferenceSpeed":
        """Return the speed that blocks show: the median of undisturbed ones, or else the fast quarter of the others.

        Args:
            quiet: Seconds per step in blocks of undisturbed timings.
            disturbed: Seconds per step in blocks of disturbed ones.
            facts: Device, host and versions.
            origin: Where they were found, in words.

        >>> ReferenceSpeed.of([], [4.0, 1.0, 2.0, 9.0, 3.0], {}, "trials").step_s
        2.0
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        if quiet:
            return cls(median(quiet), len(quiet), False, dict(facts), origin, now)
        return cls(float(np.quantile(disturbed, FAST)), len(disturbed), True, dict(facts), origin, now)
