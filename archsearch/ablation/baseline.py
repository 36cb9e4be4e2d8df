"""The networks of an ablation, from the study and the baseline that its spec names."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from archsearch.ablation.spec import SEARCH, AblationSpec
from archsearch.ablation.variants import ListStudy, around
from archsearch.ablation.yaml import load_study
from archsearch.arch import Arch
from archsearch.arch.networks import find
from archsearch.errors import OptionError
from archsearch.recipes import ProxyRecipe
from archsearch.space.space import space_from_dict
from archsearch.utils.key_fields import restored
from archsearch.utils.package_data import shipped

if TYPE_CHECKING:
    from archsearch.trial import Trial


@dataclass(frozen=True)
class BaselineSearch:
    """The search that found a baseline.

    Attributes:
        name: Name of its study.
        proxy: Its proxy recipe.
        dataset: Name of its data set.
    """

    name: str
    proxy: ProxyRecipe
    dataset: str


@dataclass(frozen=True)
class Networks:
    """The networks of an ablation.

    Attributes:
        study: Baseline and variants.
        search: Search that the baseline comes from; None for other baselines.
    """

    study: ListStudy
    search: BaselineSearch | None = None


def read_networks(spec: AblationSpec) -> Networks:
    """Read the study and the baseline of a spec, and load its mixer files first.

    Raises:
        UserError: The study, the baseline or a mixer file cannot be read, or they do not fit together.
    """
    if spec.mixers:
        _load_mixers(spec)
    if spec.from_search:
        return _around_trial(spec)
    if spec.baseline is None:
        return Networks(_study(spec, None))
    network = find(spec.baseline)
    if not isinstance(network, Arch):
        raise OptionError(f"--baseline {spec.baseline} comes ready made from timm and has no parts to change")
    return Networks(_study(spec, (spec.baseline, network)))


def _load_mixers(spec: AblationSpec) -> None:
    from archsearch.nn import load_mixers  # PyTorch is not imported where there are none

    for path in spec.mixers:
        load_mixers(path)


def _study(spec: AblationSpec, baseline: tuple[str, Arch] | None) -> ListStudy:
    if isinstance(spec.study, str):
        return load_study(spec.study, shipped("studies"), baseline)
    if baseline is not None or spec.study is None:
        raise OptionError("another baseline needs the name or the file of a study, not its networks")
    return spec.study


def _around_trial(spec: AblationSpec) -> Networks:
    """Return the study with a trial of a search as its baseline, or every other choice of that trial's space."""
    from archsearch.search.definition import load, recipe_of
    from archsearch.search.storage.opening import open_storage
    from archsearch.search.storage.records import trials_of

    baseline = str(spec.baseline)
    name, mark, number = baseline.removeprefix(SEARCH).rpartition("#")
    if not mark or not number.isascii() or not number.isdigit():
        raise OptionError(f"--baseline {baseline}: write study:NAME#TRIAL with the number of a trial")
    record = load(name, open_storage(spec.storage, create=False))
    recipe = recipe_of(record)
    if "space" not in recipe:
        raise OptionError(f"--baseline {baseline}: {name!r} is an ablation; name a trial of a search")
    trial = _trial(name, trials_of(record), int(number))
    if spec.study is not None:
        study = _study(spec, (baseline, trial.arch))
    else:
        study = around(baseline, space_from_dict(recipe["space_name"], recipe["space"]), trial.params, trial.arch)
    return Networks(study, BaselineSearch(name, restored(ProxyRecipe, recipe["proxy"]), recipe["data"]["name"]))


def _trial(name: str, trials: "list[Trial]", number: int) -> "Trial":
    found = next((trial for trial in trials if trial.number == number), None)
    if found is None:
        raise OptionError(f"study {name!r} has no finished trial {number} with an architecture of its own")
    return found
