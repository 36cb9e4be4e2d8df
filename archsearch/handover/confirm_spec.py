"""What a confirmation is to do, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archsearch.errors import OptionError
from archsearch.recipes import ProxyRecipe
from archsearch.search.spec import STORAGE


@dataclass(frozen=True)
class ConfirmSpec:
    """A study whose front is to be trained for longer; ``archsearch.handover.confirm`` does it.

    Attributes:
        study: Name of the study.
        storage: URL of its Optuna storage, or path of an SQLite file.
        top: Number of members: those of the front first, then others, by P(front); None for the whole front.
        controls: Number of dominated trials that are trained, too.
        seeds: Maximum number of training seeds per candidate; every one gets two, close rivals get more.
        proxy: Proxy recipe: a name, a YAML file, or a recipe; None for a longer one like the study's own
            (``archsearch.handover.confirm_resolve.longer``).
        proxy_changes: Fields of it to change.
        weights: Folder for the weights; None for ``weights/RECORD`` beside the storage, after the record's name.
        data_root: Folder with the images; None for the one that the study was last run with.
        device: Device that trains: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        workers: Number of trainings at a time; 0 for this process itself; None for one per core, on GPUs up to four
            each.
        mixers: Python files with token mixers of your own; they are executed.
        study_name: Name of the confirmation's own record; None for that of the study and ``-confirm``.
        retrain: Whether to repeat trainings that are known.
        command: Command line that the record is to show.
    """

    study: str
    storage: str = STORAGE
    top: int | None = None
    controls: int = 3
    seeds: int = 3
    proxy: str | Path | ProxyRecipe | None = None
    proxy_changes: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    data_root: Path | None = None
    device: str = "auto"
    workers: int | None = None
    mixers: tuple[Path, ...] = ()
    study_name: str | None = None
    retrain: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        for name, least in (("top", 1), ("seeds", 1), ("controls", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise OptionError(f"{name} is {value}, but must be {least} or more")

    @property
    def record_name(self) -> str:
        """Name of the confirmation's own record."""
        return self.study_name or f"{self.study}-confirm"
