"""Search spaces from YAML files, checked; every error names its line.

    name: my_space
    baseline: inceptionnext_tiny          # a named network, a JSON file beside this one, or fields
    axes:
      token_mixer: [inception, identity]  # for all stages; stage2.token_mixer for one
      branch_ratio:
        values: [1/16, 1/8]
        when: {token_mixer: inception}    # open only where the choice fits
      depths: [[2, 2, 6, 2], [3, 3, 9, 3]]
    needs: {width: 1/4}                   # what its proxy networks need, whatever recipe makes them
    proxy: {width_step: 8}                # fields of the recipe that this space changes

An axis is a field of ``Arch``, ``token_mixer``, or a parameter of a mixer; the latter two
take a ``stageN.`` prefix, as do ``depth``, ``dim`` and ``mlp_ratio``.
"""

import re
from pathlib import Path
from typing import Any

from archsearch.arch import Arch
from archsearch.arch.mixer import Mixer
from archsearch.arch.mixer_types import MIXER_TYPES
from archsearch.arch.networks import network, read_arch
from archsearch.arch.params import Value
from archsearch.errors import ArchError, SpaceError, UserError, unknown
from archsearch.recipes import ProxyRecipe, override
from archsearch.space.axes import ARCH_AXES, LIST_AXES, STAGE_AXES
from archsearch.space.proxy_needs import NEEDS, checked_need
from archsearch.space.space import Axis, Params, Space, mixer_axes
from archsearch.utils.package_data import shipped
from archsearch.utils.yaml_lines import Table, YamlError, check_keys, locate, mapping, number, read_table, told_as


def load_space(name_or_path: str | Path, folder: Path | None = None) -> Space:
    """Read a search space by name, or from a YAML file.

    Args:
        name_or_path: Name of a space, or path of a YAML file.
        folder: Folder that names are looked up in; None for the shipped spaces.

    Raises:
        SpaceError: There is no such space, or its file is wrong; the message names the line.

    >>> load_space("inception_dw").baseline == network("inceptionnext_tiny")
    True
    """
    path = locate(str(name_or_path), shipped("search_spaces") if folder is None else folder, "space", SpaceError)
    with told_as(SpaceError, path):
        return _Reader(path, read_table(path)).space()


def read_baseline(path: Path, table: Table) -> Arch:
    """Return the architecture that ``baseline`` names or describes.

    Raises:
        YamlError: It is wrong.
    """
    return _Reader(path, table).baseline()


def read_axes(path: Path, table: Table, baseline: Arch) -> tuple[Axis, ...]:
    """Return the axes that ``axes`` describes.

    Raises:
        YamlError: One is wrong.
    """
    return _Reader(path, table).axes(baseline)


def read_proxy(path: Path, table: Table) -> dict[str, Value]:
    """Return the fields of the proxy recipe under ``proxy``.

    Raises:
        YamlError: One is wrong.
    """
    return _Reader(path, table).proxy()


def read_needs(path: Path, table: Table) -> dict[str, Any]:
    """Return what proxy networks need under ``needs``.

    Raises:
        YamlError: Something in it is wrong.
    """
    return _Reader(path, table).needs()


class _Reader:
    """Reader of a YAML table; every error is a ``YamlError`` with its line."""

    KEYS = ("name", "description", "baseline", "axes", "proxy", "needs")

    def __init__(self, path: Path, table: Table) -> None:
        self.path, self.table = path, table

    def space(self) -> Space:
        table = self.table
        check_keys(table, self.KEYS, "key of a space")
        for key in ("baseline", "axes"):
            if key not in table:
                raise YamlError(f"the key {key!r} is missing")
        name = table.get("name", self.path.stem)
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
            raise YamlError(
                f"name is {name!r}, but must be one word of letters, digits, _ - .", table.lines.get("name")
            )
        baseline = self.baseline()
        space = Space(
            name=name,
            description=str(table.get("description", "")).strip(),
            baseline=baseline,
            axes=self.axes(baseline),
            proxy=self.proxy(),
            needs=self.needs(),
        )
        self.check(space)
        return space

    def baseline(self) -> Arch:
        value, line = self.table["baseline"], self.table.lines["baseline"]
        try:
            if isinstance(value, str):
                return read_arch(self.path.parent / value) if value.endswith(".json") else network(value)
            return Arch.from_dict(number(mapping(self.table, "baseline")))
        except ArchError as error:
            raise YamlError(f"baseline: {error}", line) from None

    def proxy(self) -> dict[str, Value]:
        if "proxy" not in self.table:
            return {}
        table = mapping(self.table, "proxy")
        for key, value in table.items():
            try:
                override(ProxyRecipe(), {key: number(value)})
            except UserError as error:
                raise YamlError(f"proxy: {error}", table.lines[key]) from None
        return dict(number(table))

    def needs(self) -> dict[str, Any]:
        if "needs" not in self.table:
            return {}
        table = mapping(self.table, "needs")
        check_keys(table, NEEDS, "need of proxy networks")
        needs = {}
        for key, value in table.items():
            try:
                needs[key] = checked_need(key, number(value))
            except UserError as error:
                raise YamlError(f"needs: {error}", table.lines[key]) from None
        return needs

    def axes(self, baseline: Arch) -> tuple[Axis, ...]:
        table = mapping(self.table, "axes")
        stages = len(baseline.depths)
        axes: list[Axis] = []
        for name in table:
            if (stage := re.match(r"stage(\d+)", name)) and int(stage[1]) > stages:
                raise YamlError(f"axis {name!r}: the baseline has {stages} stages", table.lines[name])
            axes.append(self.axis(table, name, {axis.name: axis for axis in axes}))
        self.check_parameters(baseline, axes)
        if not axes:
            raise YamlError("axes is empty; name at least one axis", self.table.lines["axes"])
        return tuple(axes)

    def axis(self, table: Table, name: str, before: dict[str, Axis]) -> Axis:
        line, spec = table.lines[name], table[name]
        stage = re.fullmatch(r"stage[1-9]\.(.*)", name)
        allowed = (*(STAGE_AXES if stage else ARCH_AXES), *mixer_axes())
        if (stage[1] if stage else name) not in allowed:
            raise YamlError(unknown("axis", stage[1] if stage else name, allowed), line)
        when: dict[str, tuple[Value, ...]] = {}
        if isinstance(spec, Table):
            check_keys(spec, ("values", "when"), f"key of axis {name!r}")
            if "values" not in spec:
                raise YamlError(f"axis {name!r} needs 'values', a list of choices", line)
            if "when" in spec:
                when = self.when(name, mapping(spec, "when"), before)
            line, spec = spec.lines["values"], spec["values"]
        if not isinstance(spec, list) or not spec:
            raise YamlError(f"axis {name!r} must be a list of choices, not {spec!r}", line)
        values = tuple(self.value(name, line, item) for item in spec)
        for value in values:
            if values.count(value) > 1:
                raise YamlError(f"axis {name!r} has the choice {value!r} twice; keep one", line)
            if name.endswith("token_mixer"):
                self.token_mixer(line, value)
        return Axis(name, values, when, line)

    def token_mixer(self, line: int, kind: Value) -> None:
        """Check that a mixer exists, before its parameters are looked up."""
        try:
            Mixer.of(str(kind))
        except ArchError as error:
            raise YamlError(str(error), line) from None

    def check_parameters(self, baseline: Arch, axes: list[Axis]) -> None:
        """Check that every mixer parameter has an effect: some mixer has it in the stage where it is set."""
        space = Space("", "", baseline, tuple(axes))
        kinds = [space.token_mixers(stage) for stage in range(len(baseline.depths))]
        always = {axis.name for axis in axes if not axis.when}
        for axis in axes:
            stage, _, name = axis.name.rpartition(".")
            if name not in mixer_axes()[1:]:
                continue
            others = [i for i in range(len(kinds)) if f"stage{i + 1}.{name}" not in always]
            where = [int(stage.removeprefix("stage")) - 1] if stage else others
            if not any(
                name in MIXER_TYPES[kind].params for i in where for kind in kinds[i] & _asked(axis, i, axes, kinds[i])
            ):
                message = f"axis {axis.name!r} has no effect: no token_mixer that it could speak of has that parameter"
                raise YamlError(message, axis.line)

    def value(self, name: str, line: int, item: Any) -> Value:
        item = number(item)
        if name in LIST_AXES:
            kind = LIST_AXES[name]
            if isinstance(item, list) and item and all(_in_list(part, kind) for part in item):
                return "-".join(map(str, item))
            allowed = "positive integers" if kind is int else "positive numbers"
            raise YamlError(f"axis {name!r} cannot take the choice {item!r}; write lists of {allowed}", line)
        if isinstance(item, (bool, int, float, str)):
            return item
        raise YamlError(f"axis {name!r} cannot take the choice {item!r}", line)

    def when(self, name: str, table: Table, before: dict[str, Axis]) -> dict[str, tuple[Value, ...]]:
        conditions = {}
        for key, spec in table.items():
            line = table.lines[key]
            if key not in before:
                raise YamlError(f"axis {name!r} depends on {key!r}, which is no axis above it", line)
            allowed = tuple(number(spec if isinstance(spec, list) else [spec]))
            if not allowed:
                raise YamlError(f"axis {name!r} depends on {key!r} having one of no values; name at least one", line)
            for value in allowed:
                if value not in before[key].values:
                    raise YamlError(unknown(f"choice of {key!r}", value, map(str, before[key].values)), line)
            conditions[key] = allowed
        return conditions

    def check(self, space: Space) -> None:
        """Build every choice at least once, then every point (in a large space, a sample)."""
        for axis in space.axes:
            opener = {name: values[0] for name, values in axis.when.items()}
            for value in axis.values:
                params = space.active(space.genome({**opener, axis.name: value}))
                self.build(space, params, axis.line, f"{axis.name} {value}")
        for params in space.some():
            self.build(space, params, self.table.lines["axes"], ", ".join(f"{k} {v}" for k, v in params.items()))

    def build(self, space: Space, params: Params, line: int, what: str) -> None:
        try:
            space.arch(params)
        except ArchError as error:
            raise YamlError(f"{what}: {error}", line) from None


def _asked(axis: Axis, stage: int, axes: list[Axis], kinds: set[str]) -> set[str]:
    """Return the mixers of a stage for which an axis is open, by its condition."""
    own = f"stage{stage + 1}.token_mixer"
    wanted = axis.when.get(own if any(other.name == own for other in axes) else "token_mixer")
    return kinds if wanted is None else {*map(str, wanted)}


def _in_list(part: Any, kind: type[int] | type[float]) -> bool:
    """Return whether a list may hold a number, bounded so that its text has neither sign nor exponent."""
    return isinstance(part, (int, kind)) and not isinstance(part, bool) and 0.001 <= part <= 1_000_000
