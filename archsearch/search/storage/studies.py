"""Making a study in a storage, and adding finished trials to it."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState, create_trial

from archsearch.objectives import Objective


def new_study(
    name: str, storage: BaseStorage, objectives: Sequence[Objective], attrs: Mapping[str, Any]
) -> optuna.Study:
    """Create a study that names its objectives.

    Args:
        name: Name of the study; no other study of the storage has it.
        storage: Storage to create it in.
        objectives: Objectives in the order of the recorded values.
        attrs: User attributes of the study, JSON-ready.

    Returns:
        The study, without trials.
    """
    directions = [objective.direction for objective in objectives]
    record = optuna.create_study(storage=storage, study_name=name, directions=directions)
    for attr, value in attrs.items():
        record.set_user_attr(attr, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna still marks metric names as experimental
        record.set_metric_names([objective.name for objective in objectives])
    return record


def add_finished(record: optuna.Study, attrs: Mapping[str, Any], values: Sequence[float] | None) -> None:
    """Add a finished trial to a study in one step.

    Args:
        record: Study in its storage.
        attrs: User attributes of the trial, JSON-ready.
        values: Value per objective; None for a failed trial.
    """
    state = TrialState.FAIL if values is None else TrialState.COMPLETE
    record.add_trial(create_trial(state=state, values=values, user_attrs=dict(attrs)))


def storage_of(record: optuna.Study) -> BaseStorage:
    """Return the storage that holds a study."""
    return record._storage


def attrs_of_all(storage: BaseStorage) -> dict[str, dict[str, Any]]:
    """Return the user attributes of all studies of a storage by name, the oldest first."""
    studies = sorted(storage.get_all_studies(), key=lambda study: study._study_id)
    return {study.study_name: study.user_attrs for study in studies}
