"""Definition of a study, and its record in a storage."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import BaseStorage

from archsearch.arch import Arch
from archsearch.arch.mixer import declarations, declare
from archsearch.benchmark.speeds import Speeds
from archsearch.errors import ArchError, OptionError, StorageError, unknown
from archsearch.evaluate.constraint import Constraint
from archsearch.objectives import OBJECTIVES, Objective, Tier
from archsearch.recipes import PROTOCOL, TRAINER, BenchRecipe, ProxyRecipe
from archsearch.search.same_recipe import check_known, check_same
from archsearch.search.spec import STOPPING_LEVEL
from archsearch.search.storage.opening import in_words, open_storage
from archsearch.search.storage.studies import new_study
from archsearch.space.space import Space
from archsearch.utils.key_fields import key_fields

#: Study attribute with the recipe of a study; a study of another tool has none.
RECIPE = "archsearch"
#: Study attribute with the number of validation images.
VAL_IMAGES = "val_images"
#: Study attribute with the folder that its images were last read from, where there is one.
DATA_ROOT = "data_root"
#: Parts of a space that are no part of a study's identity: what they make of its proxy recipe is.
ASKED = ("proxy", "needs")
#: Field of a recipe that names the study that a confirmation confirms.
CONFIRMS = "confirms"
#: Fields of a study's recipe that were added later, and the value that their absence means.
FORMER: dict[str, Any] = {"constraints": [], "seeds": 1, "protocol": 1, "speeds": None}


@dataclass(frozen=True)
class Study:
    """Everything that must stay the same for two runs to be one study.

    Attributes:
        name: Name of the study in the storage.
        space: Search space.
        objectives: Objectives in the order of the recorded values.
        proxy: Proxy recipe.
        bench: Timing recipe.
        data: Name and fingerprint of the data set.
        device: Name of the device that trains and is timed.
        sampler: Name of the sampler, a key of ``archsearch.search.samplers.by_name.SAMPLERS``.
        seed: Seed of the sampler and of every candidate's training.
        population: Number of individuals of a generation; kept from the first run.
        constraints: Constraints on candidates.
        seeds: Maximum number of training seeds per candidate.
        early_stopping: Whether hopeless trainings are pruned; may change from run to run, so not part of the recipe.
        stopping_level: Probability of the upper bound that a pruned training's prediction has below the front; may
            change as well.
        speeds: Timings of another machine that measured scores are taken from; None where this one times.
    """

    name: str
    space: Space
    objectives: tuple[Objective, ...]
    proxy: ProxyRecipe
    bench: BenchRecipe
    data: Mapping[str, str]
    device: str
    sampler: str = "nsga2"
    seed: int = 0
    population: int = 8
    constraints: tuple[Constraint, ...] = ()
    seeds: int = 1
    early_stopping: bool = True
    stopping_level: float = STOPPING_LEVEL
    speeds: Speeds | None = None

    @property
    def quantities(self) -> tuple[Objective, ...]:
        """Quantities to evaluate for every candidate: the objectives and those of the constraints."""
        return tuple(dict.fromkeys((*self.objectives, *(constraint.objective for constraint in self.constraints))))

    @property
    def named_objectives(self) -> tuple[Objective, ...]:
        """The objectives, labelled with the other machine that timed them, if one did, and the form of the targets."""
        device = self.speeds.device if self.speeds else None
        return tuple(objective.on(device).in_form(self.bench.form) for objective in self.objectives)

    def recipe(self) -> dict[str, Any]:
        """Return what identifies the study, as JSON-ready data."""
        stages = range(len(self.space.baseline.depths))
        own = own_mixers(set().union(*(self.space.token_mixers(stage) for stage in stages)))
        return {
            "version": 1,
            "space_name": self.space.name,
            "space": self.space.to_dict(),
            "objectives": [objective.name for objective in self.objectives],
            "trainer": TRAINER,
            "proxy": key_fields(self.proxy),
            "bench": key_fields(self.bench),
            "data": dict(self.data),
            "device": self.device,
            "sampler": self.sampler,
            "seed": self.seed,
            "population": self.population,
            "constraints": [str(constraint) for constraint in self.constraints],
            "seeds": self.seeds,
            **({"protocol": PROTOCOL} if FORMER["protocol"] != PROTOCOL else {}),
            **({"speeds": self.speeds.recipe()} if self.speeds else {}),
            **({"mixers": own} if own else {}),
        }


def own_mixers(kinds: Iterable[str]) -> dict[str, Any]:
    """Return the declarations of those named mixers that come from users' files, to read a record without the files."""
    wanted = {*kinds}
    return {name: declared for name, declared in declarations().items() if name in wanted}


def create_or_resume(study: Study, storage: BaseStorage) -> optuna.Study:
    """Return the study's record in the storage; create it if there is none.

    Raises:
        StorageError: A study of that name was run with another recipe or by another tool.
    """
    record = existing(study.name, storage)
    if record is not None:
        _check_recipe(study, recipe_of(record))
        return record
    return new_study(study.name, storage, study.objectives, {RECIPE: study.recipe()})


def load(name: str, storage: BaseStorage) -> optuna.Study:
    """Return a study's record, for reading.

    Raises:
        StorageError: There is no study of that name (the message offers the nearest), or another tool made it.
    """
    record = existing(name, storage)
    if record is None:
        names = optuna.get_all_study_names(storage)
        raise StorageError(unknown("study", name, names) if names else "the storage holds no study yet; run one first")
    for mixer, declared in recipe_of(record).get("mixers", {}).items():
        declare(mixer, **declared)
    return record


def recipe_of(record: optuna.Study) -> dict[str, Any]:
    """Return the recipe that a study was made with, as JSON-ready data.

    Raises:
        StorageError: Another tool made the study.
    """
    recipe: dict[str, Any] | None = record.user_attrs.get(RECIPE)
    if recipe is None:
        raise StorageError(f"study {record.study_name!r} was not made by archsearch; choose another --study-name")
    return recipe


def check_search(record: optuna.Study) -> None:
    """Make sure that a study is a search: its trials are candidates, and have a front.

    Raises:
        OptionError: It is an ablation or a confirmation, whose trials are seeds; or another tool made it.
    """
    recipe = recipe_of(record)
    if CONFIRMS in recipe:
        of = recipe[CONFIRMS]
        raise OptionError(
            f"study {record.study_name!r} is a confirmation, whose trials are seeds; name its study, {of!r}"
        )
    if "space" not in recipe:
        raise OptionError(
            f"study {record.study_name!r} is an ablation, whose trials are seeds; see `ablate` and `report`"
        )


def objectives_of(record: optuna.Study) -> tuple[Objective, ...]:
    """Return the objectives of a study, in the order of its values, labelled as ``Study.named_objectives``."""
    recipe = recipe_of(record)
    device, form = (recipe.get("speeds") or {}).get("device"), recipe.get("bench", {}).get("form", "train")
    return tuple(OBJECTIVES[name].on(device).in_form(form) for name in recipe["objectives"])


def validation_images(record: optuna.Study) -> int:
    """Return the number of validation images of a study; 0 if it is unknown."""
    asked = recipe_of(record).get("proxy", {}).get("val_samples", 0)
    return int(record.user_attrs.get(VAL_IMAGES, asked))


def existing(name: str, storage: BaseStorage) -> optuna.Study | None:
    """Return a study's record, whichever tool made it; None if there is none of that name."""
    if name not in optuna.get_all_study_names(storage):
        return None
    return optuna.load_study(study_name=name, storage=storage)


def recorded(name: str, url: str) -> dict[str, Any] | None:
    """Return the recipe of a study; None if there is no such study or its storage cannot be opened.

    Raises:
        ArchsearchError: The storage was opened but cannot be used.
    """
    with suppress(StorageError), in_words():
        record = existing(name, open_storage(url, create=False))
        return None if record is None else record.user_attrs.get(RECIPE)
    return None


def _check_recipe(study: Study, stored: Mapping[str, Any]) -> None:
    """Make sure that a study goes on as it began."""
    if "space" not in stored:
        kind = "a confirmation" if CONFIRMS in stored else "an ablation"
        raise StorageError(f"study {study.name!r} exists and is {kind}; choose another --study-name")
    tiers = {quantity.tier for quantity in study.quantities}
    matters = {
        "population": False,
        "bench": Tier.MEASURED in tiers,
        "protocol": Tier.MEASURED in tiers,
        "trainer": Tier.TRAINED in tiers,
    }
    now, before = FORMER | study.recipe(), FORMER | dict(stored)
    check_known(study.name, before, {*now, "mixers"})
    before["space"] = before["space"] | {"baseline": _read_baseline(study.name, before["space"]["baseline"])}
    for recipe in (now, before):
        recipe["space"] = {key: value for key, value in recipe["space"].items() if key not in ASKED}
    check_same(study.name, now, before, matters)


def _read_baseline(name: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return Arch.from_dict(stored).key_fields()
    except ArchError as error:
        raise StorageError(
            f"study {name!r} exists with another space.baseline, which cannot be built here ({error}); "
            "choose another --study-name, or update archsearch if a newer version made the study"
        ) from None
