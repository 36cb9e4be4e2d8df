"""Search spaces: a baseline ``Arch`` and axes over it, which can be counted, enumerated and sampled."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import MIXER_TYPES
from archsearch.arch.params import Value
from archsearch.errors import ArchError, SpaceError
from archsearch.recipes import BenchRecipe, ProxyRecipe
from archsearch.space.axes import ARCH_AXES, STAGE_AXES, decode
from archsearch.space.proxy_needs import fitted

#: Maximum number of points that are all visited when a space is checked and counted; beyond it, a sample is.
EXHAUSTIVE = 50_000

Params = Mapping[str, Value]


def mixer_axes() -> tuple[str, ...]:
    """Return ``token_mixer`` and the parameters of all mixers, those from users' files included."""
    return ("token_mixer", *dict.fromkeys(name for kind in MIXER_TYPES.values() for name in kind.params))


@dataclass(frozen=True)
class Axis:
    """One dimension of a space.

    Attributes:
        name: Name in the file.
        values: Choices; lists are written ``3-3-9-3``.
        when: Condition: the axis is open only where every named axis has one of these values.
        line: Line in the file; 0 if unknown.
    """

    name: str
    values: tuple[Value, ...]
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    line: int = 0

    def open(self, params: Params) -> bool:
        """Return whether the axis matters, given the values of the axes before it."""
        return all(params.get(name) in allowed for name, allowed in self.when.items())


@dataclass(frozen=True)
class Space:
    """A baseline architecture and the axes over it.

    Attributes:
        name: Name of the space.
        description: Description in one line.
        baseline: Architecture that candidates share where no axis says otherwise.
        axes: Axes in the order of the file.
        proxy: Fields of the proxy recipe that this space changes.
        needs: What its proxy networks need (``archsearch.space.proxy_needs``).
    """

    name: str
    description: str
    baseline: Arch
    axes: tuple[Axis, ...]
    proxy: Mapping[str, Value] = field(default_factory=dict)
    needs: Mapping[str, Any] = field(default_factory=dict)

    def fitted(self, recipe: ProxyRecipe) -> ProxyRecipe:
        """Return a recipe as it makes the proxy networks of this space."""
        return fitted(recipe, self.proxy, self.needs)

    def active(self, genes: Params) -> dict[str, Value]:
        """Return the values of the open axes alone.

        Args:
            genes: Values of all axes, open or not.
        """
        params: dict[str, Value] = {}
        for axis in self.axes:
            if axis.open(params):
                params[axis.name] = genes[axis.name]
        return params

    def genome(self, params: Params) -> dict[str, Value]:
        """Return a value for every axis, open or not; the inverse of ``active``.

        Args:
            params: Values of some axes; the others take their first choice.
        """
        return {axis.name: params.get(axis.name, axis.values[0]) for axis in self.axes}

    def arch(self, params: Params) -> Arch:
        """Return the architecture at a point of the space.

        Args:
            params: Values of the open axes.

        Raises:
            ArchError: It cannot exist.
        """
        base = self.baseline
        fields = {name: decode(name, params[name]) for name in ARCH_AXES if name in params}
        for one, name in STAGE_AXES.items():
            before = fields.get(name, getattr(base, name))
            fields[name] = tuple(params.get(f"stage{i}.{one}", value) for i, value in enumerate(before, 1))
        fields["mixers"] = tuple(self._mixer(stage, params) for stage in range(len(fields["depths"])))
        return base.replace(**fields)

    def possible(self, params: Params) -> Arch | None:
        """Return the architecture at a point; None if it cannot exist (large spaces are not checked in full)."""
        try:
            return self.arch(params)
        except ArchError:
            return None

    def _mixer(self, stage: int, params: Params) -> Mixer:
        def chosen(name: str, default: Any) -> Any:
            return params.get(f"stage{stage + 1}.{name}", params.get(name, default))

        before = self._baseline_mixer(stage)
        kind = chosen("token_mixer", before.token_mixer)
        plain = before if before.token_mixer == kind else Mixer.of(kind)
        return Mixer.of(kind, **{name: chosen(name, value) for name, value in plain.params})

    def _baseline_mixer(self, stage: int) -> Mixer:
        """Return the mixer of a stage; further stages of a candidate are like the baseline's last one."""
        return self.baseline.mixers[min(stage, len(self.baseline.mixers) - 1)]

    def token_mixers(self, stage: int) -> set[str]:
        """Return every type of mixer that a candidate may have in a stage, counted from 0."""
        kinds = {self._baseline_mixer(stage).token_mixer}
        for name in ("token_mixer", f"stage{stage + 1}.token_mixer"):
            for axis in self.axes:
                if axis.name == name:  # an axis that is always open leaves nothing of what was chosen before
                    kinds = {*map(str, axis.values)} | (kinds if axis.when else set())
        return kinds

    def grid(self) -> Iterator[dict[str, Value]]:
        """Return all points of the space, as values of their open axes."""
        return _grid(self.axes, {})

    def points(self) -> int:
        """Return the number of points; two of them may be the same architecture."""
        return _count(self.axes, {}, frozenset(name for axis in self.axes for name in axis.when))

    def sample(self, rng: random.Random) -> dict[str, Value]:
        """Draw a point with a uniform choice on every open axis."""
        return self.active(self.sample_genes(rng))

    def sample_genes(self, rng: random.Random) -> dict[str, Value]:
        """Draw a uniform choice on every axis, open or not."""
        return {axis.name: rng.choice(axis.values) for axis in self.axes}

    def some(self) -> Iterator[dict[str, Value]]:
        """Return all points, or in a large space as many random ones as are checked in seconds."""
        if self.points() <= EXHAUSTIVE:
            return self.grid()
        rng = random.Random(0)
        return (self.sample(rng) for _ in range(EXHAUSTIVE // 10))

    def check_proxy(self, proxy: ProxyRecipe) -> None:
        """Check that every candidate has a proxy network.

        Raises:
            SpaceError: One has none; the message names it.
        """
        self._check(
            lambda arch: proxy.shrink(arch, num_classes=10),
            "the proxy of ({}) cannot exist: {}; or change the proxy (--proxy, --set proxy.width=...)",
        )

    def check_bench(self, bench: BenchRecipe) -> None:
        """Check that the candidates accept images of the size that they are timed with.

        Raises:
            SpaceError: One does not; the message names it.
        """
        if bench.img_size:  # else they are timed at their own
            self._check(bench.resized, "({}) cannot be timed: bench.{}")

    def _check(self, change: Callable[[Arch], Arch], says: str) -> None:
        for params in self.some():
            try:
                change(self.arch(params))
            except ArchError as error:
                what = ", ".join(f"{k} {v}" for k, v in params.items())
                raise SpaceError(f"space {self.name}: {says.format(what, error)}") from None

    def distinct(self) -> int | None:
        """Return the number of distinct architectures; None if there are too many to visit."""
        return self._distinct(lambda arch: arch)

    def distinct_proxies(self, proxy: ProxyRecipe) -> int | None:
        """Return the number of distinct proxy networks; if it is smaller than ``distinct``, some targets share one."""
        return self._distinct(lambda arch: proxy.shrink(arch, num_classes=10))

    def _distinct(self, change: Callable[[Arch], Arch]) -> int | None:
        if self.points() > EXHAUSTIVE:
            return None
        return len({change(self.arch(params)) for params in self.grid()})

    def to_dict(self) -> dict[str, Any]:
        """Return what this space is but for its name and path, ready for JSON."""
        return {
            "baseline": self.baseline.key_fields(),
            "axes": {
                a.name: {"values": list(a.values), "when": {k: list(v) for k, v in a.when.items()}} for a in self.axes
            },
            "proxy": dict(self.proxy),
            **(
                {"needs": {k: list(v) if isinstance(v, tuple) else v for k, v in self.needs.items()}}
                if self.needs
                else {}
            ),
        }


def space_from_dict(name: str, data: Mapping[str, Any]) -> Space:
    """Return the space that ``Space.to_dict`` wrote.

    Raises:
        ArchError: Its baseline cannot exist here.
    """
    axes = tuple(
        Axis(axis, tuple(spec["values"]), {key: tuple(values) for key, values in spec["when"].items()})
        for axis, spec in data["axes"].items()
    )
    needs = {key: tuple(need) if isinstance(need, list) else need for key, need in data.get("needs", {}).items()}
    return Space(name, "", Arch.from_dict(data["baseline"]), axes, data["proxy"], needs)


def _grid(axes: tuple[Axis, ...], params: dict[str, Value]) -> Iterator[dict[str, Value]]:
    if not axes:
        yield params
    elif not axes[0].open(params):
        yield from _grid(axes[1:], params)
    else:
        for value in axes[0].values:
            yield from _grid(axes[1:], {**params, axes[0].name: value})


def _count(axes: tuple[Axis, ...], params: dict[str, Value], asked: frozenset[str]) -> int:
    """Count the points of the grid; only axes that conditions name are walked."""
    if not axes:
        return 1
    axis, rest = axes[0], axes[1:]
    if not axis.open(params):
        return _count(rest, params, asked)
    if axis.name not in asked:
        return len(axis.values) * _count(rest, params, asked)
    return sum(_count(rest, {**params, axis.name: value}, asked) for value in axis.values)
