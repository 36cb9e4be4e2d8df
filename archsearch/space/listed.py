"""A space of which only some architectures can be evaluated, those of a list."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property

from archsearch.arch import Arch
from archsearch.arch.params import Value
from archsearch.errors import ArchError
from archsearch.space.locate import locate
from archsearch.space.space import Params, Space


@dataclass(frozen=True)
class ListedSpace(Space):
    """A space whose points are those of a list; at others, no architecture exists.

    Attributes:
        listed: Points, as values of their open axes, each of another architecture.
        lacking: Why others do not exist, in words.
    """

    listed: tuple[Params, ...] = ()
    lacking: str = ""

    @classmethod
    def of(cls, space: Space, archs: Iterable[Arch], lacking: str) -> "ListedSpace":
        """Return a space with those architectures alone that are on a list; others of the list are left out.

        Args:
            space: Whole space.
            archs: Architectures.
            lacking: Why others do not exist, in words.
        """
        found = (locate(space, arch) for arch in dict.fromkeys(archs))
        listed = tuple(params for params in found if params is not None)
        return cls(**{f.name: getattr(space, f.name) for f in fields(Space)}, listed=listed, lacking=lacking)

    @property
    def whole(self) -> Space:
        """The space that the list is of."""
        return Space(**{f.name: getattr(self, f.name) for f in fields(Space)})

    @cached_property
    def _archs(self) -> frozenset[Arch]:
        return frozenset(super(ListedSpace, self).arch(params) for params in self.listed)

    def arch(self, params: Params) -> Arch:
        """Return the architecture at a point of the space.

        Raises:
            ArchError: It cannot exist, or is not on the list.
        """
        arch = super().arch(params)
        if arch not in self._archs:
            raise ArchError(self.lacking)
        return arch

    def grid(self) -> Iterator[dict[str, Value]]:
        """Return all points of the list."""
        return map(dict, self.listed)

    def points(self) -> int:
        """Return the number of points of the list."""
        return len(self.listed)

    def sample(self, rng: random.Random) -> dict[str, Value]:
        """Draw a point of the list."""
        return dict(rng.choice(self.listed))
