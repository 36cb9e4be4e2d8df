"""What NVIDIA's management library says of a GPU; every question may go unanswered."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

#: Bits of the throttle reasons, with NVML's names; being idle is no reason.
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
        missing: why NVML has nothing to say, in one line; None where it has.
    """

    def __init__(self, uuid: str) -> None:
        """Args: uuid: of the GPU, as CUDA gives it, without ``GPU-``."""
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
        except pynvml.NVMLError as error:
            self.missing = f"NVML has nothing to say: {error}"

    def facts(self) -> dict[str, Any]:
        """Driver and limits."""
        return {
            "driver": self._ask(lambda n, gpu: _text(n.nvmlSystemGetDriverVersion())),
            "power_limit_w": self._ask(lambda n, gpu: n.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1e3),
            "max_sm_clock_mhz": self._ask(lambda n, gpu: n.nvmlDeviceGetMaxClockInfo(gpu, n.NVML_CLOCK_SM)),
        }

    def sample(self) -> dict[str, Any]:
        """Clocks (MHz), power (W), temperature (degrees Celsius) and throttle reasons of this moment."""
        return {
            "sm_clock_mhz": self._ask(lambda n, gpu: n.nvmlDeviceGetClockInfo(gpu, n.NVML_CLOCK_SM)),
            "memory_clock_mhz": self._ask(lambda n, gpu: n.nvmlDeviceGetClockInfo(gpu, n.NVML_CLOCK_MEM)),
            "power_w": self._ask(lambda n, gpu: n.nvmlDeviceGetPowerUsage(gpu) / 1e3),
            "temperature_c": self._ask(lambda n, gpu: n.nvmlDeviceGetTemperature(gpu, n.NVML_TEMPERATURE_GPU)),
            "throttle": self._ask(lambda n, gpu: n.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)),
        }

    def utilization(self) -> int | None:
        """Per cent of the last moments in which some kernel ran."""
        return self._ask(lambda n, gpu: int(n.nvmlDeviceGetUtilizationRates(gpu).gpu))

    def processes(self) -> list[int]:
        """Numbers of the processes that compute on the GPU, as far as this one may see them."""
        return self._ask(lambda n, gpu: [int(p.pid) for p in n.nvmlDeviceGetComputeRunningProcesses(gpu)]) or []

    def energy_mj(self) -> int | None:
        """Millijoules since the driver was loaded."""
        return self._ask(lambda n, gpu: int(n.nvmlDeviceGetTotalEnergyConsumption(gpu)))

    def _ask(self, question: Callable[[Any, Any], T]) -> T | None:
        if self.missing:
            return None
        try:
            return question(self._nvml, self._gpu)
        except (self._nvml.NVMLError, OSError):  # a GPU that does not know, or a driver that went away
            return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def reasons(bits: int) -> list[str]:
    """The throttle reasons in a set of bits.

    >>> reasons(0x01 | 0x04 | 0x40)
    ['software power cap', 'hardware thermal slowdown']
    """
    return [name for bit, name in REASONS.items() if bits & bit]
