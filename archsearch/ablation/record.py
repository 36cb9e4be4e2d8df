"""Ablations in a storage: one study per ablation, one trial per network and seed.

User attributes of the study: ``archsearch`` (the recipe, with ``ablation``) and ``outcome`` (the networks: names,
factors, counts, speeds, the paper's figures). User attributes of a trial: those that
``archsearch.search.storage.records`` lists, and ``variant``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from archsearch.ablation.outcome import Outcome
from archsearch.arch import Arch
from archsearch.errors import StorageError
from archsearch.objectives import OBJECTIVES
from archsearch.search.definition import RECIPE, existing, recipe_of
from archsearch.search.same_recipe import check_known, check_same
from archsearch.search.storage.records import end_attrs, start_attrs
from archsearch.search.storage.studies import add_finished, new_study
from archsearch.trial import Evaluation, refuse_non_finite

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

#: Fields of a recipe that may change from run to run, as no training depends on them.
FREE = ("ablation", "space_name", "bench", "timed", "mixers")
#: Fields that a recipe has once something is trained.
TRAINING = ("proxy", "trainer", "data")
#: Study attribute with the outcome but for the accuracies.
OUTCOME = "outcome"


def create_or_resume(name: str, recipe: Mapping[str, Any], storage: "BaseStorage") -> "optuna.Study":
    """Return the study of an ablation, and create it if there is none.

    Args:
        name: Name of the study.
        recipe: Recipe of its trainings and timings, JSON-ready; the timing may change from run to run.
        storage: Storage that holds it.

    Raises:
        StorageError: The study was trained with another recipe, or is no ablation.
    """
    record = existing(name, storage)
    if record is None:
        return new_study(name, storage, [OBJECTIVES["accuracy"]], {RECIPE: dict(recipe)})
    before = recipe_of(record)
    if "ablation" not in before:
        raise StorageError(f"study {name!r} exists and is no ablation; choose another --study-name")
    check_known(name, before, {*recipe, *FREE, *TRAINING})
    shared = {field: value for field, value in recipe.items() if field in before and field not in FREE}
    check_same(name, shared, before, {})
    mixers = {**before.get("mixers", {}), **recipe.get("mixers", {})}
    for mixer, declared in before.get("mixers", {}).items():
        if mixers[mixer] != declared:
            raise StorageError(
                f"study {name!r} knows another version of token_mixer {mixer!r}: its file has changed; "
                "bring the old one back, or choose another --study-name"
            )
    record.set_user_attr(RECIPE, {**before, **recipe, "mixers": mixers})
    return record


def is_ablation(record: "optuna.Study") -> bool:
    """Return whether a study is an ablation."""
    return "ablation" in recipe_of(record)


def add(
    record: "optuna.Study", name: str, arch: Arch, seed: int, evaluation: Evaluation, environment: Mapping[str, Any]
) -> None:
    """Store a finished training in one step.

    Args:
        record: Study of the ablation.
        name: Name of the variant.
        arch: Target architecture.
        seed: Seed of the training.
        evaluation: Accuracy and curve, or error; an accuracy that is not finite is recorded as an error.
        environment: Device and versions.
    """
    evaluation = refuse_non_finite(evaluation)
    attrs = {
        "variant": name,
        **start_attrs(arch, {"variant": name}, seed),
        **end_attrs(evaluation, dict(environment)),
    }
    values = [evaluation.scores["accuracy"]] if evaluation.error is None else None
    add_finished(record, attrs, values)


@dataclass(frozen=True)
class Trained:
    """Result of a training.

    Attributes:
        accuracy: Top-1 of the proxy network, a fraction; None for a failed training.
        error: Error message of a failed training; None otherwise.
    """

    accuracy: float | None
    error: str | None

    @property
    def settled(self) -> bool:
        """Whether training again would give the same result: it was finished, or diverged."""
        return self.error is None or self.error.startswith("diverged")


def trainings(record: "optuna.Study") -> dict[tuple[str, int], Trained]:
    """Return the last training by key of the network and seed; a finished one if there is any."""
    found: dict[tuple[str, int], Trained] = {}
    for frozen in record.get_trials(deepcopy=False):
        attrs = frozen.user_attrs
        if "variant" in attrs:
            key = attrs["arch_key"], attrs["seed"]
            known = refuse_non_finite(Evaluation(attrs.get("scores", {}), error=attrs.get("error")))
            new = Trained(known.scores.get("accuracy"), known.error)
            if new.error is None or key not in found or found[key].error is not None:
                found[key] = new
    return found


def set_outcome(record: "optuna.Study", outcome: Outcome) -> None:
    """Store an outcome without its accuracies, which the trials hold."""
    bare = tuple(replace(result, accuracies={}, errors={}) for result in outcome.results)
    record.set_user_attr(OUTCOME, replace(outcome, results=bare).to_dict())


def outcome_of(record: "optuna.Study") -> Outcome:
    """Return the outcome of an ablation as far as it is stored.

    Raises:
        StorageError: The ablation was interrupted before it stored anything.
    """
    kept = record.user_attrs.get(OUTCOME)
    if kept is None:
        raise StorageError(f"study {record.study_name!r} has no result yet; run it first")
    return with_accuracies(Outcome.from_dict(kept), record)


def with_accuracies(outcome: Outcome, record: "optuna.Study") -> Outcome:
    """Return the outcome with the accuracies and errors of all stored trainings of its networks."""
    found = trainings(record)
    results = []
    for result in outcome.results:
        own = {seed: trained for (key, seed), trained in sorted(found.items()) if key == result.key}
        accuracies = {seed: t.accuracy for seed, t in own.items() if t.accuracy is not None and t.error is None}
        errors = {seed: t.error for seed, t in own.items() if t.error is not None}
        results.append(replace(result, accuracies=accuracies, errors=errors))
    return replace(outcome, results=tuple(results))
