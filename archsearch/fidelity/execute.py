"""Carry out a plan: draw architectures, score them untrained, and train all of them with every schedule."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from archsearch.data import ImageData, load, reduce
from archsearch.data.folder import Track
from archsearch.errors import UserError
from archsearch.evaluate.machine import Machine, Source, machine_for
from archsearch.evaluate.train_jobs import TrainJob, train_all
from archsearch.fidelity.plan import Plan, Schedule
from archsearch.fidelity.spec import FidelitySpec
from archsearch.fidelity.subjects import Subject, draw, published, zero_cost
from archsearch.fidelity.training_records import facts_of, record_of
from archsearch.recipes import ProxyRecipe
from archsearch.trial import Evaluation


@dataclass(frozen=True)
class PlanStarted:
    """A plan whose data are loaded; architectures are now drawn and counted.

    Attributes:
        plan: The plan.
        facts: What every record of a schedule says of data, recipe and device, by the schedule's name.
    """

    plan: Plan
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingsStarted:
    """All architectures are drawn; their trainings begin.

    Attributes:
        total: Number of trainings.
    """

    total: int


@dataclass(frozen=True)
class TrainingDone:
    """A training that has ended.

    Attributes:
        record: Its row of the table that ``run`` returns.
        place: Index of that row.
        work: About what it costs, as a share of all trainings.
    """

    record: Mapping[str, Any]
    place: int
    work: float


#: What a fidelity study reports while it runs.
FidelityEvent = PlanStarted | TrainingsStarted | TrainingDone

#: Progress callback of a fidelity study.
FidelityProgress = Callable[[FidelityEvent], None]
#: One training: what, how, and with which seed.
Training = tuple[Subject, Schedule, int]


def run(
    plan: Plan,
    spec: FidelitySpec | None = None,
    progress: FidelityProgress | None = None,
    track: Track | None = None,
) -> pd.DataFrame:
    """Train the architectures of a plan with every schedule.

    Finished trainings are kept in the disk cache, so that an interrupted plan goes on where it was.

    Args:
        plan: Architectures and schedules.
        spec: Data, device and workers; None for the defaults.
        progress: Progress callback.
        track: Progress display around the decoding of a data folder; None for no display.

    Returns:
        A row per training, schedule by schedule: network, schedule, seed, accuracy, losses per epoch, seconds, error,
        MACs, parameters, what it was judged on, recipe, data, device, scores without training and the values of the
        space's axes. ``FidelityReport.of`` reads it.

    Raises:
        UserError: The device is missing, the data set has fewer images than the plan asks for, the space has too few
            architectures, or a schedule is unknown or cannot make their proxy networks.
        ArchsearchError: A training ended its process several times.
    """
    spec, progress = spec or FidelitySpec(), progress or _ignore
    machine, chosen = machine_of(spec), plan.only(spec.only)
    plan.check()
    data = _load(plan, spec, track)
    facts = {each.name: facts_of(plan, each, data[each.proxy.img_size], machine) for each in chosen.all_schedules}
    progress(PlanStarted(chosen, facts))
    # By the reference alone: one more schedule draws no other architectures, and gives them no other scores.
    subjects = draw(plan.space, plan.archs, [plan.reference.proxy], spec.seed)
    long = plan.reference.proxy
    images = reduce(data[long.img_size], long)
    untrained = {subject.name: scores for subject, scores in zero_cost(subjects, long, images)}
    asked = trainings(chosen, subjects, published(chosen) if chosen.paper_schedules else ())
    work = _Work(chosen, asked, _shares(asked, data[long.img_size]), untrained, facts)
    return _train(work, spec, machine, progress)


def machine_of(spec: FidelitySpec) -> Machine:
    """Return the devices and the workers of a spec.

    Raises:
        OptionError: The device is missing.
    """
    return machine_for(spec.device, spec.workers, threads=1)


def _ignore(event: FidelityEvent) -> None:
    """Do nothing with an event."""


def _load(plan: Plan, spec: FidelitySpec, track: Track | None) -> dict[int, ImageData]:
    """Decode the data set at every resolution of a plan, so that workers need not; return it by resolution."""
    sizes = dict.fromkeys(schedule.proxy.img_size for schedule in plan.all_schedules)
    found = {size: load(spec.dataset, spec.data_root, size, track) for size in sizes}
    check_samples(plan, next(iter(found.values())))
    return found


def check_samples(plan: Plan, data: ImageData) -> None:
    """Make sure that the data set has as many images to train with as a plan asks for; it may have fewer to judge by.

    Raises:
        UserError: It has fewer, so that schedules would not be what their names say.
    """
    for schedule in plan.all_schedules:
        wanted, count = schedule.proxy.train_samples, len(data.train)
        if wanted > count:
            raise UserError(
                f"plan {plan.name}: {schedule.name!r} asks for {wanted} images, and {data.name} has {count}; "
                "use a larger --dataset, or a plan of your own"
            )


def trainings(plan: Plan, subjects: Sequence[Subject], paper: Sequence[Subject]) -> list[Training]:
    """Return everything that a plan trains, schedule by schedule and seed by seed."""
    own = [(subject, s, seed) for s in plan.all_schedules for seed in plan.seeds_of(s) for subject in subjects]
    theirs = [(subject, s, seed) for s in plan.paper_schedules for seed in plan.seeds_of(s) for subject in paper]
    return own + theirs


@dataclass(frozen=True)
class _Work:
    """All trainings of a plan, with the share of all work that each is.

    ``untrained`` has scores by the subject's name, ``facts`` what records say by the schedule's.
    """

    plan: Plan
    asked: Sequence[Training]
    shares: Sequence[float]
    untrained: Mapping[str, Mapping[str, float]]
    facts: Mapping[str, Mapping[str, Any]]

    def jobs(self) -> list[TrainJob]:
        """Return what workers are given; the cache keeps an accuracy on test images, and no weights."""
        return [
            TrainJob(subject.arch, schedule.proxy, seed, self.plan.split_of(schedule) == "test", keeps_weights=False)
            for subject, schedule, seed in self.asked
        ]

    def record(self, place: int, evaluation: Evaluation) -> dict[str, Any]:
        """Return the record of a training."""
        subject, schedule, seed = self.asked[place]
        made = record_of(subject, schedule, seed, evaluation, self.facts[schedule.name])
        return made | dict(self.untrained.get(subject.name, {}))


def _train(work: _Work, spec: FidelitySpec, machine: Machine, progress: FidelityProgress) -> pd.DataFrame:
    """Train all, several at a time."""
    source = Source(spec.dataset, spec.data_root, spec.mixers, spec.retrain)
    records: dict[int, dict[str, Any]] = {}
    progress(TrainingsStarted(len(work.asked)))
    for place, evaluation in train_all(work.jobs(), source, machine):
        records[place] = work.record(place, evaluation)
        progress(TrainingDone(records[place], place, work.shares[place]))
    return pd.DataFrame([records[place] for place in sorted(records)])


def _shares(asked: Sequence[Training], data: ImageData) -> list[float]:
    """Return about what each training costs, as a share of all."""
    work = [_work(schedule.proxy, data) for _, schedule, _ in asked]
    return [each / sum(work) for each in work]


def _work(proxy: ProxyRecipe, data: ImageData) -> float:
    """Return about what a training costs, in positions of the first stage that it computes, weighted by width."""
    side = proxy.img_size / (proxy.stem_patch_size or 4)
    images = proxy.per_epoch(proxy.train_samples or len(data.train)) + (proxy.val_samples or len(data.val)) / 3
    return proxy.epochs * images * side**2 * proxy.width**2
