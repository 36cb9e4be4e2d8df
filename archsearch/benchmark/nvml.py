"""NVIDIA's management library (NVML); every query may go unanswered."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

#: Bits of the throttle reasons, with NVML's names; idling is left out.
REASONS = {
    0x02: "applications clocks setting",
    0x04: "software power cap",
    0x08: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clock setting",
}


class Nvml:
    """One GPU as NVML sees it.

    Attributes:
        missing: Why NVML cannot be used, in one line; None where it can.
    """

    def __init__(self, uuid: str) -> None:
        """Look a GPU up by its UUID, as CUDA gives it, without ``GPU-``."""
        self.missing: str | None = None
        try:
            import pynvml
        except ImportError:
            self.missing = "NVML is missing: pip install nvidia-ml-py for clocks, power and temperature"
            return
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            self._gpu = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode())
        except _errors(pynvml) as error:
            self.missing = f"NVML has nothing to say: {error}"

    def facts(self) -> dict[str, Any]:
        """Return driver version, power limit (W) and maximum clock (MHz)."""
        return {
            "driver": self._ask(lambda n, gpu: _text(n.nvmlSystemGetDriverVersion())),
            "power_limit_w": self._ask(lambda n, gpu: n.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1e3),
            "max_sm_clock_mhz": self._ask(lambda n, gpu: n.nvmlDeviceGetMaxClockInfo(gpu, n.NVML_CLOCK_SM)),
        }

    def sample(self) -> dict[str, Any]:
        """Return current clocks (MHz), power (W), temperature (degrees Celsius) and throttle reasons (bits)."""
        return {
            "sm_clock_mhz": self._ask(lambda n, gpu: n.nvmlDeviceGetClockInfo(gpu, n.NVML_CLOCK_SM)),
            "memory_clock_mhz": self._ask(lambda n, gpu: n.nvmlDeviceGetClockInfo(gpu, n.NVML_CLOCK_MEM)),
            "power_w": self._ask(lambda n, gpu: n.nvmlDeviceGetPowerUsage(gpu) / 1e3),
            "temperature_c": self._ask(lambda n, gpu: n.nvmlDeviceGetTemperature(gpu, n.NVML_TEMPERATURE_GPU)),
            "throttle": self._ask(lambda n, gpu: n.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)),
        }

    def utilization(self) -> int | None:
        """Return the per cent of the last sampling period in which a kernel ran."""
        return self._ask(lambda n, gpu: int(n.nvmlDeviceGetUtilizationRates(gpu).gpu))

    def processes(self) -> list[int]:
        """Return the ids of processes that compute on the GPU, as far as this process may see them."""
        return self._ask(lambda n, gpu: [int(p.pid) for p in n.nvmlDeviceGetComputeRunningProcesses(gpu)]) or []

    def energy_mj(self) -> int | None:
        """Return the GPU's energy since the driver was loaded, in millijoules."""
        return self._ask(lambda n, gpu: int(n.nvmlDeviceGetTotalEnergyConsumption(gpu)))

    def _ask(self, question: Callable[[Any, Any], T]) -> T | None:
        """Ask NVML about the GPU; None where it does not answer."""
        if self.missing:
            return None
        try:
            return question(self._nvml, self._gpu)
        except _errors(self._nvml):
            return None


def _errors(nvml: Any) -> tuple[type[Exception], ...]:
    """The errors of a GPU that does not know, of a driver older than the library, and of one that went away."""
    return nvml.NVMLError, getattr(nvml, "NVMLLibraryMismatchError", nvml.NVMLError), OSError


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def reasons(bits: int) -> list[str]:
    """Return the names of throttle reasons in a set of bits.

    >>> reasons(0x01 | 0x04 | 0x40)
    ['software power cap', 'hardware thermal slowdown']
    """
    return [name for bit, name in REASONS.items() if bits & bit]
