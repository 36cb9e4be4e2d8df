"""Times networks side by side, by the protocol; runs in a process of its own."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from archsearch.benchmark import roofline
from archsearch.benchmark.clocks import synchronize
from archsearch.benchmark.conditions import Conditions
from archsearch.benchmark.exclusive import alone
from archsearch.benchmark.jobs import Job, Measured, Network
from archsearch.benchmark.nvml import Nvml
from archsearch.benchmark.protocol import Pair, Times, interleave, warm_up
from archsearch.benchmark.residents import Contender, Resident, bring, nearly_full, reason, survive, tidy
from archsearch.benchmark.timed_steps import check_device, set_precision
from archsearch.benchmark.timing import Setting, Timing
from archsearch.errors import OptionError
from archsearch.nn.device import environment, identity, is_out_of_memory

#: Seconds over which a GPU's energy counter is read: it moves in steps of some 0.1 s.
ENERGY_S = 3.0

#: Told what is going on: an event's name, and its details.
Say = Callable[..., None]

#: A contender's place: the network's index in its job, and what is timed of it.
Place = tuple[int, Setting]
#: Index of the reference.
REFERENCE = -1


class Bencher:
    """Runs jobs on one device, one after another; the reference stays where it is between them."""

    def __init__(self, device: torch.device, say: Say) -> None:
        self.device, self.say = device, say
        self.nvml = Nvml(identity(device)) if device.type == "cuda" else None
        self.conditions = Conditions(self.nvml)
        self._kept: dict[tuple[Any, ...], Resident] = {}

    def run(self, job: Job) -> list[Measured]:
        """What became of each network, in order.

        Raises:
            OptionError: the device cannot do what the job asks for.
            DeviceLost: an error that the device does not recover from.
        """
        for mode in job.modes:
            check_device(replace(job.bench, mode=mode), self.device)
        set_precision(job.bench.precision)
        torch.manual_seed(job.seed)
        with alone(identity(self.device), lambda holder: self.say("waiting", holder=holder)):
            self.conditions = Conditions(self.nvml)
            synchronize(self.device)
            self.conditions.before()
            residents = self._load(job)
            asked = [residents[index] for index, _ in enumerate(job.networks)]
            if job.probe or not any(resident.contenders for resident in asked):
                unknown = _errors(residents[REFERENCE])
                return [replace(_errors_only(resident), reference_errors=unknown) for resident in asked]
            results = self._time(job, residents)
            models = [resident.model for resident in asked]
            del asked
            residents.clear()
            if job.roofline:
                self._kept.clear()
            tidy(self.device)
            return [replace(m, roofline=self._roofline(i, models[i], m)) for i, m in enumerate(results)]

    def _load(self, job: Job) -> dict[int, Resident]:
        """All networks that fit beside each other; the others are deferred."""
        key = (job.reference, job.bench, job.kinds, job.modes, job.thorough, job.roofline)
        if key not in self._kept:
            self._kept.clear()
            reference = self._bring(job.reference, REFERENCE, job)
            if reference.measured.error:
                raise OptionError(f"the reference cannot be timed: {reference.measured.error}; choose another")
            self._kept[key] = reference
        residents = {REFERENCE: self._kept[key]}
        for index, network in enumerate(job.networks):
            if network == job.reference:
                residents[index] = residents[REFERENCE]
                continue
            beside = any(resident.contenders for number, resident in residents.items() if number != REFERENCE)
            if beside and nearly_full(self.device):
                residents[index] = Resident(measured=Measured(deferred=True))
                continue
            residents[index] = self._bring(network, index, job)
            if beside and residents[index].did_not_fit:
                residents[index] = Resident(measured=Measured(deferred=True))
                tidy(self.device)
        return residents

    def _bring(self, network: Network, index: int, job: Job) -> Resident:
        self.say("loading", index=index)
        return bring(network, index, job, self.device, lambda: self.conditions.sample())

    def _time(self, job: Job, residents: dict[int, Resident]) -> list[Measured]:
        contenders = dict(_contenders(residents))
        no_room: set[int] = set()

        def failed(place: Place, error: Exception) -> None:
            """One candidate's end, not the others': what it held is given back."""
            index, setting = place
            if is_out_of_memory(error) and len({other for other, _ in contenders}) > 2:
                no_room.add(index)
            residents[index].errors[setting] = reason(error, setting)
            del contenders[place], residents[index].contenders[setting]
            error.__traceback__ = error.__context__ = error.__cause__ = None
            self._kept.clear()  # it may have been the reference's block: the next job brings that anew
            survive(self.device, residents[index].errors[setting], index)

        self._warm_up(job, contenders, failed)
        references = _references(contenders)
        pairs = {
            place: _pair(place, each, references)
            for place, each in contenders.items()
            if place[0] != REFERENCE or job.reference in job.networks
        }
        retries = self._retries()
        self.conditions.started()
        times = interleave(pairs, job.bench, job.seed, failed, lambda done, of: self.say("round", number=done, of=of))
        told = self.conditions.told()
        if self._retries() > retries:
            told["warnings"].append("memory was so short that the allocator had to give some back during the timing")
        read = [place for place in times if job.thorough or (job.energy and place[1].kind == "infer")]
        energies = {place: self._energy(contenders[place]) for place in read}
        facts, unknown = environment(self.device), _errors(residents[REFERENCE])
        results = []
        for index, network in enumerate(job.networks):
            resident, own = residents[index], REFERENCE if network == job.reference else index
            timings = _marked(tuple(_timings(own, resident, times, references, energies)))
            timings = tuple(replace(timing, conditions=told) for timing in timings)
            done = replace(resident.measured, timings=timings, environment=facts, reference_errors=unknown)
            results.append(Measured(deferred=True) if index in no_room else done)
        return results

    def _warm_up(
        self, job: Job, contenders: Mapping[Place, Contender], failed: Callable[[Place, Exception], None]
    ) -> None:
        """Each contender; a reference that an earlier job warmed up is still itself."""
        cold = [(place, contender) for place, contender in contenders.items() if contender.warm is None]
        for number, (place, contender) in enumerate(cold, 1):
            self.say("warming", index=place[0], number=number, of=len(cold))
            try:
                contender.warm = warm_up(contender.block, job.bench)
            except Exception as error:
                failed(place, error)

    def _energy(self, contender: Contender) -> float | None:
        """Millijoules per image, from one step of the device's counter to another; None where it has none."""
        if self.nvml is None or self.nvml.energy_mj() is None:
            return None
        try:
            before, _ = self._counted(contender, 0.0)
            after, steps = self._counted(contender, ENERGY_S)
        except Exception:  # the figures that are there already are worth more
            return None
        if before is None or after is None:
            return None
        return (after - before) / (steps * contender.setting.batch_size)

    def _counted(self, contender: Contender, seconds: float) -> tuple[int | None, int]:
        """Runs blocks for some seconds and on until the energy counter moves; its new value, and the steps."""
        assert self.nvml is not None, "no counter"  # noqa: S101 - a defect, not a user's input
        assert contender.warm is not None, "not warmed up"  # noqa: S101 - likewise
        start, steps, last = time.monotonic(), 0, self.nvml.energy_mj()
        while True:
            long_enough = time.monotonic() - start >= seconds
            contender.seconds_per_step()
            steps += 1 + contender.warm.steps  # one runs ahead
            now = self.nvml.energy_mj()
            if now is None or time.monotonic() - start > seconds + ENERGY_S:
                return None, steps
            if long_enough and now != last:
                return now, steps
            last = now

    def _roofline(self, index: int, model: nn.Module | None, measured: Measured) -> dict[str, Any] | None:
        """In the better layout of eager inference, where that was timed."""
        timed = [t.setting for t in measured.timings if t.best and t.setting.kind == "infer"]
        if model is None or not timed:
            return None
        self.say("roofline", index=index)
        eager = [setting for setting in timed if setting.mode == "eager"]
        setting = eager[0] if eager else replace(timed[0], mode="eager")
        try:
            return roofline.view(copy.deepcopy(model), setting, self.device)
        except Exception as error:  # the figures that are there already are worth more
            return {"error": reason(error, setting)}

    def _retries(self) -> int:
        """How often the allocator of a GPU had to give memory back before it could go on."""
        return torch.cuda.memory_stats(self.device).get("num_alloc_retries", 0) if self.device.type == "cuda" else 0


def _errors(resident: Resident) -> tuple[str, ...]:
    return tuple(f"{s.kind}, {s.mode}, {s.layout}: {error}" for s, error in resident.errors.items())


def _errors_only(resident: Resident) -> Measured:
    """What there is to say of a network without timing it."""
    return replace(resident.measured, timings=tuple(Timing(s, error=e) for s, e in resident.errors.items()))


def _contenders(residents: Mapping[int, Resident]) -> Iterator[tuple[Place, Contender]]:
    """Each contender once, also where a candidate is the reference itself."""
    seen = set()
    for index, resident in sorted(residents.items()):
        if id(resident) not in seen:
            seen.add(id(resident))
            yield from (((index, setting), contender) for setting, contender in resident.contenders.items())


def _references(contenders: Mapping[Place, Contender]) -> dict[tuple[str, str], Contender]:
    """The reference by kind and mode, in the layout that was faster in its warm-up."""
    best: dict[tuple[str, str], Contender] = {}
    for (index, setting), contender in contenders.items():
        key = (setting.kind, setting.mode)
        if index != REFERENCE or contender.warm is None:
            continue
        if key not in best or contender.warm.step_s < (best[key].warm or contender.warm).step_s:
            best[key] = contender
    return best


def _pair(place: Place, contender: Contender, references: Mapping[tuple[str, str], Contender]) -> Pair:
    reference = references.get((place[1].kind, place[1].mode))
    if reference is None or reference is contender:
        return Pair(contender.seconds_per_step, None)
    return Pair(contender.seconds_per_step, reference.seconds_per_step)


def _timings(
    index: int,
    resident: Resident,
    times: Mapping[Place, Times],
    references: Mapping[tuple[str, str], Contender],
    energies: Mapping[Place, float | None],
) -> Iterator[Timing]:
    for setting in dict.fromkeys((*resident.contenders, *resident.errors)):
        if setting in resident.errors:
            yield Timing(setting, error=resident.errors[setting])
            continue
        contender, place = resident.contenders[setting], (index, setting)
        assert contender.warm is not None, "timed without a warm-up"  # noqa: S101 - a defect, not a user's input
        blocks = tuple(own for own, _ in times[place])
        beside = tuple(reference for _, reference in times[place] if reference is not None)
        itself = references.get((setting.kind, setting.mode)) is contender
        yield Timing(
            setting,
            blocks_s=blocks,
            reference_s=blocks if itself else beside,
            steps_per_block=contender.warm.steps,
            warmup_blocks=contender.warm.blocks,
            settled=contender.warm.settled,
            peak_memory_mb=contender.peak_memory_mb,
            energy_mj=energies.get(place),
        )


def _marked(timings: tuple[Timing, ...]) -> tuple[Timing, ...]:
    """The same, with the better layout of each kind and mode marked, by its ratio where there is one."""
    best: dict[tuple[str, str], Timing] = {}
    for timing in timings:
        key = (timing.setting.kind, timing.setting.mode)
        if not timing.error and (key not in best or _speed(timing) > _speed(best[key])):
            best[key] = timing
    return tuple(replace(t, best=best.get((t.setting.kind, t.setting.mode)) is t) for t in timings)


def _speed(timing: Timing) -> float:
    return timing.throughput if timing.ratio is None else timing.ratio
