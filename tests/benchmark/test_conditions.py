"""NVML is a library of the driver's: where there is none, a stand-in answers in its words."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from archsearch.benchmark import conditions
from archsearch.benchmark.conditions import Conditions, CpuTimes
from archsearch.benchmark.nvml import Nvml

UUID = "11111111-2222-3333-4444-555555555555"


class NVMLError(Exception):
    pass


class NVMLLibraryMismatchError(Exception):
    """No ``NVMLError``, in nvidia-ml-py too."""


class FakeNvml:
    """One GPU: busy for as many looks as ``busy`` has entries, throttling as ``bits`` say.

    It does not support what is ``unknown``, and its driver is too old for what is ``mismatched``.
    """

    NVMLError, NVMLLibraryMismatchError = NVMLError, NVMLLibraryMismatchError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, busy=(0,), bits=(0,), unknown=(), mismatched=()):
        self.busy, self.bits, self.unknown, self.mismatched = list(busy), list(bits), unknown, mismatched

    def __getattribute__(self, name):
        if name.startswith("nvml") and name in object.__getattribute__(self, "unknown"):
            raise NVMLError("Not Supported")
        if name.startswith("nvml") and name in object.__getattribute__(self, "mismatched"):
            raise NVMLLibraryMismatchError("Unversioned function called")
        return object.__getattribute__(self, name)

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid != f"GPU-{UUID}".encode():
            raise NVMLError("Not Found")
        return "gpu"

    def nvmlSystemGetDriverVersion(self):
        return b"580.1"

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu):
        return 700_000

    def nvmlDeviceGetMaxClockInfo(self, gpu, kind):
        return 1980

    def nvmlDeviceGetClockInfo(self, gpu, kind):
        return {1: 1755, 2: 3201}[kind]

    def nvmlDeviceGetPowerUsage(self, gpu):
        return 512_500

    def nvmlDeviceGetTemperature(self, gpu, sensor):
        return 61

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu):
        return self.bits.pop(0) if len(self.bits) > 1 else self.bits[0]

    def nvmlDeviceGetUtilizationRates(self, gpu):
        return SimpleNamespace(gpu=self.busy.pop(0) if len(self.busy) > 1 else self.busy[0])

    def nvmlDeviceGetComputeRunningProcesses(self, gpu):
        return [SimpleNamespace(pid=4242)]

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu):
        return 10**9


@pytest.fixture
def gpu(monkeypatch):
    def planted(**state):
        monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(**state))
        return Nvml(UUID)

    return planted


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch):
    monkeypatch.setattr(conditions, "FORGETS_S", 0.3)


def told(nvml, samples=3):
    listener = Conditions(nvml)
    listener.check_idle()
    listener.start_rounds()
    for _ in range(samples):
        listener.sample()
    return listener.summary()


def test_what_a_gpu_says_goes_on_record(gpu):
    facts = told(gpu(bits=(0x1, 0x4, 0x4)))
    assert facts["driver"] == "580.1"
    assert facts["power_limit_w"] == 700.0
    assert facts["sm_clock_mhz"] == [1755, 1755, 1755]
    assert facts["power_w"] == [512.5, 512.5, 512.5]
    assert facts["temperature_c"] == [61, 61, 61]
    assert facts["throttle_reasons"] == ["software power cap"]
    assert facts["other_processes"] == [4242]
    assert facts["warnings"] == []


def test_a_gpu_that_others_use_is_reported(gpu):
    (warning,) = told(gpu(busy=(70,)))["warnings"]
    assert warning == "the GPU was 70 % busy with other work before the timing (process 4242)"


def test_our_own_work_of_a_moment_ago_is_not(gpu):
    assert told(gpu(busy=(90, 40, 0)))["warnings"] == []


def test_a_gpu_that_slows_itself_down_is_reported(gpu):
    (warning,) = told(gpu(bits=(0x4, 0x40, 0x0)))["warnings"]
    assert warning == "the GPU slowed itself down: hardware thermal slowdown"


def test_a_gpu_that_does_not_know_leaves_gaps(gpu):
    facts = told(gpu(unknown=("nvmlDeviceGetPowerUsage", "nvmlDeviceGetUtilizationRates")))
    assert facts["power_w"] is None
    assert facts["busy_before"] is None
    assert facts["temperature_c"] == [61, 61, 61]


def test_a_driver_that_is_older_than_the_library_leaves_gaps(gpu):
    nvml = gpu(mismatched=("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetTotalEnergyConsumption"))
    facts = told(nvml)
    assert (facts["other_processes"], facts["new_processes"], nvml.energy_mj()) == ([], [], None)
    assert facts["temperature_c"] == [61, 61, 61]
    unusable = gpu(mismatched=("nvmlInit",))
    assert unusable.missing == "NVML has nothing to say: Unversioned function called"
    assert unusable.energy_mj() is None


def test_without_the_library_one_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    facts = told(Nvml(UUID))
    assert facts["nvml"] == "NVML is missing: pip install nvidia-ml-py for clocks, power and temperature"
    assert facts["warnings"] == []
    assert facts["sm_clock_mhz"] is None
    assert Nvml(UUID).energy_mj() is None


def test_without_a_driver_one_line_says_so():
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert Nvml(UUID).missing.startswith("NVML has nothing to say: ")
    else:
        pytest.skip("there is a driver here")


@pytest.mark.serial
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/stat is Linux's")
def test_a_busy_neighbour_on_the_cpu_is_reported():
    spin = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.5)
        listener = Conditions(None)
        listener.start_rounds()
        time.sleep(1.0)
        facts = listener.summary()
    finally:
        spin.kill()
        spin.wait()
    assert facts["other_cores"] > 0.5
    assert any("of" in word and "cores busy" in word for word in facts["warnings"])


@pytest.mark.serial
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/stat is Linux's")
def test_our_own_work_on_the_cpu_is_not_a_neighbours():
    before = CpuTimes.now()
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        pass
    after = CpuTimes.now()
    assert after.own - before.own > 0.3
    assert after.busy - before.busy > 0.3
    others, stolen = CpuTimes(10.0, 1.0, 5.0).since(CpuTimes(12.0, 1.5, 6.5), 2.0)
    assert (others, stolen) == (0.25, 0.25)
    assert CpuTimes(0.0, 0.0, 0.0).since(CpuTimes(0.0, 0.0, 0.0), 1.0) == (None, None)
