"""What an ablation compares, how, and where it is stored; and the record that a run returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.errors import OptionError
from archsearch.recipes import BenchRecipe, ProxyRecipe

if TYPE_CHECKING:
    from archsearch.ablation.outcome import Outcome
    from archsearch.ablation.variants import ListStudy

#: Prefix of a baseline that is a trial of a search: ``study:NAME#TRIAL``.
SEARCH = "study:"
#: Value of ``AblationSpec.weights`` for timm's hub instead of a folder.
HUB = "hub"


@dataclass(frozen=True)
class AblationSpec:
    """An ablation: a baseline and its variants, trained with the same seeds, counted and timed.

    Attributes:
        study: Name of a shipped study, path of a YAML file, or the networks themselves; None for every other choice
            of the space that ``baseline`` was found in.
        baseline: Baseline instead of the study's: name of a network, path of an architecture's JSON file, or
            ``study:NAME#TRIAL`` for a trial of a search in ``storage``.
        only: Names of the factors to run; empty for all.
        seeds: Training seeds of every network.
        train: Whether to train. A study with ``train: false`` is trained only if ``dataset`` is given.
        speed: Whether to measure throughput.
        weights: ``hub``, or a folder with published weights, whose top-1 on the images in ``data_root`` then replaces
            training; None to train.
        pairs: Maximum number of trainings of pairs of variants; None for no pairs.
        max_trainings: Maximum number of trainings in all; None for no limit.
        importance: Name of a search whose parameter importances are reported beside the differences; None for the
            search that the baseline comes from, if it has enough trials.
        dataset: Key of ``archsearch.recipes.DATASETS``; None for ``drawn``, or for the data set of the baseline's
            search.
        data_root: Folder with ``train/`` and ``val/``, or to download to.
        proxy: Proxy recipe: a name, a YAML file, or a recipe; None for that of device and data set,
            or for the recipe of the baseline's search.
        proxy_changes: Fields of it to change.
        bench: Recipe of the timing: a name, or a recipe; None for the one of the device.
        bench_changes: Fields of it to change.
        device: ``auto``, ``cpu``, ``cuda``, or ``cuda:N``; ``auto`` and ``cuda`` train on all GPUs of the first one's
            model.
        workers: Number of trainings at a time; None for one per core, on GPUs up to four each.
        storage: URL of an Optuna storage, or path of an SQLite file.
        study_name: Name in the storage; None for one made of the study and the data set.
        mixers: Python files with token mixers of the user's; they are executed.
        retrain: Whether to train again what is already known.
        remeasure: Whether to time again what is already known.
        command: Command line to put on record, which repeats or continues the ablation.
    """

    study: "str | ListStudy | None" = None
    baseline: str | None = None
    only: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    train: bool = True
    speed: bool = True
    weights: str | None = None
    pairs: int | None = None
    max_trainings: int | None = None
    importance: str | None = None
    dataset: str | None = None
    data_root: Path | None = None
    proxy: str | Path | ProxyRecipe | None = None
    proxy_changes: Mapping[str, Any] = field(default_factory=dict)
    bench: str | BenchRecipe | None = None
    bench_changes: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    workers: int | None = None
    storage: str = "sqlite:///runs/archsearch.db"
    study_name: str | None = None
    mixers: tuple[Path, ...] = ()
    retrain: bool = False
    remeasure: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        if self.study is None and self.baseline is None:
            raise OptionError("name a STUDY (see studies/), or --baseline study:NAME#TRIAL for what a search found")
        if self.study is None and not self.from_search:
            raise OptionError("--baseline alone must be study:NAME#TRIAL, whose space says what can be changed")
        if not self.seeds or len({*self.seeds}) < len(self.seeds):
            raise OptionError(f"seeds are {self.seeds}, but must be at least one, each once")
        if self.pairs and not self.train:
            raise OptionError("--pairs are trained; leave --no-train out")
        if self.weights is not None and (self.data_root is None or self.pairs):
            raise OptionError(
                "--weights are tried on --data-root DIR, whose val/ has ImageNet's classes; nothing is trained"
            )
        if not self.train and not self.speed and self.weights is None:
            raise OptionError("--no-train and --no-speed leave only counting, which `describe` does; leave one out")

    @property
    def from_search(self) -> bool:
        """Whether the baseline is a trial of a search."""
        return self.baseline is not None and self.baseline.startswith(SEARCH)


@dataclass(frozen=True)
class AblationRecord:
    """Result of an ablation, and where it is stored.

    Attributes:
        outcome: The networks that were asked for.
        stored: All networks of the stored ablation; more than ``outcome`` where ``AblationSpec.only`` leaves some out.
        study_name: Name in the storage.
        storage: URL or path of the storage, without passwords.
    """

    outcome: "Outcome"
    stored: "Outcome"
    study_name: str
    storage: str
