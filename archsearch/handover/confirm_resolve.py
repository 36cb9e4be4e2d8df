"""From what a confirmation is asked to do to what it does: the study looked up, and everything checked."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.complexity.parts import PartCounter
from archsearch.data import ImageData, load, reduce
from archsearch.data.folder import Track
from archsearch.errors import ArchError, DataError, OptionError
from archsearch.evaluate.machine import Machine, machine_for
from archsearch.handover.candidates import Candidate, choose
from archsearch.handover.confirm_spec import ConfirmSpec
from archsearch.nn import check_mixers, load_mixers
from archsearch.nn.device import device_name, environment
from archsearch.objectives import Objective
from archsearch.recipes import TRAINER, ProxyRecipe
from archsearch.search.definition import (
    CONFIRMS,
    DATA_ROOT,
    check_search,
    objectives_of,
    own_mixers,
    recipe_of,
    validation_images,
)
from archsearch.search.definition import load as load_study
from archsearch.search.recipe_choice import RecipeChoice
from archsearch.search.storage.opening import folder_beside, in_words, open_storage
from archsearch.search.storage.records import trials_of
from archsearch.space.proxy_yaml import Fit
from archsearch.space.space import space_from_dict
from archsearch.stats.noise import AccuracyNoise, accuracy_noise
from archsearch.utils.file_names import file_name
from archsearch.utils.key_fields import key_fields, restored

if TYPE_CHECKING:
    import optuna

#: What a recipe is longer by where none is chosen: factors on its epochs and on its training samples.
EPOCHS, SAMPLES = 2, 4
#: Distance of a confirmation's seeds from those of the search, so that no training begins as one of the search did.
SEED_OFFSET = 1000


@dataclass(frozen=True)
class ResolvedConfirmation:
    """A confirmation's specification with its defaults filled in.

    Attributes:
        spec: What was asked for.
        candidates: Networks to train.
        proxy: Recipe of the trainings.
        dataset: Key of ``archsearch.recipes.DATASETS``.
        root: Folder of the images, or of downloads.
        data: Images, reduced to the recipe's samples, on the CPU.
        machine: Devices and cores that the workers share.
        weights: Folder for the weights.
        seeds: Training seeds, in order.
        searched: Noise of the search's accuracies; None where it is unknown.
    """

    spec: ConfirmSpec
    candidates: tuple[Candidate, ...]
    proxy: ProxyRecipe
    dataset: str
    root: Path | None
    data: ImageData
    machine: Machine
    weights: Path
    seeds: tuple[int, ...]
    searched: AccuracyNoise | None = None

    def recipe(self) -> dict[str, Any]:
        """Return what identifies the confirmation, and what it was made with, as JSON-ready data."""
        device = self.machine.device(0)
        own = own_mixers({mixer.token_mixer for one in self.candidates for mixer in one.arch.mixers})
        return {
            "version": 1,
            CONFIRMS: self.spec.study,
            "objectives": ["accuracy"],
            "trainer": TRAINER,
            "proxy": key_fields(self.proxy),
            "data": {"name": self.data.name, "fingerprint": self.data.fingerprint},
            "split": "test",
            "images": len(self.data.test),
            "device": device_name(device),
            "searched": None if self.searched is None else asdict(self.searched),
            "environment": environment(device),
            "command": self.spec.command,
            **({"mixers": own} if own else {}),
        }


def resolve(spec: ConfirmSpec, track: Track | None = None) -> ResolvedConfirmation:
    """Look up the study, choose candidates and recipe, load the images, and check everything; nothing is written.

    Args:
        spec: What is asked for; files with mixers that it names are executed.
        track: Progress display for decoding a folder of images; None for no display.

    Raises:
        UserError: Something in it is wrong, or the study cannot be confirmed; the message says what would be right.
    """
    for path in spec.mixers:
        load_mixers(path)
    with in_words():
        record = load_study(spec.study, open_storage(spec.storage, create=False))
        recipe = recipe_of(record)
        check_search(record)
        objectives, trials = objectives_of(record), trials_of(record)
    _check_accuracy(spec.study, objectives)
    noise = accuracy_noise(trials, validation_images(record))
    space = space_from_dict(recipe["space_name"], recipe["space"])
    candidates = choose(trials, objectives, noise, space.baseline, spec.top, spec.controls)
    if not candidates:
        raise OptionError(f"study {spec.study!r} has no complete trial yet; run it first")
    if not recipe.get("constraints"):  # with any, one that the study has not evaluated may break them
        candidates = [_counted(one) for one in candidates]
    machine = machine_for(spec.device, spec.workers, threads=1)
    kind = "gpu" if machine.device(0).type != "cpu" else "cpu"
    root = spec.data_root or _root_of(record, recipe)
    searched = restored(ProxyRecipe, recipe["proxy"])
    data = _load(spec, recipe, root, searched, track)
    proxy = _proxy(spec, searched, data, RecipeChoice(spec.proxy, spec.proxy_changes), kind, space.fitted)
    if proxy.img_size != searched.img_size:
        data = load(recipe["data"]["name"], root, proxy.img_size, track)
    _check_networks(candidates, proxy, len(data.classes))
    return ResolvedConfirmation(
        spec=spec,
        candidates=tuple(candidates),
        proxy=proxy,
        dataset=recipe["data"]["name"],
        root=root,
        data=reduce(data, proxy),
        machine=machine,
        weights=spec.weights or folder_beside(spec.storage) / "weights" / file_name(spec.record_name),
        seeds=tuple(recipe["seed"] + SEED_OFFSET + index for index in range(spec.seeds)),
        searched=noise,
    )


def longer(proxy: ProxyRecipe, available: int) -> ProxyRecipe:
    """Return a recipe that trains the same networks for longer, on more images, at random crops.

    It has twice the epochs, of twice the samples each where the recipe counts those of an epoch. A recipe that samples
    the training images has four times as many of them, and where there are fewer, as many more epochs instead. It has
    no teacher: whoever judges a search does not share what may have misled it.

    Args:
        proxy: Recipe of a search.
        available: Number of training images that there are.

    >>> made = longer(ProxyRecipe(epochs=3, train_samples=3584), 45_000)
    >>> made.epochs, made.train_samples, made.crop_padding
    (6, 14336, 4)
    >>> made = longer(ProxyRecipe(epochs=3, train_samples=3584), 4096)
    >>> made.epochs, made.train_samples
    (21, 4096)
    >>> made = longer(ProxyRecipe(epochs=4, epoch_samples=9216, train_samples=0), 45_000)
    >>> made.epochs, made.epoch_samples
    (8, 18432)
    """
    wanted = SAMPLES * proxy.train_samples or available
    samples = min(wanted, available)
    return replace(
        proxy.with_crops(),
        epochs=round(EPOCHS * proxy.epochs * wanted / samples),
        epoch_samples=2 * proxy.epoch_samples,
        train_samples=samples if proxy.train_samples else 0,
        teacher=0.0,
    )


def _check_accuracy(study: str, objectives: Sequence[Objective]) -> None:
    names = [objective.name for objective in objectives]
    if "accuracy" not in names:
        raise OptionError(f"study {study!r} has no accuracy to confirm: its objectives are {', '.join(names)}")


def _proxy(
    spec: ConfirmSpec, searched: ProxyRecipe, data: ImageData, choice: RecipeChoice, kind: str, fit: Fit
) -> ProxyRecipe:
    if spec.proxy is None:
        choice = replace(choice, proxy=longer(searched, len(data.train)))
    return choice.recipes(kind, fit, data.name)[0]


def _root_of(record: "optuna.Study", recipe: Mapping[str, Any]) -> Path | None:
    """Return the folder that a study read its images from; None for a data set that needs none."""
    stored = record.user_attrs.get(DATA_ROOT)
    if stored is None and recipe["data"]["name"] == "folder":
        raise OptionError(f"study {record.study_name!r} does not say where its images are; add --data-root DIR")
    return None if stored is None else Path(stored)


def _load(
    spec: ConfirmSpec, recipe: Mapping[str, Any], root: Path | None, searched: ProxyRecipe, track: Track | None
) -> ImageData:
    """Load the images of the search, and check that they are the same."""
    data = load(recipe["data"]["name"], root, searched.img_size, track)
    if data.fingerprint != recipe["data"]["fingerprint"]:
        raise DataError(
            f"the images{f' in {root}' if root else ''} are not those of study {spec.study!r}; "
            "name their folder by --data-root DIR, or run a new study on these"
        )
    return data


def _check_networks(candidates: Sequence[Candidate], proxy: ProxyRecipe, classes: int) -> None:
    """Make sure that every candidate has a proxy network."""
    for one in candidates:
        try:
            check_mixers([proxy.shrink(one.arch, classes)])
        except ArchError as error:
            raise OptionError(
                f"the proxy network of {one.name} cannot exist: {error}; choose another --proxy, or --set its fields"
            ) from None


def _counted(candidate: Candidate) -> Candidate:
    """Return a candidate with counted scores where the study has not evaluated it."""
    if candidate.number is not None:
        return candidate
    return replace(candidate, scores={**PartCounter(activations=True)(candidate.arch)})
