"""Where the weights of a study's trained networks are."""

from pathlib import Path

from archsearch.errors import StorageError
from archsearch.handover.confirm_record import confirmation_of
from archsearch.handover.confirmation import Trained


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
    confirmation = confirmation_of(study, storage)
    trained = Trained()
    if confirmation is not None:
        names = {candidate.number: candidate.name for candidate in confirmation.candidates}
        trained = confirmation.trained.get(names.get(number, ""), trained)
    if not trained.weights:
        raise StorageError(
            f"trial {number} of study {study!r} has no weights: `confirm {study}` trains the front and keeps them "
            "(--top K trains more)"
        )
    best = max(trained.weights, key=lambda seed: trained.validation[seed])
    path = Path(trained.weights[best])
    if not path.is_file():
        raise StorageError(
            f"the weights of trial {number} of study {study!r} are no longer at {path}: `confirm {study}` writes them "
            "again"
        )
    return path
