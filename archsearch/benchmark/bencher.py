"""Time networks side by side by the protocol; runs in a process of its own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from archsearch.benchmark import roofline
from archsearch.benchmark.clocks import synchronize
from archsearch.benchmark.conditions import FORGETS_S, Conditions
from archsearch.benchmark.energy import energy_per_image
from archsearch.benchmark.exclusive import given_back_within, timing_lock, training_lock
from archsearch.benchmark.failures import Uncaptured, failure, free_memory, memory_nearly_full, recover
from archsearch.benchmark.jobs import REFERENCE, Job, Measured, Network
from archsearch.benchmark.loading import (
    LoadedNetwork,
    PreparedStep,
    built_network,
    in_form,
    lay_out_ahead,
    load_network,
    write_ahead,
)
from archsearch.benchmark.nvml import Nvml
from archsearch.benchmark.protocol import Pair, Times, interleave, warm_up
from archsearch.benchmark.results import StepKey, error_lines, timings_of, untimed
from archsearch.benchmark.timed_steps import check_device, limit_kernel_trials, set_precision
from archsearch.errors import OptionError
from archsearch.nn.device import environment, identity, is_out_of_memory

#: Types of device that models are built on, so that they need not be moved there.
HOST_TYPES = ("cpu",)
#: Reporter of progress: takes an event's name, and its details as keyword arguments.
Say = Callable[..., None]


class Bencher:
    """Runs jobs on one device, one after another; the reference stays loaded between them.

    Attributes:
        device: Device that is timed.
        nvml: NVML's view of the GPU; None on other devices.
        conditions: State of the machine during the current job.
    """

    def __init__(self, device: torch.device, say: Say, run_name: str = "") -> None:
        """Load nothing yet.

        Args:
            device: Device to time.
            say: Reporter of progress.
            run_name: Name of the run that this process belongs to, for locks.
        """
        self.device, self.say, self.run_name = device, say, run_name
        self.nvml = Nvml(identity(device)) if device.type == "cuda" else None
        self.conditions = Conditions(self.nvml)
        self._reference: dict[tuple[Any, ...], LoadedNetwork] = {}

    def run(self, job: Job) -> list[Measured]:
        """Time the networks of a job while nothing else of ours uses the device; return their results in order.

        Raises:
            OptionError: The device cannot do what the job asks for.
            DeviceLost: The device no longer responds after an error.
            Uncaptured: A step cannot be captured as a CUDA graph.
        """
        for mode in job.modes:
            check_device(replace(job.bench, mode=mode), self.device)
        set_precision(job.bench.precision)
        torch.manual_seed(job.seed)
        limit_kernel_trials(job.thorough)
        built = [self._build(network, index, job) for index, network in enumerate(job.networks)]
        if self.device.type not in HOST_TYPES and not job.thorough:
            with training_lock(identity(self.device), self._waits, self.run_name):
                for index, network in enumerate(built):
                    lay_out_ahead(network, index, job, self.device)
        with timing_lock(identity(self.device), self._waits, self.run_name):
            self.conditions = Conditions(self.nvml)
            synchronize(self.device)
            self.conditions.check_idle(given_back_within(identity(self.device), FORGETS_S))
            return self._run(job, built)

    def _waits(self, holder: str | None) -> None:
        self.say("going_on") if holder is None else self.say("waiting", holder=holder)

    def _build(self, network: Network, index: int, job: Job) -> LoadedNetwork:
        """Build a network of a job, but for one that is the reference."""
        if network == job.reference:
            return LoadedNetwork()
        self.say("loading", index=index)
        built = built_network(network, job)
        write_ahead(built, index, job)
        return built

    def _run(self, job: Job, built: Sequence[LoadedNetwork]) -> list[Measured]:
        loaded = self._load(job, built)
        asked = [loaded[index] for index, _ in enumerate(job.networks)]
        if job.probe or not any(network.steps for network in asked):
            unknown = error_lines(loaded[REFERENCE])
            return [replace(untimed(network), reference_errors=unknown) for network in asked]
        results = self._time(job, loaded)
        models = [network.model for network in asked]
        del asked
        loaded.clear()
        if job.roofline:
            self._reference.clear()
        free_memory(self.device)
        return [replace(m, roofline=self._roofline(i, models[i], m)) for i, m in enumerate(results)]

    def _load(self, job: Job, built: Sequence[LoadedNetwork]) -> dict[int, LoadedNetwork]:
        """Load the reference and all networks that fit beside each other; the others are deferred."""
        loaded = {REFERENCE: self._load_reference(job)}
        for index, network in enumerate(job.networks):
            if network == job.reference:
                loaded[index] = loaded[REFERENCE]
                continue
            beside = any(other.steps for number, other in loaded.items() if number != REFERENCE)
            if beside and memory_nearly_full(self.device):
                loaded[index] = LoadedNetwork(measured=Measured(deferred=True))
                continue
            try:
                loaded[index] = self._load_one(built[index], index, job)
            except Uncaptured as failed:
                failed.crowded = beside and failed.out_of_memory
                raise
            if beside and loaded[index].did_not_fit:
                loaded[index] = LoadedNetwork(measured=Measured(deferred=True))
                free_memory(self.device)
        return loaded

    def _load_reference(self, job: Job) -> LoadedNetwork:
        """Load the reference, unless the last job had the same."""
        failed = tuple(job.failures(REFERENCE).items())
        key = (job.reference, job.bench, job.kinds, job.modes, job.thorough, job.roofline, failed)
        if key not in self._reference:
            self._reference.clear()
            reference = self._load_one(built_network(job.reference, job), REFERENCE, job)
            if reference.measured.error:
                raise OptionError(f"the reference cannot be timed: {reference.measured.error}; choose another")
            self._reference[key] = reference
        return self._reference[key]

    def _load_one(self, built: LoadedNetwork, index: int, job: Job) -> LoadedNetwork:
        self.say("loading", index=index)
        return load_network(built, index, job, self.device, lambda: self.conditions.sample())

    def _time(self, job: Job, loaded: dict[int, LoadedNetwork]) -> list[Measured]:
        """Warm up all steps, time them in interleaved rounds, and collect the results."""
        steps = dict(_steps(loaded))
        no_room: set[int] = set()

        def failed(key: StepKey, error: Exception) -> None:
            """Drop a step that failed, and free what it held, so that the others can go on."""
            index, setting = key
            if is_out_of_memory(error) and len({other for other, _ in steps}) > 2:
                no_room.add(index)
            loaded[index].errors[setting] = failure(error, setting)
            del steps[key], loaded[index].steps[setting]
            error.__traceback__ = error.__context__ = error.__cause__ = None
            self._reference.clear()  # it may have been the reference's step: the next job loads that anew
            recover(self.device, loaded[index].errors[setting], index)

        self._warm_up(job, steps, failed)
        references = _references(steps)
        times, conditions = self._rounds(job, steps, references, failed)
        read = [key for key in times if job.energy and (job.thorough or key[1].kind == "infer")]
        energies = {key: energy_per_image(steps[key], self.nvml) for key in read}
        facts, unknown = environment(self.device), error_lines(loaded[REFERENCE])
        results = []
        for index, network in enumerate(job.networks):
            own = REFERENCE if network == job.reference else index
            timings = timings_of(own, loaded[index], times, references, energies)
            timings = tuple(replace(timing, conditions=conditions) for timing in timings)
            done = replace(loaded[index].measured, timings=timings, environment=facts, reference_errors=unknown)
            results.append(Measured(deferred=True) if index in no_room else done)
        return results

    def _warm_up(
        self, job: Job, steps: Mapping[StepKey, PreparedStep], failed: Callable[[StepKey, Exception], None]
    ) -> None:
        """Warm up each step, but for those of a reference that an earlier job warmed up."""
        cold = [(key, step) for key, step in steps.items() if step.warm is None]
        for number, (key, step) in enumerate(cold, 1):
            self.say("warming", index=key[0], number=number, of=len(cold))
            try:
                step.warm = warm_up(step.block, job.bench)
            except Exception as error:
                failed(key, error)

    def _rounds(
        self,
        job: Job,
        steps: Mapping[StepKey, PreparedStep],
        references: Mapping[tuple[str, str], PreparedStep],
        failed: Callable[[StepKey, Exception], None],
    ) -> tuple[dict[StepKey, Times], dict[str, Any]]:
        """Time all steps in interleaved rounds; return their times, and the state of the machine meanwhile."""
        pairs = {
            key: _pair(key, step, references)
            for key, step in steps.items()
            if key[0] != REFERENCE or job.reference in job.networks
        }
        for step in steps.values():
            step.singles_s.clear()  # the reference's, of an earlier job
        retries = self._alloc_retries()
        self.conditions.start_rounds()
        times = interleave(pairs, job.bench, job.seed, failed, lambda done, of: self.say("round", number=done, of=of))
        conditions = self.conditions.summary()
        if self._alloc_retries() > retries:
            short = "memory was so short that the allocator had to give some back during the timing"
            conditions["warnings"].append(short)
        return times, conditions

    def _roofline(self, index: int, model: nn.Module | None, measured: Measured) -> dict[str, Any] | None:
        """Time the parts of a network in the faster layout of eager inference, where that was timed."""
        timed = [t.setting for t in measured.timings if t.best and t.setting.kind == "infer"]
        if model is None or not timed:
            return None
        self.say("roofline", index=index)
        eager = [setting for setting in timed if setting.mode == "eager"]
        setting = eager[0] if eager else replace(timed[0], mode="eager")
        try:
            return roofline.view(in_form(model, setting.form), setting, self.device)
        except Exception as error:  # the timings are known already; losing the roofline must not cost them
            return {"error": failure(error, setting)}

    def _alloc_retries(self) -> int:
        """How often a GPU's allocator had to free cached memory before it could go on."""
        return torch.cuda.memory_stats(self.device).get("num_alloc_retries", 0) if self.device.type == "cuda" else 0


def _steps(loaded: Mapping[int, LoadedNetwork]) -> Iterator[tuple[StepKey, PreparedStep]]:
    """Every step once, also where a network of the job is the reference itself."""
    seen = set()
    for index, network in sorted(loaded.items()):
        if id(network) not in seen:
            seen.add(id(network))
            yield from (((index, setting), step) for setting, step in network.steps.items())


def _references(steps: Mapping[StepKey, PreparedStep]) -> dict[tuple[str, str], PreparedStep]:
    """The reference's steps by kind and mode, in the layout that was faster in its warm-up."""
    best: dict[tuple[str, str], PreparedStep] = {}
    for (index, setting), step in steps.items():
        key = (setting.kind, setting.mode)
        if index != REFERENCE or step.warm is None:
            continue
        if key not in best or step.warm.step_s < (best[key].warm or step.warm).step_s:
            best[key] = step
    return best


def _pair(key: StepKey, step: PreparedStep, references: Mapping[tuple[str, str], PreparedStep]) -> Pair:
    """A step and the reference's that it is timed beside."""
    reference = references.get((key[1].kind, key[1].mode))
    if reference is None or reference is step:
        return Pair(step.seconds_per_step, None)
    return Pair(step.seconds_per_step, reference.seconds_per_step)
