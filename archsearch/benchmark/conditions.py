"""The state of the machine while something is timed, and who else was at work."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archsearch.benchmark.nvml import Nvml, reasons
from archsearch.stats.intervals import median

#: Per cent of a GPU's time, and share of a machine's cores, above which others are said to disturb.
BUSY_GPU = 5
BUSY_CPU = 0.05
#: Seconds until NVML has forgotten our own work.
FORGETS_S = 1.5
#: Throttle reasons that make a figure worthless, rather than belong to the device's way of working.
ALARMING = ("hardware slowdown", "software thermal slowdown", "hardware thermal slowdown", "hardware power brake")


class Conditions:
    """Watches a device from before the first block to after the last."""

    def __init__(self, nvml: Nvml | None) -> None:
        """Args: nvml: of the GPU that is timed; None for other devices."""
        self.nvml = nvml
        self.samples: list[dict[str, Any]] = []
        self.busy: int | None = None
        self.others: list[int] = []
        self.start = time.monotonic()
        self.cpu = CpuTimes.now()

    def before(self) -> None:
        """Looks for work of others on a GPU, which must have nothing of ours to do."""
        if self.nvml is None:
            return
        self.others = [pid for pid in self.nvml.processes() if pid != os.getpid()]
        end = time.monotonic() + FORGETS_S
        self.busy = self.nvml.utilization()
        while self.busy and time.monotonic() < end:
            time.sleep(0.1)
            self.busy = self.nvml.utilization()

    def started(self) -> None:
        """The rounds begin."""
        self.samples.clear()
        self.start, self.cpu = time.monotonic(), CpuTimes.now()

    def sample(self) -> None:
        """Takes a reading, best while the device is at work."""
        if self.nvml is not None:
            self.samples.append(self.nvml.sample())

    def told(self) -> dict[str, Any]:
        """Everything that goes on record with the figures, JSON-ready; ``warnings`` in words among it."""
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
    """Least, median and most of each reading, and every throttle reason that was seen."""
    summary: dict[str, Any] = {}
    for name in ("sm_clock_mhz", "memory_clock_mhz", "power_w", "temperature_c"):
        values = [sample[name] for sample in samples if sample[name] is not None]
        summary[name] = [min(values), median(values), max(values)] if values else None
    bits = 0
    for sample in samples:
        bits |= sample["throttle"] or 0
    return {**summary, "throttle_reasons": reasons(bits)}


def _warnings(facts: dict[str, Any], on_cpu: bool) -> list[str]:
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
    """Seconds that the machine's cores and this process have worked; zeros where the kernel does not tell."""

    def __init__(self, busy: float, stolen: float, own: float) -> None:
        self.busy, self.stolen, self.own = busy, stolen, own

    @classmethod
    def now(cls) -> "CpuTimes":
        """Read from ``/proc/stat``."""
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
        """Cores that a reading may be off by: the kernel counts each core's work in ticks, mostly of 10 ms."""
        return cores / os.sysconf("SC_CLK_TCK") / max(seconds, 1e-9) if hasattr(os, "sysconf") else 0.0

    def since(self, later: "CpuTimes", seconds: float) -> tuple[float | None, float | None]:
        """Cores that others, and other guests of the host, kept busy on average until ``later``."""
        if not later.busy or seconds <= 0:
            return None, None
        others = (later.busy - self.busy) - (later.own - self.own)
        return round(max(0.0, others) / seconds, 2), round((later.stolen - self.stolen) / seconds, 2)
