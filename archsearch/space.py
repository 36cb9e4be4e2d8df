"""Search spaces: a baseline ``Arch`` and axes over it, read from YAML.

    name: my_space
    baseline: inceptionnext_tiny          # a named network, or its fields
    axes:
      token_mixer: [inception, identity]  # for all stages; stage2.token_mixer for one
      branch_ratio:
        values: [1/16, 1/8]
        when: {token_mixer: inception}    # open only where the choice fits
      depths: [[2, 2, 6, 2], [3, 3, 9, 3]]
    proxy: {width: 1/4}                   # what the proxy of this space does differently

An axis is a field of ``Arch``, ``token_mixer``, or a parameter of a mixer; the latter two
take a ``stageN.`` prefix, as do ``depth`` and ``dim``.
"""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archsearch.arch import MIXER_PARAMS, Arch, Mixer, network
from archsearch.errors import ArchError, SpaceError, UserError, unknown
from archsearch.recipes import Proxy, override
from archsearch.yamlfile import Table, YamlError, number, read_table

#: Fields of ``Arch`` that an axis may set.
ARCH_AXES = (
    "depths", "dims", "mlp_ratios", "norm", "act", "head", "stem_patch_size", "layer_scale_init_value",
    "drop_path_rate", "img_size",
)  # fmt: skip
MIXER_AXES = ("token_mixer", *dict.fromkeys(p for params in MIXER_PARAMS.values() for p in params))
STAGE_AXES = ("depth", "dim", *MIXER_AXES)

#: Fields whose choices are lists, what these hold, and how to say so.
LIST_AXES: dict[str, tuple[tuple[type, ...], str]] = {
    "depths": ((int,), "positive integers"),
    "dims": ((int,), "positive integers"),
    "mlp_ratios": ((int, float), "positive numbers"),
}

#: Combinations that are all visited when a space is checked and counted; beyond it, a sample.
EXHAUSTIVE = 50_000

Value = bool | int | float | str
Params = Mapping[str, Value]


@dataclass(frozen=True)
class Axis:
    """One dimension of a space.

    Attributes:
        name: as in the file.
        values: the choices; lists are written ``3-3-9-3``.
        when: the axis is open only where every named axis has one of these values.
        line: in the file.
    """

    name: str
    values: tuple[Value, ...]
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    line: int = 0

    def open(self, params: Params) -> bool:
        """Whether the axis matters, given the values of the axes before it."""
        return all(params.get(name) in allowed for name, allowed in self.when.items())


@dataclass(frozen=True)
class Space:
    """A baseline architecture and the axes over it.

    Attributes:
        name: of the space.
        description: one line.
        baseline: the architecture where no axis says otherwise.
        axes: in the order of the file.
        proxy: fields of the proxy recipe that this space changes.
        path: the file it was read from.
    """

    name: str
    description: str
    baseline: Arch
    axes: tuple[Axis, ...]
    proxy: Mapping[str, Value] = field(default_factory=dict)
    path: Path | None = None

    def active(self, genes: Params) -> dict[str, Value]:
        """The values that matter: those of open axes.

        Args:
            genes: a value for every axis, open or not.
        """
        params: dict[str, Value] = {}
        for axis in self.axes:
            if axis.open(params):
                params[axis.name] = genes[axis.name]
        return params

    def arch(self, params: Params) -> Arch:
        """The architecture at a point of the space.

        Args:
            params: values of the open axes.

        Raises:
            ArchError: it cannot exist.
        """
        base = self.baseline
        fields = {name: _decode(name, params[name]) for name in ARCH_AXES if name in params}
        depths, dims = list(fields.pop("depths", base.depths)), list(fields.pop("dims", base.dims))
        for stage in range(len(depths)):
            depths[stage] = params.get(f"stage{stage + 1}.depth", depths[stage])
            dims[stage] = params.get(f"stage{stage + 1}.dim", dims[stage])
        mixers = [self._mixer(stage, params) for stage in range(len(depths))]
        return base.replace(depths=tuple(depths), dims=tuple(dims), mixers=tuple(mixers), **fields)

    def _mixer(self, stage: int, params: Params) -> Mixer:
        def chosen(name: str, default: Any) -> Any:
            return params.get(f"stage{stage + 1}.{name}", params.get(name, default))

        before = self.baseline.mixers[min(stage, len(self.baseline.mixers) - 1)]
        kind = chosen("token_mixer", before.token_mixer)
        inherited = dict(before.params) if before.token_mixer == kind else {}
        values = {name: chosen(name, inherited.get(name, p.default)) for name, p in MIXER_PARAMS[kind].items()}
        return Mixer.of(kind, **values)

    def grid(self) -> Iterator[dict[str, Value]]:
        """Every point of the space, as values of its open axes."""
        return _grid(self.axes, {})

    def points(self) -> int:
        """Number of points; two of them may be the same architecture."""
        return _count(self.axes, {}, frozenset(name for axis in self.axes for name in axis.when))

    def sample(self, rng: random.Random) -> dict[str, Value]:
        """A point drawn with a uniform choice on every open axis."""
        return self.active({axis.name: rng.choice(axis.values) for axis in self.axes})

    def some(self) -> Iterator[dict[str, Value]]:
        """Every point, or in a large space as many random ones as are checked in seconds."""
        if self.points() <= EXHAUSTIVE:
            return self.grid()
        rng = random.Random(0)
        return (self.sample(rng) for _ in range(EXHAUSTIVE // 10))

    def check_proxy(self, proxy: Proxy) -> None:
        """Makes sure that the candidates survive being shrunk.

        Raises:
            SpaceError: one does not; the message names it.
        """
        for params in self.some():
            try:
                proxy.shrink(self.arch(params), num_classes=10)
            except ArchError as error:
                what = ", ".join(f"{k} {v}" for k, v in params.items())
                raise SpaceError(f"space {self.name}: the proxy of ({what}) cannot exist: {error}") from None

    def distinct(self) -> int | None:
        """Number of distinct architectures; None where there are too many to visit."""
        if self.points() > EXHAUSTIVE:
            return None
        return len({self.arch(params) for params in self.grid()})

    def to_dict(self) -> dict[str, Any]:
        """What makes this space this space, as JSON-ready data (its name and path do not)."""
        return {
            "baseline": self.baseline.to_dict(),
            "axes": {
                a.name: {"values": list(a.values), "when": {k: list(v) for k, v in a.when.items()}} for a in self.axes
            },
            "proxy": dict(self.proxy),
        }


def _grid(axes: tuple[Axis, ...], params: dict[str, Value]) -> Iterator[dict[str, Value]]:
    if not axes:
        yield params
    elif not axes[0].open(params):
        yield from _grid(axes[1:], params)
    else:
        for value in axes[0].values:
            yield from _grid(axes[1:], {**params, axes[0].name: value})


def _count(axes: tuple[Axis, ...], params: dict[str, Value], asked: frozenset[str]) -> int:
    """Points of the grid, without visiting it: only axes that others ask about are walked."""
    if not axes:
        return 1
    axis, rest = axes[0], axes[1:]
    if not axis.open(params):
        return _count(rest, params, asked)
    if axis.name not in asked:
        return len(axis.values) * _count(rest, params, asked)
    return sum(_count(rest, {**params, axis.name: value}, asked) for value in axis.values)


def _in_list(part: Any, kinds: tuple[type, ...]) -> bool:
    """Whether a list may hold a number: bounded so that its text has neither sign nor exponent."""
    return (
        isinstance(part, kinds) and isinstance(part, (int, float)) and part is not True and 0.001 <= part <= 1_000_000
    )


def _decode(name: str, value: Value) -> Any:
    """Lists are kept as text in a study, where a choice must be a plain value: 3-3-9-3."""
    if name not in LIST_AXES:
        return value
    return tuple(float(part) if "." in part else int(part) for part in str(value).split("-"))


def load_space(name_or_path: str, folder: Path) -> Space:
    """Reads a space by name from ``folder``, or from a YAML file.

    Raises:
        SpaceError: no such space, or what is wrong with it and in which line.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        names = sorted(p.stem for p in folder.glob("*.yaml"))
        if name_or_path not in names:
            raise SpaceError(unknown("space", name_or_path, names))
        path = folder / f"{name_or_path}.yaml"
    try:
        table = read_table(path)
    except YamlError as error:
        raise _at(path, error.line, str(error)) from None
    except OSError as error:
        raise SpaceError(f"cannot read {path}: {error.strerror}") from None
    return _Reader(path, table).space()


def _at(path: Path, line: int | None, message: str) -> SpaceError:
    return SpaceError(f"{path}{f', line {line}' if line else ''}: {message}")


class _Reader:
    """Turns a YAML table into a checked ``Space``; every complaint names its line."""

    KEYS = ("name", "description", "baseline", "axes", "proxy")

    def __init__(self, path: Path, table: Table) -> None:
        self.path, self.table = path, table

    def fail(self, line: int | None, message: str) -> SpaceError:
        return _at(self.path, line, message)

    def known(self, table: Table, keys: tuple[str, ...], what: str) -> None:
        for key in table:
            if key not in keys:
                raise self.fail(table.lines[key], unknown(what, key, keys))

    def sub(self, table: Table, key: str) -> Table:
        value = table[key]
        if not isinstance(value, Table):
            raise self.fail(table.lines[key], f"{key!r} must be a mapping, not {value!r}")
        return value

    def space(self) -> Space:
        table = self.table
        self.known(table, self.KEYS, "key of a space")
        for key in ("baseline", "axes"):
            if key not in table:
                raise self.fail(None, f"the key {key!r} is missing")
        name = table.get("name", self.path.stem)
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
            raise self.fail(
                table.lines.get("name"), f"name is {name!r}, but must be one word of letters, digits, _ - ."
            )
        baseline = self.baseline()
        space = Space(
            name=name,
            description=str(table.get("description", "")).strip(),
            baseline=baseline,
            axes=self.axes(baseline),
            proxy=self.proxy(),
            path=self.path,
        )
        self.check(space)
        return space

    def baseline(self) -> Arch:
        value, line = self.table["baseline"], self.table.lines["baseline"]
        try:
            if isinstance(value, str):
                return network(value)
            return Arch.from_dict(number(self.sub(self.table, "baseline")))
        except ArchError as error:
            raise self.fail(line, f"baseline: {error}") from None

    def proxy(self) -> dict[str, Value]:
        if "proxy" not in self.table:
            return {}
        table = self.sub(self.table, "proxy")
        for key, value in table.items():
            try:
                override(Proxy(), {key: number(value)})
            except UserError as error:
                raise self.fail(table.lines[key], f"proxy: {error}") from None
        return dict(number(table))

    def axes(self, baseline: Arch) -> tuple[Axis, ...]:
        table = self.sub(self.table, "axes")
        stages = len(baseline.depths)
        axes: list[Axis] = []
        for name in table:
            if (stage := re.match(r"stage(\d+)", name)) and int(stage[1]) > stages:
                raise self.fail(table.lines[name], f"axis {name!r}: the baseline has {stages} stages")
            axes.append(self.axis(table, name, {axis.name: axis for axis in axes}))
        self.check_parameters(baseline, axes)
        if not axes:
            raise self.fail(self.table.lines["axes"], "axes is empty; name at least one axis")
        return tuple(axes)

    def axis(self, table: Table, name: str, before: dict[str, Axis]) -> Axis:
        line, spec = table.lines[name], table[name]
        stage = re.fullmatch(r"stage[1-9]\.(.*)", name)
        allowed = STAGE_AXES if stage else (*ARCH_AXES, *MIXER_AXES)
        if (stage[1] if stage else name) not in allowed:
            raise self.fail(line, unknown("axis", stage[1] if stage else name, allowed))
        when: dict[str, tuple[Value, ...]] = {}
        if isinstance(spec, Table):
            self.known(spec, ("values", "when"), f"key of axis {name!r}")
            if "values" not in spec:
                raise self.fail(line, f"axis {name!r} needs 'values', a list of choices")
            if "when" in spec:
                when = self.when(name, self.sub(spec, "when"), before)
            line, spec = spec.lines["values"], spec["values"]
        if not isinstance(spec, list) or not spec:
            raise self.fail(line, f"axis {name!r} must be a list of choices, not {spec!r}")
        values = tuple(self.value(name, line, item) for item in spec)
        for value in values:
            if values.count(value) > 1:
                raise self.fail(line, f"axis {name!r} has the choice {value!r} twice; keep one")
        return Axis(name, values, when, line)

    def check_parameters(self, baseline: Arch, axes: list[Axis]) -> None:
        """A parameter that no mixer of the space has would be an axis without effect."""
        kinds = {mixer.token_mixer for mixer in baseline.mixers}
        for axis in axes:
            if axis.name.endswith("token_mixer"):
                kinds |= {str(value) for value in axis.values}
        idle = set(MIXER_AXES[1:]) - {param for kind in kinds & MIXER_PARAMS.keys() for param in MIXER_PARAMS[kind]}
        for axis in axes:
            if axis.name.rpartition(".")[2] in idle and kinds <= MIXER_PARAMS.keys():
                message = f"axis {axis.name!r} has no effect: no token_mixer of this space has that parameter"
                raise self.fail(axis.line, message)

    def value(self, name: str, line: int, item: Any) -> Value:
        item = number(item)
        if name in LIST_AXES:
            kinds, allowed = LIST_AXES[name]
            if isinstance(item, list) and item and all(_in_list(part, kinds) for part in item):
                return "-".join(map(str, item))
            raise self.fail(line, f"axis {name!r} cannot take the choice {item!r}; write lists of {allowed}")
        if isinstance(item, (bool, int, float, str)):
            return item
        raise self.fail(line, f"axis {name!r} cannot take the choice {item!r}")

    def when(self, name: str, table: Table, before: dict[str, Axis]) -> dict[str, tuple[Value, ...]]:
        conditions = {}
        for key, spec in table.items():
            line = table.lines[key]
            if key not in before:
                raise self.fail(line, f"axis {name!r} depends on {key!r}, which is no axis above it")
            allowed = tuple(number(spec if isinstance(spec, list) else [spec]))
            if not allowed:
                raise self.fail(line, f"axis {name!r} depends on {key!r} having one of no values; name at least one")
            for value in allowed:
                if value not in before[key].values:
                    raise self.fail(line, unknown(f"choice of {key!r}", value, map(str, before[key].values)))
            conditions[key] = allowed
        return conditions

    def check(self, space: Space) -> None:
        """Builds every choice at least once, then every point (in a large space, a sample)."""
        base = {axis.name: axis.values[0] for axis in space.axes}
        for axis in space.axes:
            opener = {name: values[0] for name, values in axis.when.items()}
            for value in axis.values:
                params = space.active({**base, **opener, axis.name: value})
                self.build(space, params, axis.line, f"{axis.name} {value}")
        for params in space.some():
            self.build(space, params, self.table.lines["axes"], ", ".join(f"{k} {v}" for k, v in params.items()))

    def build(self, space: Space, params: Params, line: int, what: str) -> None:
        try:
            space.arch(params)
        except ArchError as error:
            raise self.fail(line, f"{what}: {error}") from None
