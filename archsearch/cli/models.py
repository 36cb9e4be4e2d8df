"""MODEL arguments: named networks, timm's, architecture files, trials of a study."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from archsearch.errors import OptionError, UserError

if TYPE_CHECKING:
    from archsearch.ablation.variants import ListStudy
    from archsearch.arch import Arch
    from archsearch.arch.networks import TimmModel
    from archsearch.arch.paper import Published

#: What a trial of a study begins with: ``study:NAME#NUMBER``, or ``study:NAME`` for its front.
STUDY = "study:"
HELP = "a name (see `describe`), timm:NAME, an architecture's .json, study:NAME#TRIAL, or study:NAME for its front"


@dataclass(frozen=True)
class Model:
    """A network that was asked for.

    Attributes:
        name: of the network, as tables show it.
        network: None where there is none.
        error: why not.
        paper: the row of the paper that it is, if it is one.
        paper_ratios: of that row, by ``train`` and ``infer``.
    """

    name: str
    network: "Arch | TimmModel | None" = None
    error: str | None = None
    paper: "Published | None" = None
    paper_ratios: dict[str, float] = field(default_factory=dict)


def find_models(references: list[str], img_size: int | None, storage: str) -> list[Model]:
    """The networks that MODEL arguments name, each once; what is wrong with one of them stands in its place."""
    models: dict[str, Model] = {}
    for reference in references:
        try:
            found = _find(reference, img_size, storage)
        except UserError as error:
            found = [Model(reference, error=str(error))]
        models |= {model.name: model for model in found if model.name not in models}
    return list(models.values())


def study_models(study: "ListStudy", kind: str, img_size: int | None) -> list[Model]:
    """The networks of a study, at the resolution for a kind of device or another one."""
    from dataclasses import replace

    found = []
    for variant in study.variants:
        network = study.timed(variant, kind)
        if img_size is not None:
            network = replace(network, img_size=img_size)
        ratios = {speed: study.paper_ratio(variant, speed) for speed in study.columns}
        known = {speed: ratio for speed, ratio in ratios.items() if ratio is not None}
        found.append(Model(variant.name, network, paper=variant.row, paper_ratios=known))
    return found


def _find(reference: str, img_size: int | None, storage: str) -> list[Model]:
    from archsearch.arch.networks import find

    if not reference.startswith(STUDY):
        return [Model(reference, find(reference, img_size))]
    name, mark, number = reference.removeprefix(STUDY).rpartition("#")
    if not mark:
        name, number = reference.removeprefix(STUDY), ""
    elif not number.isascii() or not number.isdigit():
        raise OptionError(f"{reference}: write study:NAME#TRIAL with the number of a trial")
    found = []
    for trial, arch in _archs(name, storage, int(number) if mark else None):
        resized = arch if img_size is None else arch.replace(img_size=img_size)
        found.append(Model(f"{STUDY}{name}#{trial}", resized))
    return found


def _archs(name: str, storage: str, number: int | None) -> "list[tuple[int, Arch]]":
    """A trial's architecture by number, or those of the front."""
    from archsearch.report.frame import front_rows, trials_frame
    from archsearch.search.definition import load, objectives_of
    from archsearch.search.storage.opening import open_storage
    from archsearch.search.storage.records import trials_of

    record = load(name, open_storage(storage, create=False))
    trials = {trial.number: trial for trial in trials_of(record)}
    if number is not None:
        if number not in trials:
            raise OptionError(f"study {name!r} has no finished trial {number} with an architecture of its own")
        return [(number, trials[number].arch)]
    objectives = objectives_of(record)
    front = front_rows(trials_frame(list(trials.values()), objectives), objectives)
    if front.empty:
        raise OptionError(f"study {name!r} has no front yet; name a trial, study:{name}#NUMBER")
    return [(int(n), trials[int(n)].arch) for n in front["number"]]
