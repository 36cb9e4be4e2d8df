"""MODEL arguments: named networks, timm's networks, architecture files, trials of a study."""

from typing import TYPE_CHECKING

from archsearch.errors import OptionError, UserError

if TYPE_CHECKING:
    from archsearch.benchmark import NamedNetwork

#: Prefix of a study's trials: ``study:NAME#NUMBER``, or ``study:NAME`` for its front.
STUDY = "study:"
HELP = "a name (see `describe`), timm:NAME, an architecture's .json, study:NAME#TRIAL, or study:NAME for its front"


def named_networks(references: list[str], storage: str) -> "tuple[NamedNetwork | str, ...]":
    """Return the networks that MODEL arguments name, with those of a study looked up in its storage.

    A study or trial that cannot be found becomes a network with an error.
    """
    from archsearch.benchmark import NamedNetwork

    networks: list[NamedNetwork | str] = []
    for reference in references:
        try:
            networks += _of_study(reference, storage) if reference.startswith(STUDY) else [reference]
        except UserError as error:
            networks.append(NamedNetwork(reference, error=str(error)))
    return tuple(networks)


def _of_study(reference: str, storage: str) -> "list[NamedNetwork]":
    from archsearch.benchmark import NamedNetwork
    from archsearch.report.stored_archs import stored_archs

    name, mark, number = reference.removeprefix(STUDY).rpartition("#")
    if not mark:
        name, number = reference.removeprefix(STUDY), ""
    elif not number.isascii() or not number.isdigit():
        raise OptionError(f"{reference}: write study:NAME#TRIAL with the number of a trial")
    archs = stored_archs(name, storage, int(number) if mark else None)
    return [NamedNetwork(f"{STUDY}{name}#{trial}", arch) for trial, arch in archs.items()]
