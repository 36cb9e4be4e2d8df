"""The speed of the reference that turns relative throughputs into a study's scores.

A network and the reference that is timed in the same rounds are slowed down alike by whatever else a machine does, so
that their ratio holds where images per second do not. A study's speeds are therefore the relative throughput times one
speed of the reference, which is taken once per device, host and timing recipe, and then fixed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from archsearch.arch.networks import find
from archsearch.benchmark.jobs import Job
from archsearch.benchmark.process import StepUncaptured, TimingProcess
from archsearch.benchmark.reference_speed import ReferenceSpeed
from archsearch.benchmark.timing import Timing
from archsearch.errors import OptionError
from archsearch.recipes import BenchRecipe

#: Times that the reference is timed in the hope of an undisturbed timing.
ATTEMPTS = 4


def time_reference(
    bench: BenchRecipe, kinds: Sequence[str], device: str, facts: Mapping[str, Any], cores: Sequence[int] = ()
) -> dict[str, ReferenceSpeed]:
    """Time the reference alone, again where other programs disturb it; return its speed for each kind of step.

    Args:
        bench: Timing recipe.
        kinds: Kinds of step.
        device: Name of the device, as for ``--device``.
        facts: Device, host and versions, for the record.
        cores: Cores that the timing may use; empty for those of this process.

    Raises:
        OptionError: The reference cannot be timed on the device.
    """
    reference = find(bench.reference, bench.img_size or None)
    job = Job((reference,), reference, bench, tuple(kinds), (bench.mode,))
    found: list[dict[str, Timing]] = []
    with TimingProcess(device, cores=cores) as process:
        while len(found) < ATTEMPTS and not (found and not _disturbed(found[-1])):
            found.append(_timings(process, job))
    quiet = [one for one in found if not _disturbed(one)]
    return {
        kind: ReferenceSpeed.of(
            [seconds for one in quiet for seconds in one[kind].blocks_s],
            [seconds for one in found for seconds in one[kind].blocks_s],
            facts,
            "timed for it",
        )
        for kind in kinds
    }


def _timings(process: TimingProcess, job: Job) -> dict[str, Timing]:
    try:
        (measured,) = process.run(job)
    except StepUncaptured as step:
        raise OptionError(f"the reference cannot be timed ({step}); choose another") from None
    best = {timing.setting.kind: timing for timing in measured.timings if timing.best}
    if missing := [kind for kind in job.kinds if kind not in best]:
        reasons = [measured.error, *(timing.error for timing in measured.timings)]
        why = "; ".join(dict.fromkeys(filter(None, reasons)))
        raise OptionError(f"the reference cannot be timed ({missing[0]}: {why}); choose another")
    return best


def _disturbed(timings: Mapping[str, Timing]) -> bool:
    return any(timing.conditions.get("warnings") for timing in timings.values())
