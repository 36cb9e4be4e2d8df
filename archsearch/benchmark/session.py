"""Run a job in as many processes as it takes, until every network has a result."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from archsearch.benchmark.jobs import REFERENCE, Job, Measured
from archsearch.benchmark.process import Listen, ProcessDied, StepUncaptured, TimingProcess
from archsearch.benchmark.timing import Setting
from archsearch.errors import ArchsearchError, UserError


class Session:
    """Runs jobs on a device, each in processes of its own.

    Attributes:
        facts: Facts about the device, as in ``TimingProcess``.
    """

    def __init__(
        self,
        device: str,
        mixers: Sequence[Path] = (),
        listen: Listen = lambda event: None,
        fit_batch: bool = False,
    ) -> None:
        """Start the first process.

        Args:
            device: Name as for ``--device``.
            mixers: Files of the user's own mixers.
            listen: Progress callback; ``index`` of an event is that of a network in the job.
            fit_batch: Whether to halve the batch of all networks until all fit.

        Raises:
            OptionError: There is no such device.
        """
        self.device, self.mixers, self.listen, self.fit_batch = device, mixers, listen, fit_batch
        self._process: TimingProcess | None = TimingProcess(device, mixers)
        self.facts = self._process.facts

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *args: object) -> None:
        if self._process is not None:
            self._process.close()

    def run(self, job: Job) -> list[Measured]:
        """Run a job; return the results of its networks, in order.

        A process that dies costs the network that it was at; the others are timed in a new one.

        Raises:
            OptionError: The device cannot do what the job asks for, or is not there.
        """
        if self.fit_batch:
            job = self._fitted(job)
        return self._at_this_batch(job)

    def _fitted(self, job: Job) -> Job:
        """Halve the job's batch until every network can be loaded."""
        while job.bench.batch_size > 1:
            if not any(result.out_of_memory for result in self._at_this_batch(replace(job, probe=True))):
                return job
            job = replace(job, bench=replace(job.bench, batch_size=job.bench.batch_size // 2))
            self.listen({"event": "refitted", "batch_size": job.bench.batch_size})
        return job

    def _at_this_batch(self, job: Job) -> list[Measured]:
        """Time groups of networks, one process after another, until all have a result."""
        results: dict[int, Measured] = {}
        groups = [list(range(len(job.networks)))]
        failed: list[tuple[int, Setting, str]] = []
        while groups:
            group = groups.pop(0)
            try:
                answers = self._in_one_process(replace(job, failed=tuple(failed)), group)
            except StepUncaptured as step:
                groups = self._without(step, group, failed) + groups
                continue
            except UserError as error:
                if not results:
                    raise
                answers = [Measured(error=str(error))] * len(group)  # results of earlier groups are kept
            except ArchsearchError as died:  # the process ended, or failed unexpectedly
                self.listen({"event": "died", "reason": str(died)})
                groups = self._regroup(died, group, results) + groups
                continue
            again = [index for index, answer in zip(group, answers, strict=True) if answer.deferred]
            if again:
                self.listen({"event": "deferred", "count": len(again)})
                one_by_one = len(again) == len(group)
                groups = [[index] for index in again] + groups if one_by_one else [again, *groups]
            results |= {i: answer for i, answer in zip(group, answers, strict=True) if not answer.deferred}
        return [results[index] for index in range(len(job.networks))]

    def _in_one_process(self, job: Job, group: list[int]) -> list[Measured]:
        """Time some networks of a job, by their indices, in one process."""

        def listen(event: Mapping[str, Any]) -> None:
            index = event.get("index", -1)
            self.listen({**event, "index": group[index]} if index >= 0 else event)

        process, self._process = self._process or TimingProcess(self.device, self.mixers), None
        process.listen = listen
        places = {REFERENCE: REFERENCE} | {index: place for place, index in enumerate(group)}
        failed = tuple((places[index], setting, error) for index, setting, error in job.failed if index in places)
        with process:
            return process.run(replace(job, networks=tuple(job.networks[index] for index in group), failed=failed))

    def _without(
        self, step: StepUncaptured, group: list[int], failed: list[tuple[int, Setting, str]]
    ) -> list[list[int]]:
        """Take note of a step that cannot be captured, and return the groups that the others are timed in.

        A network for whose graph there was no room beside the others is timed without them.
        """
        index = REFERENCE if step.index is None or step.index < 0 else group[step.index]
        if step.crowded:
            self.listen({"event": "deferred", "count": 1})
            return [[other for other in group if other != index], [index]]
        failed.append((index, step.setting, step.error))
        self.listen({"event": "died", "reason": str(step)})
        return [group]

    def _regroup(self, died: ArchsearchError, group: list[int], results: dict[int, Measured]) -> list[list[int]]:
        """Give the error to the network that the process was at; return groups of those still to be timed."""
        at = died.index if isinstance(died, ProcessDied) else None
        if at is None and len(group) > 1:
            return [[index] for index in group]
        at_reference = at is not None and at < 0  # nothing can be timed beside it
        failed = group if at_reference else [group[at or 0]]
        results |= {index: Measured(error=str(died)) for index in failed}
        rest = [index for index in group if index not in failed]
        return [rest] if rest else []
