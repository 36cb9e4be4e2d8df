"""Plans of a fidelity study: which architectures are trained, and with which schedules."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from archsearch.arch.networks import network
from archsearch.arch.paper import Published
from archsearch.errors import StudyFileError, UserError
from archsearch.recipes import ProxyRecipe
from archsearch.space.space import Space

#: Fewest architectures for which a rank correlation means anything.
FEWEST = 6
#: Name of the long schedule, in plans and records.
REFERENCE = "reference"


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
        paper: Rows of the paper's tables that are trained as well.
        paper_schedules: Schedules that train these rows.
    """

    name: str
    title: str
    space: Space
    archs: int
    schedules: tuple[Schedule, ...]
    reference: Schedule
    paper: tuple[Published, ...] = ()
    paper_schedules: tuple[Schedule, ...] = ()

    @property
    def all_schedules(self) -> tuple[Schedule, ...]:
        """The short schedules, then the reference."""
        return (*self.schedules, self.reference)

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
            StudyFileError: A proxy network cannot exist; the message names the schedule.
        """
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
