"""From timed blocks to the results of each network."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from archsearch.benchmark.jobs import Measured
from archsearch.benchmark.loading import LoadedNetwork, PreparedStep
from archsearch.benchmark.protocol import Times
from archsearch.benchmark.timing import Setting, Timing
from archsearch.recipes import NO_TRAINING
from archsearch.stats.intervals import median_and_tail

#: A step to time: its network's index in the job, and its setting.
StepKey = tuple[int, Setting]


def timings_of(
    index: int,
    loaded: LoadedNetwork,
    times: Mapping[StepKey, Times],
    references: Mapping[tuple[str, str], PreparedStep],
    energies: Mapping[StepKey, float | None],
) -> tuple[Timing, ...]:
    """Return the timings of a network, with the faster layout of each step marked.

    Args:
        index: Index that its steps have in ``times``.
        loaded: The network, with its steps and errors.
        times: Seconds per step, round by round, and the reference's beside them.
        references: The reference's steps by kind and mode.
        energies: Millijoules per image, where they were read.
    """
    return _with_best(tuple(_timings(index, loaded, times, references, energies)))


def _timings(
    index: int,
    loaded: LoadedNetwork,
    times: Mapping[StepKey, Times],
    references: Mapping[tuple[str, str], PreparedStep],
    energies: Mapping[StepKey, float | None],
) -> Iterator[Timing]:
    for setting in dict.fromkeys((*loaded.steps, *loaded.errors)):
        if setting in loaded.errors:
            yield Timing(setting, error=loaded.errors[setting])
            continue
        step, key = loaded.steps[setting], (index, setting)
        assert step.warm is not None, "timed without a warm-up"  # noqa: S101 - a defect, not a user's input
        blocks = tuple(own for own, _ in times[key])
        beside = tuple(reference for _, reference in times[key] if reference is not None)
        is_reference = references.get((setting.kind, setting.mode)) is step
        yield Timing(
            setting,
            blocks_s=blocks,
            reference_s=blocks if is_reference else beside,
            steps_per_block=step.warm.steps,
            warmup_blocks=step.warm.blocks,
            settled=step.warm.settled,
            peak_memory_mb=step.peak_memory_mb,
            energy_mj=energies.get(key),
            single_steps_s=median_and_tail(step.singles_s) if step.singles_s else None,
            runtime=step.runtime,
        )


def _with_best(timings: tuple[Timing, ...]) -> tuple[Timing, ...]:
    """Mark the faster layout of each kind and mode."""
    best: dict[tuple[str, str], Timing] = {}
    for timing in timings:
        key = (timing.setting.kind, timing.setting.mode)
        if not timing.error and (key not in best or _speed(timing) > _speed(best[key])):
            best[key] = timing
    return tuple(replace(t, best=best.get((t.setting.kind, t.setting.mode)) is t) for t in timings)


def _speed(timing: Timing) -> float:
    return timing.throughput if timing.ratio is None else timing.ratio


def error_lines(loaded: LoadedNetwork) -> tuple[str, ...]:
    """Return a line for each step of a network that cannot be timed, but for those that no network has."""
    errors = ((s, error) for s, error in loaded.errors.items() if error != NO_TRAINING)
    return tuple(f"{s.kind}, {s.mode}, {s.layout}: {error}" for s, error in errors)


def untimed(loaded: LoadedNetwork) -> Measured:
    """Return the results of a network of which nothing is timed: its counts and errors."""
    return replace(loaded.measured, timings=tuple(Timing(s, error=e) for s, e in loaded.errors.items()))
