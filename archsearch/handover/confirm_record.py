"""Confirmations in a storage: one study per confirmation, one trial per candidate and seed.

User attributes of the study: ``archsearch`` (the recipe, with ``confirms``, the study's name) and ``candidates``. User
attributes of a trial: those that ``archsearch.search.storage.records`` lists, and ``candidate``, its name.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archsearch.errors import StorageError
from archsearch.handover.candidates import Candidate
from archsearch.handover.confirmation import Confirmation, Trained
from archsearch.objectives import OBJECTIVES
from archsearch.search.definition import CONFIRMS, RECIPE, existing, load, objectives_of, recipe_of
from archsearch.search.same_recipe import check_known, check_same
from archsearch.search.storage.opening import in_words, open_storage
from archsearch.search.storage.records import end_attrs, start_attrs
from archsearch.search.storage.studies import add_finished, attrs_of_all, new_study
from archsearch.stats.noise import AccuracyNoise
from archsearch.trial import Evaluation, refuse_non_finite

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

#: Study attribute with the candidates.
CANDIDATES = "candidates"
#: Fields of a recipe that may change from run to run, as no training depends on them.
FREE = ("mixers", "environment", "command", "searched")


def create_or_resume(name: str, recipe: Mapping[str, Any], storage: "BaseStorage") -> "optuna.Study":
    """Return the record of a confirmation, and create it if there is none.

    Args:
        name: Name of the record.
        recipe: Recipe of its trainings, JSON-ready.
        storage: Storage that holds it.

    Raises:
        StorageError: It was trained with another recipe, or is no confirmation of that study.
    """
    record = existing(name, storage)
    if record is None:
        return new_study(name, storage, [OBJECTIVES["accuracy"]], {RECIPE: dict(recipe)})
    before = recipe_of(record)
    if before.get(CONFIRMS) != recipe[CONFIRMS]:
        raise StorageError(
            f"study {name!r} exists and is no confirmation of {recipe[CONFIRMS]!r}; choose another --study-name"
        )
    check_known(name, before, {*recipe, *FREE})
    check_same(name, {field: value for field, value in recipe.items() if field not in FREE}, before, {})
    record.set_user_attr(RECIPE, {**before, **recipe})
    return record


def set_candidates(record: "optuna.Study", candidates: Sequence[Candidate]) -> None:
    """Store the candidates of a confirmation."""
    record.set_user_attr(CANDIDATES, [candidate.to_dict() for candidate in candidates])


def add(
    record: "optuna.Study", candidate: Candidate, seed: int, evaluation: Evaluation, environment: Mapping[str, Any]
) -> None:
    """Store a finished training in one step.

    Args:
        record: Record of the confirmation.
        candidate: Candidate that was trained.
        seed: Seed of the training.
        evaluation: Accuracy on the test split, the file of the weights among its details, and the curve; or an error.
        environment: Device and versions.
    """
    evaluation = refuse_non_finite(evaluation)
    attrs = {
        "candidate": candidate.name,
        **start_attrs(candidate.arch, {}, seed),
        **end_attrs(evaluation, dict(environment)),
    }
    add_finished(record, attrs, [evaluation.scores["accuracy"]] if evaluation.error is None else None)


def trainings(record: "optuna.Study") -> dict[tuple[str, int], Mapping[str, Any]]:
    """Return the attributes of the last training by key of the architecture and seed; of a successful one if any."""
    found: dict[tuple[str, int], Mapping[str, Any]] = {}
    for frozen in record.get_trials(deepcopy=False):
        attrs = frozen.user_attrs
        if "candidate" in attrs:
            key = attrs["arch_key"], attrs["seed"]
            if "error" not in attrs or "error" in found.get(key, {"error": ""}):
                found[key] = attrs
    return found


def settled(attrs: Mapping[str, Any]) -> bool:
    """Whether training again would give the same result: it was finished, or diverged."""
    return "error" not in attrs or str(attrs["error"]).startswith("diverged")


def confirmation_from(record: "optuna.Study", storage: "BaseStorage") -> Confirmation:
    """Return a confirmation as far as it is stored.

    Args:
        record: Record of the confirmation.
        storage: Storage that holds it and its study.

    Raises:
        StorageError: It was interrupted before anything was stored, or its study is gone.
    """
    recipe, stored = recipe_of(record), record.user_attrs.get(CANDIDATES)
    study = existing(recipe[CONFIRMS], storage)
    if stored is None or study is None:
        lacking = "no candidates yet" if stored is None else f"lost its study, {recipe[CONFIRMS]!r}"
        raise StorageError(f"confirmation {record.study_name!r} has {lacking}; run `confirm` again")
    candidates = tuple(map(Candidate.from_dict, stored))
    known = trainings(record)
    trained = {one.name: _trained(one, known) for one in candidates}
    names = (recipe[CONFIRMS], record.study_name)
    noise = recipe.get("searched")
    searched = None if noise is None else AccuracyNoise(**noise)
    return Confirmation(*names, objectives_of(study), candidates, trained, recipe, recipe["images"], searched)


def _trained(candidate: Candidate, known: Mapping[tuple[str, int], Mapping[str, Any]]) -> Trained:
    own = {seed: attrs for (key, seed), attrs in sorted(known.items()) if key == candidate.arch.key}
    good = {seed: attrs for seed, attrs in own.items() if "error" not in attrs}
    return Trained(
        accuracies={seed: attrs["scores"]["accuracy"] for seed, attrs in good.items()},
        errors={seed: attrs["error"] for seed, attrs in own.items() if "error" in attrs},
        weights={seed: attrs["details"]["accuracy"]["weights"] for seed, attrs in good.items()},
        validation={seed: attrs["curve"][-1]["accuracy"] for seed, attrs in good.items()},
    )


def confirmation_of(study: str, storage: str, name: str | None = None) -> Confirmation | None:
    """Return a confirmation of a study; None where there is none.

    Args:
        study: Name of the study.
        storage: URL of the storage, or path of an SQLite file.
        name: Name of the confirmation's own record; None for the one that was created last.

    Raises:
        StorageError: The storage cannot be opened, or has no such study.
    """
    opened = open_storage(storage, create=False)
    with in_words():
        load(study, opened)  # says so where there is none of that name
        return next((one for one in stored_confirmations(study, opened) if name in (None, one.name)), None)


def stored_confirmation(study: str, storage: "BaseStorage") -> Confirmation | None:
    """Return the confirmation of a study in an open storage that was created last; None where there is none.

    Args:
        study: Name of the study.
        storage: Open storage.
    """
    return next(stored_confirmations(study, storage), None)


def stored_confirmations(study: str, storage: "BaseStorage") -> Iterator[Confirmation]:
    """Yield the confirmations of a study in an open storage that have candidates, the one created last first.

    Args:
        study: Name of the study.
        storage: Open storage.
    """
    for name, attrs in reversed(attrs_of_all(storage).items()):
        if attrs.get(RECIPE, {}).get(CONFIRMS) == study and CANDIDATES in attrs:
            record = existing(name, storage)
            if record is not None:
                yield confirmation_from(record, storage)
