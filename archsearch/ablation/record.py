"""An ablation's record in a storage: one Optuna trial per network and seed.

Of the study: ``archsearch`` (the recipe, with ``ablation``), ``outcome`` (the networks: names, factors, counts,
speeds, the paper's figures), ``command``. Of a trial: what ``archsearch.search.storage.records`` lists,
and ``variant``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from archsearch.ablation.outcome import Outcome
from archsearch.arch import Arch
from archsearch.errors import StorageError
from archsearch.objectives import OBJECTIVES
from archsearch.search.definition import RECIPE, check_same, existing, recipe_of
from archsearch.search.storage.records import end_attrs, start_attrs
from archsearch.search.storage.studies import add_finished, new_study
from archsearch.trial import Evaluation

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

#: Fields of a recipe that may change from run to run: nothing that was trained depends on them.
FREE = ("ablation", "space_name", "bench", "timed", "mixers")
#: Study attribute with everything about an ablation but its accuracies.
OUTCOME = "outcome"


def create_or_resume(name: str, recipe: Mapping[str, Any], storage: "BaseStorage") -> "optuna.Study":
    """The record of an ablation, made if it is not there.

    Args:
        name: of the study in the storage.
        recipe: what its trainings depend on, JSON-ready; ``bench`` may change from run to run.
        storage: that holds it.

    Raises:
        StorageError: a study of that name trained otherwise, or is no ablation.
    """
    record = existing(name, storage)
    if record is None:
        return new_study(name, storage, [OBJECTIVES["accuracy"]], {RECIPE: dict(recipe)})
    before = recipe_of(record)
    if "ablation" not in before:
        raise StorageError(f"study {name!r} exists and is no ablation; choose another --study-name")
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
    """Whether a record is one of these."""
    return "ablation" in recipe_of(record)


def add(
    record: "optuna.Study", name: str, arch: Arch, seed: int, evaluation: Evaluation, environment: Mapping[str, Any]
) -> None:
    """Records a finished training, all of it at once."""
    attrs = {
        "variant": name,
        **start_attrs(arch, {"variant": name}, seed),
        **end_attrs(evaluation, dict(environment)),
    }
    values = [evaluation.scores["accuracy"]] if evaluation.error is None else None
    add_finished(record, attrs, values)


@dataclass(frozen=True)
class Trained:
    """What became of a training: its accuracy, or why there is none."""

    accuracy: float | None
    error: str | None

    @property
    def settled(self) -> bool:
        """Whether training again would come to the same: it ended, or diverged."""
        return self.error is None or self.error.startswith("diverged")


def trainings(record: "optuna.Study") -> dict[tuple[str, int], Trained]:
    """The last training of each network, by its key, and seed; a finished one before one that failed."""
    found: dict[tuple[str, int], Trained] = {}
    for frozen in record.get_trials(deepcopy=False):
        attrs = frozen.user_attrs
        if "variant" in attrs:
            key = attrs["arch_key"], attrs["seed"]
            new = Trained(attrs.get("scores", {}).get("accuracy"), attrs.get("error"))
            if new.error is None or key not in found or found[key].error is not None:
                found[key] = new
    return found


def set_outcome(record: "optuna.Study", outcome: Outcome) -> None:
    """Keeps everything but the accuracies, which the trials hold."""
    bare = tuple(replace(result, accuracies={}, errors={}) for result in outcome.results)
    record.set_user_attr(OUTCOME, replace(outcome, results=bare).to_dict())


def outcome_of(record: "optuna.Study") -> Outcome:
    """What an ablation has found so far.

    Raises:
        StorageError: it was interrupted before anything was known.
    """
    kept = record.user_attrs.get(OUTCOME)
    if kept is None:
        raise StorageError(f"study {record.study_name!r} has no result yet; run it first")
    return with_accuracies(Outcome.from_dict(kept), record)


def with_accuracies(outcome: Outcome, record: "optuna.Study") -> Outcome:
    """The outcome with every training that the record holds of its networks."""
    found = trainings(record)
    results = []
    for result in outcome.results:
        own = {seed: trained for (key, seed), trained in sorted(found.items()) if key == result.key}
        accuracies = {seed: t.accuracy for seed, t in own.items() if t.accuracy is not None and t.error is None}
        errors = {seed: t.error for seed, t in own.items() if t.error is not None}
        results.append(replace(result, accuracies=accuracies, errors=errors))
    return replace(outcome, results=tuple(results))
