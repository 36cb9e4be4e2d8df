"""The fixed speed of the reference for a study: recorded, of another study in its storage, cached, or timed now."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import BaseStorage

from archsearch.errors import StorageError
from archsearch.objectives import FromTime
from archsearch.search.definition import RECIPE, Study, existing
from archsearch.search.same_recipe import timed_alike
from archsearch.search.storage.opening import in_words, open_storage, sqlite_path
from archsearch.search.storage.records import rescoring_of
from archsearch.search.storage.rescoring import REFERENCE_SPEEDS, hosts_of
from archsearch.search.storage.studies import attrs_of_all

if TYPE_CHECKING:
    from archsearch.benchmark.reference_speed import ReferenceSpeed
    from archsearch.search.place import Place

Speeds = dict[str, "ReferenceSpeed"]


def fixed_speeds(study: Study, url: str, place: "Place", remeasure: bool, say: Callable[[str], None]) -> Speeds:
    """Return the fixed speed of the reference by each kind of step that a study times itself.

    Args:
        study: Definition of the study.
        url: URL of its storage.
        place: Where candidates are evaluated.
        remeasure: Whether one that is cached on this machine is ignored.
        say: Callback for a remark before something takes long.

    Raises:
        StorageError: The study's own is of another host or device.
        OptionError: The reference cannot be timed.
    """
    steps = [how.step for quantity in study.quantities if isinstance(how := quantity.measured, FromTime)]
    kinds = [*dict.fromkeys(steps)]
    if not kinds or study.speeds:
        return {}
    facts = place.facts
    storage = _storage(url)
    with in_words():
        found = {} if storage is None else _own(study, storage, facts, place.remote, say)
        if storage is not None and not found.keys() >= {*kinds}:
            found = _others(study, storage, facts, kinds) | found
    left = [kind for kind in kinds if kind not in found]
    return found | _cached_or_timed(study, left, place, facts, remeasure, say) if left else found


def fix_speeds(record: optuna.Study, speeds: "Speeds") -> None:
    """Record the speeds of the reference with a study, unless it has them.

    Args:
        record: Study in its storage.
        speeds: Speed by kind of step.
    """
    if speeds and REFERENCE_SPEEDS not in record.user_attrs:
        record.set_user_attr(REFERENCE_SPEEDS, {kind: speed.to_dict() for kind, speed in speeds.items()})


def step_seconds(speeds: "Speeds") -> dict[str, float]:
    """Return the seconds per step of the reference, by kind of step."""
    return {kind: speed.step_s for kind, speed in speeds.items()}


def _storage(url: str) -> BaseStorage | None:
    """The storage; None for a file that holds none yet. A server that does not answer ends the run before it times."""
    if sqlite_path(url) is None:
        return open_storage(url, create=True)
    try:
        return open_storage(url, create=False)
    except StorageError:
        return None


def _own(
    study: Study, storage: BaseStorage, facts: Mapping[str, Any], remote: bool, say: Callable[[str], None]
) -> Speeds:
    """The speeds that the study has recorded, or those of its trials where an earlier version began it."""
    record = existing(study.name, storage)
    if record is None:
        return {}
    speeds = rescoring_of(record).speeds
    hosts = hosts_of(record)
    if len(hosts) > 1:
        say(
            f"study {study.name!r} has trials that were timed on {', '.join(hosts)}: their speeds are ratios to the "
            "reference, and need not compare between machines"
        )
    if REFERENCE_SPEEDS not in record.user_attrs or remote:
        return speeds
    for name in ("host", "device_name"):
        for speed in speeds.values():
            if speed.facts.get(name) != facts.get(name):
                raise StorageError(
                    f"study {study.name!r} has its speeds from {speed.facts.get(name)}, and this is {facts.get(name)}, "
                    "whose speeds do not compare; go on there, or give another --study-name, which takes over the "
                    "trainings"
                )
    return speeds


def _others(study: Study, storage: BaseStorage, facts: Mapping[str, Any], kinds: Sequence[str]) -> Speeds:
    """The speeds of the oldest other studies of the storage on the same host, device and versions.

    Those that are recorded go before those that come from the trials of an earlier version.
    """
    recipe, found = study.recipe(), Speeds()
    alike = {
        name: attrs
        for name, attrs in attrs_of_all(storage).items()
        if name != study.name and "bench" in attrs.get(RECIPE, {}) and timed_alike(recipe, attrs[RECIPE])
    }
    for name in sorted(alike, key=lambda name: REFERENCE_SPEEDS not in alike[name]):
        if found.keys() >= {*kinds}:
            break
        record = optuna.load_study(study_name=name, storage=storage)
        for kind, speed in rescoring_of(record).speeds.items():
            if dict(speed.facts) == dict(facts):
                found.setdefault(kind, speed)
    return found


def _cached_or_timed(
    study: Study,
    kinds: list[str],
    place: "Place",
    facts: Mapping[str, Any],
    remeasure: bool,
    say: Callable[[str], None],
) -> Speeds:
    from archsearch.benchmark.reference import time_reference
    from archsearch.benchmark.reference_speed import ReferenceSpeed
    from archsearch.benchmark.timer import Timings
    from archsearch.data.folder import cache_folder
    from archsearch.evaluate.machine import available_cores

    timings = Timings(cache_folder() / "timings", facts)
    cached = {} if remeasure else {kind: timings.fixed(study.bench, kind) for kind in kinds}
    found = {kind: ReferenceSpeed.from_dict(data) for kind, data in cached.items() if data is not None}
    if left := [kind for kind in kinds if kind not in found]:
        say(f"timing the reference, {study.bench.reference}: speeds are relative to it")
        cores = available_cores() if place.device == "cpu" and not place.remote else ()
        timed = place.ask(partial(time_reference, study.bench, left, place.device, facts, cores))
        for kind, speed in timed.items():
            if not speed.disturbed:
                timings.fix(study.bench, kind, speed.to_dict())
        found |= timed
    return found
