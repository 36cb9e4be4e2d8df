"""Architectures of stored studies: one trial's, or those of the front."""

from archsearch.arch import Arch
from archsearch.errors import OptionError
from archsearch.report.frame import front_rows, trials_frame
from archsearch.search.definition import check_search, load, objectives_of
from archsearch.search.storage.opening import open_storage
from archsearch.search.storage.records import trials_of


def stored_archs(study: str, storage: str, number: int | None = None) -> dict[int, Arch]:
    """Return architectures of a study by the number of their trial.

    Args:
        study: Name of the study.
        storage: URL of its storage.
        number: Number of one trial; None for the Pareto front, best first in the first objective.

    Raises:
        StorageError: There is no such storage or study.
        OptionError: The study has no such trial, or no front yet, or is no search.
    """
    record = load(study, open_storage(storage, create=False))
    check_search(record)
    trials = {trial.number: trial for trial in trials_of(record)}
    if number is not None:
        if number not in trials:
            raise OptionError(f"study {study!r} has no finished trial {number} with an architecture of its own")
        return {number: trials[number].arch}
    objectives = objectives_of(record)
    front = front_rows(trials_frame(list(trials.values()), objectives), objectives)
    if front.empty:
        raise OptionError(f"study {study!r} has no front yet; name a trial, study:{study}#NUMBER")
    return {int(n): trials[int(n)].arch for n in front["number"]}
