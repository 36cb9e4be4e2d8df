"""Judgement of a study's maps: whether its proxy networks tell the kernel sizes of its space apart, and its record."""

from typing import TYPE_CHECKING

from archsearch.complexity.small_maps import sizes_of_space
from archsearch.complexity.small_maps_words import SmallMaps
from archsearch.objectives import Tier

if TYPE_CHECKING:
    import optuna

    from archsearch.search.definition import Study

#: Study attribute with the judgement, as ``SmallMaps.to_dict`` has it; studies that train nothing have none.
SMALL_MAPS = "small_maps"


def judge_maps(study: "Study") -> SmallMaps | None:
    """Judge the maps of a study's proxy networks; None where it trains none."""
    if all(quantity.tier is not Tier.TRAINED for quantity in study.quantities):
        return None
    return SmallMaps.of(sizes_of_space(study.space), study.proxy)


def record_maps(study: "Study", record: "optuna.Study") -> tuple[str, ...]:
    """Put the judgement on record, and return what is to be said of it.

    Args:
        study: Definition of the study.
        record: The study in its storage.
    """
    found = judge_maps(study)
    if found is None:
        return ()
    record.set_user_attr(SMALL_MAPS, found.to_dict())
    return found.lines


def recorded_maps(record: "optuna.Study") -> tuple[str, ...]:
    """Return what is to be said of the maps of a stored study; nothing of one that an earlier version ran."""
    return tuple(record.user_attrs.get(SMALL_MAPS, {}).get("lines", ()))
