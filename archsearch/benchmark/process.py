"""Start a process that times, send it jobs, and notice when it dies."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from archsearch.benchmark.channels import Program, Shared, words_of
from archsearch.benchmark.exclusive import lock_folder
from archsearch.benchmark.jobs import Job, Measured
from archsearch.benchmark.timing import Setting
from archsearch.errors import ArchsearchError, OptionError

#: Progress callback that takes an event: its name under ``event``, and its details.
Listen = Callable[[Mapping[str, Any]], None]


class ProcessDied(ArchsearchError):
    """The process that times has ended.

    Attributes:
        index: Index of the network that it was loading or warming up; None if unknown.
        begun: Whether it had begun with the job, or was of no use from the beginning.
    """

    def __init__(self, reason: str, index: int | None, begun: bool = True) -> None:
        super().__init__(reason)
        self.index, self.begun = index, begun


class StepUncaptured(ProcessDied):
    """A step could not be captured as a CUDA graph, and the process that tried it has ended.

    Attributes:
        setting: Setting of the step.
        error: Why, in one line.
        crowded: Whether memory ran out while other networks were loaded beside it.
    """

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.setting, self.error, self.crowded = Setting(**event["setting"]), event["error"], event["crowded"]
        super().__init__(f"{self.setting.kind}: {self.error}", event["index"])


class TimingProcess:
    """A process that holds networks on a device and times them, one's own or that of a run.

    Attributes:
        facts: Facts about the device: ``device``, ``kind``, ``name``, ``tf32``.
        listen: Progress callback.
    """

    def __init__(
        self,
        device: str,
        mixers: Sequence[Path] = (),
        listen: Listen = lambda event: None,
        cores: Sequence[int] = (),
        run: str = "",
    ) -> None:
        """Start the process, or connect to that of the run.

        Args:
            device: Name as for ``--device``.
            mixers: Files of the user's own mixers.
            listen: Progress callback.
            cores: Cores that the process may use; none for those of this process.
            run: Name of the run, whose processes on this machine share one process that times; empty for a process of
                one's own.

        Raises:
            OptionError: There is no such device, or a file of mixers is wrong.
            ProcessDied: The process has ended before it was ready.
        """
        self.listen = listen
        self._index: int | None = None
        settings = {"device": device, "mixers": [*map(str, mixers)], "cores": [*cores], "run": run}
        self._channel = Shared(settings, _address(device, run)) if run else Program(settings)
        self._lines = self._channel.lines()
        self._begun = self._channel.starts  # one that another process has started may end with that one's job
        try:
            self.facts = self._await("ready")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "TimingProcess":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def run(self, job: Job) -> list[Measured]:
        """Run a job; return the results of its networks, in order.

        Raises:
            OptionError: The device cannot do what the job asks for.
            ProcessDied: The process has ended; this object is of no more use.
            StepUncaptured: It has, as a step could not be captured as a CUDA graph.
            ArchsearchError: It failed in an unexpected way.
        """
        self._index, self._begun = None, isinstance(self._channel, Program)
        try:
            self._channel.send(json.dumps(job.to_dict()))
        except OSError:
            raise self._died() from None
        return [Measured.from_dict(result) for result in self._await("done")["results"]]

    def close(self) -> None:
        """End the process, whatever it is doing; that of a run ends when all have left it."""
        self._channel.close()

    def _await(self, wanted: str) -> Mapping[str, Any]:
        """Wait for an event of a name, and pass others on to ``listen``; raise what the process reports as errors."""
        for event in map(json.loads, self._lines):
            if event["event"] == wanted:
                return event
            if event["event"] == "begun":
                self._begun = True
                continue
            if event["event"] == "refused":
                raise OptionError(event["error"])
            if event["event"] == "lost":
                raise ProcessDied(f"the device was lost: {event['error']}", event["index"])
            if event["event"] == "uncaptured":
                raise StepUncaptured(event)
            if event["event"] == "failed":
                error = ArchsearchError(event["error"])
                error.add_note(event["traceback"])
                raise error
            self._index = event.get("index") if event["event"] in ("loading", "warming") else None
            self.listen(event)
        raise self._died()

    def _died(self) -> ProcessDied:
        """The error that says how the process ended."""
        reason = f"the process that timed it ended ({words_of(self._channel.ending())})"
        return ProcessDied(reason, self._index, self._begun)


def _address(device: str, run: str) -> Path:
    """File in which the process that times for a run says where it listens."""
    return lock_folder(device) / f"timing-{run}.json"
