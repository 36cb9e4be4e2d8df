"""A benchmark from beginning to end: as many processes as it takes, and a result for every network."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from archsearch.benchmark.jobs import Job, Measured
from archsearch.benchmark.process import Listen, ProcessDied, TimingProcess
from archsearch.errors import ArchsearchError, UserError


class Session:
    """Runs jobs on a device, each in processes of their own.

    Attributes:
        facts: about the device, as ``TimingProcess`` has them.
    """

    def __init__(
        self,
        device: str,
        mixers: Sequence[Path] = (),
        listen: Listen = lambda event: None,
        fit_batch: bool = False,
    ) -> None:
        """Starts the first process.

        Args:
            device: a name as for ``--device``.
            mixers: files of the user's mixers.
            listen: told of the progress; ``index`` counts as in the job.
            fit_batch: whether the batch of all networks is halved until all fit.

        Raises:
            OptionError: there is no such device.
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
        """What became of each network, in order; a process that dies costs the network that it was at.

        Raises:
            OptionError: the device cannot do what is asked for, or is not there.
        """
        if self.fit_batch:
            job = self._fitted(job)
        return self._at_this_batch(job)

    def _fitted(self, job: Job) -> Job:
        """The job at the largest batch, by halves, at which every network can be loaded."""
        while job.bench.batch_size > 1:
            if not any(result.out_of_memory for result in self._at_this_batch(replace(job, probe=True))):
                return job
            job = replace(job, bench=replace(job.bench, batch_size=job.bench.batch_size // 2))
            self.listen({"event": "refitted", "batch_size": job.bench.batch_size})
        return job

    def _at_this_batch(self, job: Job) -> list[Measured]:
        results: dict[int, Measured] = {}
        groups = [list(range(len(job.networks)))]
        while groups:
            group = groups.pop(0)
            try:
                answers = self._in_one_process(job, group)
            except UserError as error:
                if not results:
                    raise
                answers = [Measured(error=str(error))] * len(group)  # what others gave before is kept
            except ArchsearchError as died:  # its process, or whatever it was doing
                self.listen({"event": "died", "reason": str(died)})
                groups = self._after_a_death(died, group, results) + groups
                continue
            again = [index for index, answer in zip(group, answers, strict=True) if answer.deferred]
            if again:
                self.listen({"event": "deferred", "count": len(again)})
                alone = len(again) == len(group)
                groups = [[index] for index in again] + groups if alone else [again, *groups]
            results |= {i: answer for i, answer in zip(group, answers, strict=True) if not answer.deferred}
        return [results[index] for index in range(len(job.networks))]

    def _in_one_process(self, job: Job, group: list[int]) -> list[Measured]:
        def listen(event: Mapping[str, Any]) -> None:
            index = event.get("index", -1)
            self.listen({**event, "index": group[index]} if index >= 0 else event)

        process, self._process = self._process or TimingProcess(self.device, self.mixers), None
        process.listen = listen
        with process:
            return process.run(replace(job, networks=tuple(job.networks[index] for index in group)))

    def _after_a_death(self, died: ArchsearchError, group: list[int], results: dict[int, Measured]) -> list[list[int]]:
        """Charges whom the process was at, or tries one by one; returns who is still to be timed."""
        at = died.index if isinstance(died, ProcessDied) else None
        if at is None and len(group) > 1:
            return [[index] for index in group]
        everybody = at is not None and at < 0  # the reference: nobody can be timed beside it
        guilty = group if everybody else [group[at or 0]]
        results |= {index: Measured(error=str(died)) for index in guilty}
        rest = [index for index in group if index not in guilty]
        return [rest] if rest else []
