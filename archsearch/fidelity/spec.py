"""Where and how a plan's proxy networks are trained: the frozen spec that ``archsearch.fidelity.run`` takes."""

from dataclasses import dataclass
from pathlib import Path

from archsearch.errors import OptionError
from archsearch.recipes import check_dataset


@dataclass(frozen=True)
class FidelitySpec:
    """Data, device and workers of a fidelity study.

    Attributes:
        dataset: Data set, of ``archsearch.recipes.DATASETS``.
        data_root: Folder to read (``folder``), or to download into; None for the cache.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``; ``auto`` and ``cuda`` mean all GPUs of the first one's model.
        workers: Trainings at a time, each with one thread; None for one per core, on GPUs up to four each. 0 trains
            in this process.
        seed: Seed of drawing the architectures.
        retrain: Whether to train again what the disk cache holds.
        mixers: Files of the user's own mixers, loaded by the workers. This process must have loaded them already
            (``archsearch.nn.load_mixers``).
        only: Names of the schedules to train, besides the reference; none for all. Architectures are those of the
            whole plan.

    Raises:
        DataError: The data set is unknown, or a folder is asked for and not named.
        OptionError: The number of workers is negative.
    """

    dataset: str = "drawn"
    data_root: Path | None = None
    device: str = "auto"
    workers: int | None = None
    seed: int = 0
    retrain: bool = False
    mixers: tuple[Path, ...] = ()
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_dataset(self.dataset, self.data_root)
        if self.workers is not None and self.workers < 0:
            raise OptionError(f"workers is {self.workers}, but must be 0 or more")
