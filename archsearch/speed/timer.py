"""Times a study's architectures: one process for all of them, and no architecture twice."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from archsearch.arch import Arch
from archsearch.errors import ArchsearchError, TrialError
from archsearch.networks import find
from archsearch.recipes import Bench
from archsearch.speed.exclusive import OnWait, nobody
from archsearch.speed.plan import Job
from archsearch.speed.process import TimingProcess
from archsearch.speed.timing import Timing
from archsearch.store import Store

#: Counts up when timings mean something else than before, so that old ones are not reused.
PROTOCOL = 1
#: What a timing depends on besides architecture and recipe, as ``environment`` has it.
DEVICE_FACTS = ("host", "device_name", "torch", "timm", "cuda", "cudnn", "threads")


class Timings:
    """Timings on disk; one that cannot be read is measured again."""

    def __init__(self, folder: Path, environment: Mapping[str, Any]) -> None:
        """Args: folder: where; environment: of ``archsearch.measure.device``."""
        self.store = Store(folder)
        self.device = {name: environment.get(name) for name in DEVICE_FACTS}

    def get(self, arch: Arch, bench: Bench, kind: str) -> Timing | None:
        """A known timing."""
        try:
            return Timing.from_dict(self.store.get(self._key(arch, bench, kind)))
        except (ValueError, TypeError, KeyError):
            return None

    def put(self, arch: Arch, bench: Bench, kind: str, timing: Timing) -> None:
        """Keeps a timing."""
        self.store.put(self._key(arch, bench, kind), timing.to_dict())

    def _key(self, arch: Arch, bench: Bench, kind: str) -> dict[str, Any]:
        return {"protocol": PROTOCOL, "arch": arch.key, "bench": asdict(bench), "kind": kind, **self.device}


class Timer:
    """Times architectures on one device by one recipe; its process starts with the first."""

    def __init__(
        self,
        bench: Bench,
        device: str,
        timings: Timings,
        mixers: Sequence[Path] = (),
        on_wait: OnWait = nobody,
        remeasure: bool = False,
    ) -> None:
        """Args: remeasure: whether known timings are made anew."""
        self.bench, self.device, self.timings, self.mixers = bench, device, timings, mixers
        self.on_wait, self.remeasure = on_wait, remeasure
        self._process: TimingProcess | None = None

    def __enter__(self) -> "Timer":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def __call__(self, arch: Arch, kinds: Sequence[str]) -> dict[str, Timing]:
        """The better layout's timing of each kind.

        Raises:
            TrialError: it cannot be timed, and why.
        """
        timings = {} if self.remeasure else self._known(arch, kinds)
        missing = tuple(kind for kind in kinds if kind not in timings)
        for timing in self._measure(arch, missing) if missing else ():
            if not timing.conditions.get("warnings"):  # a disturbed one is not worth keeping for others
                self.timings.put(arch, self.bench, timing.setting.kind, timing)
            timings[timing.setting.kind] = timing
        return timings

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _known(self, arch: Arch, kinds: Sequence[str]) -> dict[str, Timing]:
        known = {kind: self.timings.get(arch, self.bench, kind) for kind in kinds}
        return {kind: timing for kind, timing in known.items() if timing is not None}

    def _measure(self, arch: Arch, kinds: tuple[str, ...]) -> list[Timing]:
        reference = find(self.bench.reference, self.bench.img_size or None)
        job = Job((self.bench.resized(arch),), reference, self.bench, kinds, (self.bench.mode,))
        if self._process is None:
            self._process = TimingProcess(self.device, self.mixers, self._listen)
        try:
            measured = self._process.run(job)[0]
        except ArchsearchError as error:  # whatever it was, the next one gets a new process
            self.close()
            raise TrialError(str(error)) from error
        if measured.error:
            raise TrialError(measured.error)
        best = [timing for timing in measured.timings if timing.best]
        if len(best) < len(kinds):
            failed = next(timing for timing in measured.timings if timing.error)
            raise TrialError(f"{failed.setting.kind}: {failed.error}")
        return best

    def _listen(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "waiting":
            self.on_wait(event["holder"])
