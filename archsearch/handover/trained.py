"""Where the weights of a study's trained networks are."""

import shlex
from pathlib import Path

from archsearch.errors import StorageError
from archsearch.handover.confirm_record import stored_confirmations
from archsearch.handover.confirmation import Trained
from archsearch.handover.weights import load_weights
from archsearch.search.definition import check_search, load, objectives_of
from archsearch.search.storage.opening import in_words, open_storage


def weights_of(study: str, number: int, storage: str) -> Path:
    """Return the file with the weights of a trial's proxy network, as its study's confirmation has trained it.

    Of several seeds, it is that with the best accuracy on the validation split, so that the accuracy on the test split
    is not chosen by.

    Args:
        study: Name of the study.
        number: Number of the trial.
        storage: URL of the storage, or path of an SQLite file.

    Returns:
        A file that ``archsearch.handover.load_weights`` reads.

    Raises:
        StorageError: The trial was not trained by a confirmation, or its file is gone; the message says what to do.
    """
    trained = _trained(study, number, storage)
    if trained is None:
        raise StorageError(
            f"trial {number} of study {study!r} has no weights: `confirm {shlex.quote(study)}` trains the front and "
            "keeps them (--top K trains more trials)"
        )
    best = max(trained.weights, key=lambda seed: trained.validation[seed])
    path = Path(trained.weights[best])
    if not path.is_file():
        raise StorageError(
            f"the weights of trial {number} of study {study!r} are no longer at {path}: `confirm "
            f"{shlex.quote(study)}` writes them again"
        )
    if load_weights(path).facts.get("accuracy") != trained.accuracies[best]:
        raise StorageError(
            f"{path} holds other weights than those of trial {number} of study {study!r}: `confirm "
            f"{shlex.quote(study)} --weights DIR` writes these into a folder of their own"
        )
    return path


def _trained(study: str, number: int, storage: str) -> Trained | None:
    """Return the trainings of a trial by the confirmation of its study that was created last and has any."""
    opened = open_storage(storage, create=False)
    with in_words():
        record = load(study, opened)  # says so where there is none of that name
        check_search(record)
        if all(objective.name != "accuracy" for objective in objectives_of(record)):
            raise StorageError(f"study {study!r} trains nothing, so that no trial of it has weights")
        for confirmation in stored_confirmations(study, opened):
            names = {candidate.number: candidate.name for candidate in confirmation.candidates}
            trained = confirmation.trained.get(names.get(number, ""))
            if trained is not None and trained.weights:
                return trained
    return None
