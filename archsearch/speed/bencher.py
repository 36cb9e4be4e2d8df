"""Times networks side by side, by the protocol; runs in a process of its own."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from archsearch.errors import OptionError
from archsearch.measure.device import environment, identity
from archsearch.speed import roofline
from archsearch.speed.clocks import synchronize
from archsearch.speed.conditions import Conditions
from archsearch.speed.exclusive import alone
from archsearch.speed.nvml import Nvml
from archsearch.speed.plan import Job, Measured
from archsearch.speed.protocol import Pair, Times, interleave, warm_up
from archsearch.speed.residents import Contender, Resident, bring, is_out_of_memory, nearly_full, reason, tidy
from archsearch.speed.steps import check_device, set_precision
from archsearch.speed.timing import Setting, Timing

#: Seconds over which a GPU's energy counter is read: it moves in steps of some 0.1 s.
ENERGY_S = 1.0

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
        self._kept: dict[tuple[Any, ...], Resident] = {}

    def run(self, job: Job) -> list[Measured]:
        """What became of each network, in order.

        Raises:
            OptionError: the device cannot do what the job asks for.
        """
        for mode in job.modes:
            check_device(replace(job.bench, mode=mode), self.device)
        set_precision(job.bench.precision)
        torch.manual_seed(job.seed)
        with alone(identity(self.device), lambda holder: self.say("waiting", holder=holder)):
            conditions = Conditions(self.nvml)
            synchronize(self.device)
            conditions.before()
            residents = self._load(job)
            try:
                return self._time(job, residents, conditions)
            finally:
                residents.clear()
                tidy(self.device)

    def _load(self, job: Job) -> dict[int, Resident]:
        """All networks that fit beside each other; the others are deferred."""
        key = (job.reference, job.bench, job.kinds, job.modes, job.thorough, job.roofline)
        if key not in self._kept:
            self._kept.clear()
            self.say("loading", index=REFERENCE)
            reference = bring(job.reference, job, self.device)
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
            self.say("loading", index=index)
            residents[index] = bring(network, job, self.device)
            if beside and residents[index].did_not_fit:
                residents[index] = Resident(measured=Measured(deferred=True))
                tidy(self.device)
        return residents

    def _time(self, job: Job, residents: dict[int, Resident], conditions: Conditions) -> list[Measured]:
        contenders = dict(_contenders(residents))
        late = self._warm_up(job, contenders)
        references = _references(contenders)
        pairs = {place: _pair(place, each, references) for place, each in contenders.items() if place not in late}
        conditions.started()

        def on_round(done: int) -> None:
            conditions.sample()
            self.say("round", number=done, of=job.bench.rounds)

        times, errors = interleave(pairs, job.bench, job.seed, on_round)
        late |= errors
        for (index, setting), error in late.items():
            residents[index].errors[setting] = reason(error, setting)
        told = conditions.told()
        energies = {place: self._energy(contenders[place]) for place in times} if job.thorough else {}
        crowded = len({index for index, _ in contenders}) > 2
        no_room = {index for (index, _), error in late.items() if crowded and is_out_of_memory(error)}
        facts = environment(self.device)
        results = []
        for index, network in enumerate(job.networks):
            resident, own = residents[index], REFERENCE if network == job.reference else index
            timings = _marked(tuple(_timings(own, resident, times, references, energies)))
            timings = tuple(replace(timing, conditions=told) for timing in timings)
            measured = replace(resident.measured, timings=timings, environment=facts)
            done = replace(measured, roofline=self._roofline(index, resident, measured))
            results.append(Measured(deferred=True) if index in no_room else done)
        return results

    def _warm_up(self, job: Job, contenders: Mapping[Place, Contender]) -> dict[Place, Exception]:
        errors: dict[Place, Exception] = {}
        for number, (place, contender) in enumerate(contenders.items(), 1):
            self.say("warming", index=place[0], number=number, of=len(contenders))
            try:
                contender.warm = warm_up(contender.block, job.bench)
            except Exception as error:  # one candidate's end, not the others'
                errors[place] = error
        return errors

    def _energy(self, contender: Contender) -> float | None:
        """Millijoules per image; None where the device does not count them."""
        if self.nvml is None or self.nvml.energy_mj() is None:
            return None
        steps = max(1, round(ENERGY_S / contender.seconds_per_step()))
        synchronize(self.device)
        before = self.nvml.energy_mj()
        contender.block(steps)
        after = self.nvml.energy_mj()
        if before is None or after is None:
            return None
        run_ahead = 1 if steps > 1 else 0
        return (after - before) / ((steps + run_ahead) * contender.setting.batch_size)

    def _roofline(self, index: int, resident: Resident, measured: Measured) -> dict[str, Any] | None:
        """In the better layout of eager inference, where that was timed."""
        timed = [t.setting for t in measured.timings if t.best and t.setting.kind == "infer"]
        if resident.model is None or not timed:
            return None
        self.say("roofline", index=index)
        eager = [setting for setting in timed if setting.mode == "eager"]
        setting = eager[0] if eager else replace(timed[0], mode="eager")
        try:
            return roofline.view(copy.deepcopy(resident.model), setting, self.device)
        except Exception as error:  # the figures that are there already are worth more
            return {"error": reason(error, setting)}


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
