"""Plans of a fidelity study: which architectures are trained, and with which schedules."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from archsearch.arch.networks import network
from archsearch.arch.paper import Published
from archsearch.errors import OptionError, StudyFileError, UserError, unknown
from archsearch.recipes import ProxyRecipe
from archsearch.space.space import Space

#: Fewest architectures for which a rank correlation means anything.
FEWEST = 6
#: Name of the long schedule, in plans and records.
REFERENCE = "reference"
#: First seed of the reference, beyond those of any schedule: an initialisation or a data order that both had would lend
#: their rankings agreement. It is fixed, so that more seeds of a schedule train no reference again.
REFERENCE_SEED = 1000
#: Splits that a reference can be judged on.
JUDGED = ("test", "val")


@dataclass(frozen=True)
class Schedule:
    """One way to train proxy networks.

    Attributes:
        name: Name in tables.
        proxy: Proxy recipe.
        seeds: Number of trainings of each architecture.
    """

    name: str
    proxy: ProxyRecipe
    seeds: int


@dataclass(frozen=True)
class Plan:
    """Architectures and the schedules that train them.

    Attributes:
        name: Name of the plan's file.
        title: One line for people.
        space: Space that the architectures are drawn from.
        archs: Number of architectures.
        schedules: Short schedules, whose rankings are judged.
        reference: Long schedule that they are judged by.
        judged: Split that the reference is judged on, of ``JUDGED``. Schedules are judged on ``val``, as candidates
            are; on other images, ``test``, no image that both found easy lends them agreement.
        first_seed: First seed of the reference.
        paper: Rows of the paper's tables that are trained as well.
        paper_schedules: Schedules that train these rows.
    """

    name: str
    title: str
    space: Space
    archs: int
    schedules: tuple[Schedule, ...]
    reference: Schedule
    judged: str = "test"
    first_seed: int = REFERENCE_SEED
    paper: tuple[Published, ...] = ()
    paper_schedules: tuple[Schedule, ...] = ()

    @property
    def all_schedules(self) -> tuple[Schedule, ...]:
        """The short schedules, then the reference."""
        return (*self.schedules, self.reference)

    def seeds_of(self, schedule: Schedule) -> range:
        """Return the seeds of a schedule's trainings; none of the reference's is that of another schedule.

        >>> from archsearch.fidelity.yaml import load_plan
        >>> plan = load_plan("inception_dw_drawn")
        >>> plan.seeds_of(plan.schedules[0]), plan.seeds_of(plan.reference)
        (range(0, 2), range(1000, 1003))
        """
        first = self.first_seed if schedule.name == REFERENCE else 0
        return range(first, first + schedule.seeds)

    def split_of(self, schedule: Schedule) -> str:
        """Return the split that a schedule's trainings are judged on."""
        return self.judged if schedule.name == REFERENCE else "val"

    def only(self, names: Sequence[str]) -> "Plan":
        """Return the plan with these schedules and the reference; with all of them where none is named.

        Raises:
            OptionError: There is no such schedule.
        """
        kept = {*names, REFERENCE}
        if strange := kept - {schedule.name for schedule in self.all_schedules}:
            raise OptionError(unknown("schedule", min(strange), [each.name for each in self.all_schedules]))

        def chosen(schedules: tuple[Schedule, ...]) -> tuple[Schedule, ...]:
            return tuple(each for each in schedules if not names or each.name in kept)

        return replace(self, schedules=chosen(self.schedules), paper_schedules=chosen(self.paper_schedules))

    def with_seeds(self, seeds: int) -> "Plan":
        """Return the plan with another number of trainings of each architecture, in every schedule."""

        def seeded(schedules: tuple[Schedule, ...]) -> tuple[Schedule, ...]:
            return tuple(replace(schedule, seeds=seeds) for schedule in schedules)

        return replace(
            self,
            schedules=seeded(self.schedules),
            reference=replace(self.reference, seeds=seeds),
            paper_schedules=seeded(self.paper_schedules),
        )

    def check(self) -> None:
        """Make sure that every schedule can make a proxy network of what it trains.

        Raises:
            StudyFileError: A proxy network cannot exist, or the seeds are as many as to meet those of the reference;
                the message names the schedule.
        """
        for schedule in (*self.all_schedules, *self.paper_schedules):
            if schedule.name != REFERENCE and schedule.seeds > self.first_seed:
                raise StudyFileError(
                    f"plan {self.name}, {schedule.name!r}: {schedule.seeds} seeds reach into those of the reference, "
                    f"which begin at {self.first_seed}"
                )
        for schedule in self.all_schedules:
            try:
                self.space.check_proxy(schedule.proxy)
                for row in self._rows_of(schedule):
                    schedule.proxy.shrink(network(row.network), num_classes=10)
            except UserError as error:
                reason = f"{error}".partition("; or change the proxy")[0]
                raise StudyFileError(f"plan {self.name}, {schedule.name!r}: {reason}") from None

    def _rows_of(self, schedule: Schedule) -> Iterator[Published]:
        if schedule.name in {each.name for each in self.paper_schedules}:
            yield from self.paper
