"""Timer of a study's architectures: one process for all of them, and a disk cache of their timings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from archsearch.arch import Arch
from archsearch.arch.networks import find
from archsearch.benchmark.exclusive import cpu_work_lock
from archsearch.benchmark.jobs import Job, Measured, Network, network_to_dict
from archsearch.benchmark.layouts import KnownLayouts
from archsearch.benchmark.onnx_steps import runtime_version
from archsearch.benchmark.process import ProcessDied, TimingProcess
from archsearch.benchmark.reference_speed import DEVICE_FACTS
from archsearch.benchmark.timing import Timing
from archsearch.errors import ArchsearchError, TrialError
from archsearch.nn.device import pick_device
from archsearch.objectives import FromDevice
from archsearch.recipes import ONNXRUNTIME, PROTOCOL, BenchRecipe
from archsearch.trial import OnWait, ignore_wait
from archsearch.utils.disk_cache import DiskCache
from archsearch.utils.key_fields import key_fields


class Timings:
    """Disk cache of timings; one that cannot be read counts as missing."""

    def __init__(self, folder: Path, environment: Mapping[str, Any]) -> None:
        """Open the cache.

        Args:
            folder: Folder of the cache; made when it is first written to.
            environment: Facts of ``archsearch.nn.device.environment`` about the device that is timed.
        """
        self.store = DiskCache(folder)
        self.device = {name: environment.get(name) for name in DEVICE_FACTS}

    def get(self, network: Network, bench: BenchRecipe, kind: str, reference: Network | None = None) -> Timing | None:
        """Return a cached timing; None if there is none.

        Args:
            network: Network that is timed.
            bench: Recipe of the timing.
            kind: Kind of step.
            reference: Reference network, where it is not the one that the recipe names.
        """
        try:
            kept = Timing.from_dict(self.store.get(self._key(network, bench, kind, reference)))
            return replace(kept, recalled=True)
        except (ValueError, TypeError, KeyError):
            return None

    def put(
        self, network: Network, bench: BenchRecipe, kind: str, timing: Timing, reference: Network | None = None
    ) -> None:
        """Cache a timing; arguments as for ``get``."""
        self.store.put(self._key(network, bench, kind, reference), timing.to_dict())

    def fixed(self, bench: BenchRecipe, kind: str) -> dict[str, Any] | None:
        """Return what ``fix`` has cached; None if there is none.

        Args:
            bench: Recipe of the timing, which names the reference.
            kind: Kind of step.
        """
        found: dict[str, Any] | None = self.store.get(self._fixed_key(bench, kind))
        return found

    def fix(self, bench: BenchRecipe, kind: str, speed: Mapping[str, Any]) -> None:
        """Cache the reference's fixed speed, unless there is one; arguments as for ``fixed``.

        Args:
            bench: Recipe of the timing, which names the reference.
            kind: Kind of step.
            speed: What ``archsearch.benchmark.reference_speed.ReferenceSpeed.to_dict`` returned.
        """
        if self.fixed(bench, kind) is None:
            self.store.put(self._fixed_key(bench, kind), dict(speed))

    def _fixed_key(self, bench: BenchRecipe, kind: str) -> dict[str, Any]:
        key = {"protocol": PROTOCOL, "fixed_reference": kind, "bench": key_fields(bench), **self.device}
        return key | self._steps(kind) | _runtime(bench)

    def _key(self, network: Network, bench: BenchRecipe, kind: str, reference: Network | None) -> dict[str, Any]:
        named = network.key if isinstance(network, Arch) else network_to_dict(network)
        recipe = key_fields(bench)
        if reference is not None:
            recipe["reference"] = reference.key if isinstance(reference, Arch) else network_to_dict(reference)
        key = {"protocol": PROTOCOL, "arch": named, "bench": recipe, "kind": kind, **self.device}
        return key | self._steps(kind) | _runtime(bench)

    def _steps(self, kind: str) -> dict[str, str]:
        """What tells latencies on a GPU from those of earlier versions, whose steps did not wait for each other."""
        return {"steps": "single"} if kind == "latency" and (self.device["cuda"] or self.device["cudnn"]) else {}


def _runtime(bench: BenchRecipe) -> dict[str, str]:
    """The version of onnxruntime, where it runs the steps."""
    return {"onnxruntime": runtime_version()} if bench.mode == ONNXRUNTIME else {}


class Timer:
    """Time networks on one device by one recipe, in a process that starts with the first of them."""

    def __init__(
        self,
        bench: BenchRecipe,
        device: str,
        timings: Timings,
        mixers: Sequence[Path] = (),
        on_wait: OnWait = ignore_wait,
        remeasure: bool = False,
        reference: Network | None = None,
        cores: Sequence[int] = (),
        reports: Sequence[FromDevice] = (),
        run: str = "",
        fixed: Mapping[str, float] | None = None,
    ) -> None:
        """Prepare; the process that times starts when it is needed.

        Args:
            bench: Recipe of the timings.
            device: Name of the device, as for ``--device``.
            timings: Disk cache of timings.
            mixers: Paths of the user's mixer files.
            on_wait: Callback for a wait, as for ``archsearch.benchmark.exclusive``.
            remeasure: Whether cached timings are ignored.
            reference: Reference network instead of the one that the recipe names.
            cores: Numbers of the processor cores to use; empty for those of this process.
            reports: Scores that the device has to report; a cached timing without one is made anew.
            run: Name of the run whose processes share the one that times; empty for one of this timer's own.
            fixed: Fixed seconds per step of the reference by kind of step, for scores; None outside of studies.
        """
        self.bench, self.device, self.timings, self.mixers = bench, device, timings, mixers
        self.on_wait, self.remeasure, self.reference, self.cores = on_wait, remeasure, reference, cores
        self.reports, self.run, self.fixed = tuple(reports), run, dict(fixed or {})
        self.layouts = KnownLayouts(timings, bench)
        self._process: TimingProcess | None = None

    def __enter__(self) -> "Timer":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def __call__(self, network: Network, kinds: Sequence[str], anew: bool = False) -> dict[str, Timing]:
        """Return the timing of each kind of step, in the better layout.

        Args:
            network: Network to time.
            kinds: Kinds of step.
            anew: Whether cached timings are ignored for this one.

        Raises:
            TrialError: The network cannot be timed; the message says why.
        """
        timings = {} if self.remeasure or anew else self._known(network, kinds)
        missing = tuple(kind for kind in kinds if kind not in timings)
        for timing in self._measure(network, missing) if missing else ():
            if timing.known(self.bench.known_within):
                self.timings.put(network, self.bench, timing.setting.kind, timing, self.reference)
            timings[timing.setting.kind] = timing
        return {kind: replace(timing, fixed_s=self.fixed.get(kind)) for kind, timing in timings.items()}

    def close(self) -> None:
        """End the process that times."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _known(self, network: Network, kinds: Sequence[str]) -> dict[str, Timing]:
        known = {kind: self.timings.get(network, self.bench, kind, self.reference) for kind in kinds}
        return {kind: timing for kind, timing in known.items() if timing is not None and self._complete(timing)}

    def _complete(self, timing: Timing) -> bool:
        fields = [report.field for report in self.reports if report.step == timing.setting.kind]
        known = timing.known(self.bench.known_within)
        return known and all(getattr(timing, field) is not None for field in fields)

    def _measure(self, network: Network, kinds: tuple[str, ...]) -> list[Timing]:
        reference = self.reference or find(self.bench.reference, self.bench.img_size or None)
        target = self.bench.resized(network) if isinstance(network, Arch) else network
        energy = any(report.field == "energy_mj" for report in self.reports)
        layouts = tuple(self.layouts.of(target, kinds).items())
        job = Job((target,), reference, self.bench, kinds, (self.bench.mode,), energy=energy, layouts=layouts)
        measured = self._run(job)
        if measured.error:
            raise TrialError(measured.error)
        self.layouts.learn(target, measured.timings)
        best = [timing for timing in measured.timings if timing.best]
        if len(best) < len(kinds):
            failed = next(timing for timing in measured.timings if timing.error)
            raise TrialError(f"{failed.setting.kind}: {failed.error}")
        return best

    def _run(self, job: Job) -> Measured:
        """Run a job; once more in a new process where another one's job ended the process before it had begun."""
        while True:
            try:
                if self._process is None:
                    self._process = self._started()
                return self._process.run(job)[0]
            except ArchsearchError as error:  # the next network gets a new process
                self.close()
                if not isinstance(error, ProcessDied) or error.begun:
                    raise TrialError(str(error)) from error

    def _started(self) -> TimingProcess:
        with cpu_work_lock(pick_device(self.device), self.on_wait, self.run):  # it would disturb others' timings
            return TimingProcess(self.device, self.mixers, self._listen, self.cores, self.run)

    def _listen(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "waiting":
            self.on_wait(event["holder"])
        elif event["event"] == "going_on":
            self.on_wait(None)
