"""State of the machine during a timing: clocks, power, temperature, and work of other programs."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archsearch.benchmark.nvml import Nvml, reasons
from archsearch.stats.intervals import median

#: Per cent of a GPU's time, and share of a machine's cores, above which other programs disturb a timing.
BUSY_GPU = 5
BUSY_CPU = 0.05
#: Seconds until NVML's utilization no longer includes our own work.
FORGETS_S = 1.5
#: Throttle reasons that make a timing worthless; others belong to normal operation.
ALARMING = ("hardware slowdown", "software thermal slowdown", "hardware thermal slowdown", "hardware power brake")


class Conditions:
    """Record of a device's state from before the first block to after the last."""

    def __init__(self, nvml: Nvml | None) -> None:
        """Take NVML's view of the GPU that is timed; None for other devices."""
        self.nvml = nvml
        self.samples: list[dict[str, Any]] = []
        self.busy: int | None = None
        self.others: list[int] = []
        self.start = time.monotonic()
        self.cpu = CpuTimes.now()

    def check_idle(self, ours_before: bool = False) -> None:
        """Look for other programs' work on a GPU, while it has none of ours.

        Args:
            ours_before: Whether work of ours has used the GPU within the last ``FORGETS_S``: NVML is not waited for
                until it forgets that, while the device is held, and ``busy`` stays unknown.
        """
        if self.nvml is None:
            return
        self.others = [pid for pid in self.nvml.processes() if pid != os.getpid()]
        if ours_before:
            return
        end = time.monotonic() + FORGETS_S
        self.busy = self.nvml.utilization()
        while self.busy and time.monotonic() < end:
            time.sleep(0.1)
            self.busy = self.nvml.utilization()

    def start_rounds(self) -> None:
        """Begin to record the rounds; forget earlier readings."""
        self.samples.clear()
        self.start, self.cpu = time.monotonic(), CpuTimes.now()

    def sample(self) -> None:
        """Take a reading; most useful while the device is busy."""
        if self.nvml is not None:
            self.samples.append(self.nvml.sample())

    def summary(self) -> dict[str, Any]:
        """Return what goes on record with the timings, JSON-ready; ``warnings`` says in words what disturbed them."""
        seconds = time.monotonic() - self.start
        facts: dict[str, Any] = {
            "seconds": seconds,
            "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        }
        others, stolen = self.cpu.since(CpuTimes.now(), seconds)
        facts |= {"other_cores": others, "stolen_cores": stolen}
        if self.nvml is not None:
            facts |= {"nvml": self.nvml.missing, **self.nvml.facts(), **_summary(self.samples)}
            now = [pid for pid in self.nvml.processes() if pid not in (os.getpid(), *self.others)]
            facts |= {"busy_before": self.busy, "other_processes": self.others, "new_processes": now}
        return {**facts, "warnings": _warnings(facts, on_cpu=self.nvml is None)}


def _summary(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Minimum, median and maximum of each reading, and all throttle reasons that were seen."""
    summary: dict[str, Any] = {}
    for name in ("sm_clock_mhz", "memory_clock_mhz", "power_w", "temperature_c"):
        values = [sample[name] for sample in samples if sample[name] is not None]
        summary[name] = [min(values), median(values), max(values)] if values else None
    bits = 0
    for sample in samples:
        bits |= sample["throttle"] or 0
    return {**summary, "throttle_reasons": reasons(bits)}


def _warnings(facts: dict[str, Any], on_cpu: bool) -> list[str]:
    """Say in words what disturbed a timing."""
    words = []
    if (facts.get("busy_before") or 0) > BUSY_GPU:
        who = facts["other_processes"]
        named = f" (process {', '.join(map(str, who))})" if who else ""
        words.append(f"the GPU was {facts['busy_before']} % busy with other work before the timing{named}")
    if facts.get("new_processes"):
        words.append(f"process {', '.join(map(str, facts['new_processes']))} came to the GPU during the timing")
    bad = [reason for reason in facts.get("throttle_reasons", ()) if reason in ALARMING]
    if bad:
        words.append(f"the GPU slowed itself down: {', '.join(bad)}")
    cores = os.cpu_count() or 1
    limit = max(BUSY_CPU * cores, CpuTimes.resolution(cores, facts["seconds"]))
    for name, who in (("other_cores", "other programs"), ("stolen_cores", "other guests of its host")):
        if on_cpu and (facts[name] or 0) > limit:
            words.append(f"{who} kept {facts[name]:.1f} of {cores} cores busy during the timing")
    return words


class CpuTimes:
    """Processor seconds used by the whole machine and by this process; zeros where the kernel does not tell.

    Attributes:
        busy: Seconds that all cores together were busy.
        stolen: Seconds that other guests of a virtual machine's host took.
        own: Seconds that this process and its children used.
    """

    def __init__(self, busy: float, stolen: float, own: float) -> None:
        self.busy, self.stolen, self.own = busy, stolen, own

    @classmethod
    def now(cls) -> "CpuTimes":
        """Read the current times from ``/proc/stat``."""
        own = sum(os.times()[:4])
        try:
            line = Path("/proc/stat").read_text().partition("\n")[0]
            user, nice, system, _, _, irq, softirq, steal = map(int, line.split()[1:9])
        except (OSError, ValueError):
            return cls(0.0, 0.0, 0.0)
        ticks = os.sysconf("SC_CLK_TCK")
        return cls((user + nice + system + irq + softirq) / ticks, steal / ticks, own)

    @staticmethod
    def resolution(cores: int, seconds: float) -> float:
        """Return the cores that a reading may be off by: the kernel counts work in ticks, mostly of 10 ms."""
        return cores / os.sysconf("SC_CLK_TCK") / max(seconds, 1e-9) if hasattr(os, "sysconf") else 0.0

    def since(self, later: "CpuTimes", seconds: float) -> tuple[float | None, float | None]:
        """Return how many cores other programs, and other guests of the host, kept busy on average until ``later``."""
        if not later.busy or seconds <= 0:
            return None, None
        others = (later.busy - self.busy) - (later.own - self.own)
        return round(max(0.0, others) / seconds, 2), round((later.stolen - self.stolen) / seconds, 2)
