"""Facts about the processor, from the kernel."""

from functools import cache
from pathlib import Path


@cache
def cpuinfo(field: str) -> tuple[str, ...]:
    """Return a field of /proc/cpuinfo, one entry per logical core; empty where the kernel has none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ()
    entries = (line.partition(":") for line in lines)
    return tuple(value.strip() for name, _, value in entries if name.strip() == field)
