"""Networks that are handed over: trials of studies, named networks, architecture files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archsearch.arch import Arch
from archsearch.arch.networks import TIMM, find
from archsearch.errors import ArchError, OptionError
from archsearch.handover.confirm_record import stored_confirmation
from archsearch.handover.confirmation import Confirmed
from archsearch.objectives import Objective
from archsearch.search.definition import check_search, load, objectives_of, recipe_of, validation_images
from archsearch.search.storage.opening import open_storage
from archsearch.search.storage.records import trials_of
from archsearch.stats.noise import AccuracyNoise, accuracy_noise
from archsearch.trial import MARK, Trial, parse_trial


@dataclass(frozen=True)
class StudyTrial:
    """A trial and what is known of its study.

    Attributes:
        study: Name of the study.
        storage: URL of its storage.
        trial: The trial.
        objectives: Objectives of the study.
        recipe: What identifies the study, as it is stored.
        command: Command line of the study; empty where a program ran it.
        noise: Noise of the study's accuracies; None where nothing is known.
        confirmed: What longer trainings of the trial gave; None without a confirmation of it.
        confirming: Command line of that confirmation; empty where there is none.
    """

    study: str
    storage: str
    trial: Trial
    objectives: tuple[Objective, ...]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    noise: AccuracyNoise | None = None
    confirmed: Confirmed | None = None
    confirming: str = ""

    @property
    def name(self) -> str:
        """The trial as a user names it."""
        return f"{self.study}{MARK}{self.trial.number}"


@dataclass(frozen=True)
class Subject:
    """A network to hand over.

    Attributes:
        name: Name as a user writes it, without a prefix.
        arch: Target architecture.
        origin: The trial that it is of; None for a named network or a file.
    """

    name: str
    arch: Arch
    origin: StudyTrial | None = None


def find_subject(reference: str, storage: str) -> Subject:
    """Return the network that a user names: ``STUDY#TRIAL``, ``study:STUDY#TRIAL``, a name, or a JSON file.

    Args:
        reference: Network as the user wrote it.
        storage: URL of the studies' storage.

    Raises:
        ArchError: No such network exists, or it is one of timm's.
        OptionError: A study is named without a trial, or has no such trial.
        StorageError: There is no such storage or study.
    """
    if reference.startswith(TIMM):
        raise ArchError(f"{reference} is timm's own already; timm.create_model builds it by that name")
    named = parse_trial(reference)
    if named is not None:
        origin = _trial(*named, storage)
        return Subject(origin.name, origin.trial.arch, origin)
    try:
        return Subject(reference, _arch(reference))
    except ArchError as error:
        if reference.endswith(".json"):
            raise
        raise ArchError(f"{error}; a trial of a study is STUDY#NUMBER") from None


def _arch(reference: str) -> Arch:
    arch = find(reference)
    assert isinstance(arch, Arch)  # noqa: S101 - timm's are refused above
    return arch


def _trial(study: str, number: int, storage: str) -> StudyTrial:
    opened = open_storage(storage, create=False)
    record = load(study, opened)
    check_search(record)
    confirmation = stored_confirmation(study, opened)
    trials = trials_of(record)
    trial = next((trial for trial in trials if trial.number == number), None)
    if trial is None:
        raise OptionError(f"study {study!r} has no finished trial {number} with an architecture of its own")
    members = confirmation.members if confirmation is not None else ()
    return StudyTrial(
        study,
        storage,
        trial,
        objectives_of(record),
        recipe_of(record),
        record.user_attrs.get("command", ""),
        accuracy_noise(trials, validation_images(record)),
        next((one for one in members if one.candidate.number == trial.number), None),
        "" if confirmation is None else str(confirmation.recipe.get("command", "")),
    )
