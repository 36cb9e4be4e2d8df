"""Locating an architecture in a space: the inverse of ``Space.arch``, axis by axis, however large the space."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archsearch.arch import Arch
from archsearch.arch.params import Value
from archsearch.errors import ArchError
from archsearch.space.axes import LIST_AXES, STAGE_AXES, decode
from archsearch.space.space import Axis, Space


def locate(space: Space, arch: Arch) -> dict[str, Value] | None:
    """Return a point of a space that builds an architecture, as values of its open axes; None if there is none."""
    return next((params for params in _walk(space.axes, arch, {}) if _built(space, params) == arch), None)


def misfit(space: Space, arch: Arch) -> str:
    """Return why an architecture is in no point of a space, in words."""
    params: dict[str, Value] = {}
    for place, axis in enumerate(space.axes):
        if not axis.open(params):
            continue
        fitting = _choices(axis, space.axes[place + 1 :], arch, params)
        if not fitting:
            wanted = " and ".join(dict.fromkeys(str(value) for value in _wanted(axis.name, arch).values()))
            return f"axis {axis.name!r} has no choice {wanted} (it has {', '.join(map(str, axis.values))})"
        params[axis.name] = fitting[0]
    try:
        return _difference(space.arch(params), arch)
    except ArchError as error:  # it cannot exist there, or is not on the list of a space that has one
        return f"no point of the space is like it: {error}"


def _built(space: Space, params: Mapping[str, Value]) -> Arch | None:
    try:
        return space.arch(params)
    except ArchError:
        return None


def _walk(axes: Sequence[Axis], arch: Arch, params: dict[str, Value]) -> Iterator[dict[str, Value]]:
    """Yield the points that may build an architecture, up to axes whose value makes no difference there."""
    if not axes:
        yield params
    elif not axes[0].open(params):
        yield from _walk(axes[1:], arch, params)
    else:
        for value in _choices(axes[0], axes[1:], arch, params):
            yield from _walk(axes[1:], arch, {**params, axes[0].name: value})


def _choices(axis: Axis, later: Sequence[Axis], arch: Arch, params: Mapping[str, Value]) -> list[Value]:
    """Return the choices of an axis that an architecture allows, the likeliest first.

    An axis for all stages holds for the stages that have no axis of their own. Such an axis before it is decided; one
    that follows may be open or not.
    """
    to_come = {other.name for other in later}
    sure, possible = [], []
    for value in axis.values:
        wrong = {own for own in _against(axis.name, value, arch) if own not in params}
        if not wrong:
            sure.append(value)
        elif wrong <= to_come:
            possible.append(value)
    if sure and not any(axis.name in other.when for other in later):
        return sure[:1]  # they differ in nothing that shows
    return sure + possible


def _against(name: str, value: Value, arch: Arch) -> Iterator[str]:
    """Yield the stage axes that must override a choice to build an architecture; "" where none can."""
    if name in LIST_AXES:
        given, wanted = decode(name, value), getattr(arch, name)
        if len(given) != len(wanted):
            yield ""
        one = next(one for one, many in STAGE_AXES.items() if many == name)
        pairs = enumerate(zip(given, wanted, strict=False), 1)
        yield from (f"stage{number}.{one}" for number, (got, right) in pairs if got != right)
        return
    for stage, right in _wanted(name, arch).items():
        if value != right:
            yield f"{stage}.{name}" if stage and "." not in name else ""


def _wanted(name: str, arch: Arch) -> dict[str, Any]:
    """Return the value that an axis needs, by stage ("" for all stages); empty where it has no effect."""
    stage, _, one = name.rpartition(".")
    if name in {field.name for field in dataclasses.fields(Arch)}:
        value = getattr(arch, name)
        return {"": "-".join(map(str, value)) if name in LIST_AXES else value}
    places = {f"stage{number}": number - 1 for number in range(1, len(arch.depths) + 1)}
    spoken = {own: place for own, place in places.items() if stage in ("", own)}
    if one in STAGE_AXES:
        return {own: getattr(arch, STAGE_AXES[one])[place] for own, place in spoken.items()}
    mixers = {own: arch.mixers[place].to_dict() for own, place in spoken.items()}
    return {own: mixer[one] for own, mixer in mixers.items() if one in mixer}


def _difference(built: Arch, arch: Arch) -> str:
    """Describe the first field in which two architectures differ."""
    ours, theirs = built.to_dict(), arch.to_dict()
    name = next(name for name in theirs if theirs[name] != ours[name])
    if name != "mixers" or len(built.mixers) != len(arch.mixers):
        return f"its {name} is {theirs[name]}, and {ours[name]} in this space"
    pairs = zip(theirs[name], ours[name], strict=True)
    number, (its, own) = next((i, pair) for i, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    one = next(one for one in its if its[one] != own.get(one))
    return f"the {one} of its stage {number} is {its[one]}, and {own.get(one, 'another mixer')} in this space"
