"""MODEL arguments: named networks, timm's networks, architecture files, trials of a study."""

from typing import TYPE_CHECKING

from archsearch.errors import UserError
from archsearch.trial import MARK, STUDY, parse_trial

if TYPE_CHECKING:
    from archsearch.benchmark import NamedNetwork

HELP = "a name (see `describe`), timm:NAME, an architecture's .json, study:NAME#TRIAL, or study:NAME for its front"


def named_networks(references: list[str], storage: str) -> "tuple[NamedNetwork | str, ...]":
    """Return the networks that MODEL arguments name, with those of a study looked up in its storage.

    A study or trial that cannot be found becomes a network with an error.
    """
    from archsearch.arch.networks import TIMM
    from archsearch.benchmark import NamedNetwork

    networks: list[NamedNetwork | str] = []
    for reference in references:
        try:
            if reference.startswith(STUDY) and MARK not in reference:
                networks += _of_study(reference.removeprefix(STUDY), None, storage)
            elif not reference.startswith(TIMM) and (named := parse_trial(reference)) is not None:
                networks += _of_study(*named, storage)
            else:
                networks.append(reference)
        except UserError as error:
            networks.append(NamedNetwork(reference, error=str(error)))
    return tuple(networks)


def _of_study(study: str, number: int | None, storage: str) -> "list[NamedNetwork]":
    from archsearch.benchmark import NamedNetwork
    from archsearch.report.stored_archs import stored_archs

    archs = stored_archs(study, storage, number)
    return [NamedNetwork(f"{STUDY}{study}{MARK}{trial}", arch) for trial, arch in archs.items()]
