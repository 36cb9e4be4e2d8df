"""Hand a study's candidates to its engine."""

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from archsearch.search.place import Place
from archsearch.search.spec import Engine, StudySpec

if TYPE_CHECKING:
    from archsearch.data import ImageData
    from archsearch.evaluate.evaluator import StudyWork
    from archsearch.evaluate.machine import Machine
    from archsearch.search.definition import Study
    from archsearch.search.engines.runner import Runner


def carry_out(
    spec: StudySpec, runner: "Runner", study: "Study", data: "ImageData", place: Place, fixed: Mapping[str, float]
) -> None:
    """Evaluate a study's candidates with its engine until the runner has no more.

    Args:
        spec: What is asked for.
        runner: Source of the candidates, and where their evaluations go.
        study: Definition of the study.
        data: Data set, reduced to what the proxy recipe uses.
        place: Where candidates are evaluated.
        fixed: Fixed seconds per step of the reference, by kind of step.
    """
    from archsearch.evaluate.machine import Machine, devices_for
    from archsearch.search.engines.local import run_local
    from archsearch.search.engines.runner import run_here

    if place.share is not None:
        _on_ray(spec, runner, study, data, place, fixed)
        return
    devices = devices_for(spec.device)
    machine = Machine.here(devices, workers_of(spec.engine, devices, runner.left))
    work = work_of(spec, study, machine, fixed)
    if not machine.workers:
        with contextlib.closing(dataclasses.replace(work, data=data)(0)) as evaluate:
            run_here(runner, evaluate)
    else:
        run_local(runner, work, machine.workers, spec.engine.trial_timeout, machine.together)


def _on_ray(
    spec: StudySpec, runner: "Runner", study: "Study", data: "ImageData", place: Place, fixed: Mapping[str, float]
) -> None:
    from archsearch.data.images import to_arrays
    from archsearch.evaluate.evaluator import begin_remotely
    from archsearch.evaluate.machine import Machine
    from archsearch.search.engines.ray_tune import run_ray

    assert place.share is not None  # noqa: S101 - it is on Ray
    machine = Machine((place.device,), 1, (), max(1, int(place.share.cpus)))
    parameters = {
        "work": work_of(spec, study, machine, fixed),
        "arrays": to_arrays(data),
        "mixers": {path.name: path.read_bytes() for path in spec.mixers},
        "device_name": study.device,
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    run_ray(runner, begin_remotely, place.share, parameters, spec.engine.workers, spec.engine.trial_timeout)


def workers_of(engine: Engine, devices: Sequence[str], trials: int) -> int:
    """Return the number of workers: as many as asked for, and no more than there are trials for."""
    from archsearch.evaluate.machine import default_workers

    wanted: int = default_workers(devices) if engine.workers is None else engine.workers
    return min(wanted, max(1, trials))


def work_of(spec: StudySpec, study: "Study", machine: "Machine", fixed: Mapping[str, float]) -> "StudyWork":
    """Return what workers need to evaluate the candidates of a study."""
    from archsearch.evaluate.evaluator import StudyWork
    from archsearch.evaluate.machine import Source

    source = Source(spec.dataset, spec.data_root, tuple(spec.mixers), spec.retrain)
    return StudyWork(
        source,
        machine,
        study.objectives,
        study.proxy,
        study.bench,
        spec.remeasure,
        constraints=study.constraints,
        baseline=study.space.baseline,
        seeds=study.seeds,
        fixed=fixed,
        speeds=study.speeds,
    )
