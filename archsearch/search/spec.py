"""What a study is to do, as plain data."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archsearch.errors import OptionError
from archsearch.recipes import BenchRecipe, ProxyRecipe
from archsearch.search.recipe_choice import RecipeChoice
from archsearch.space.space import Space

#: The storage of studies where none is named.
STORAGE = "sqlite:///runs/archsearch.db"
#: The level of early stopping where none is named: docs/results/stopping.md says what it saves, and what it costs.
STOPPING_LEVEL = 0.9


@dataclass(frozen=True)
class Engine:
    """How candidates are evaluated: by processes of this machine, or by Ray Tune.

    Attributes:
        name: ``local`` or ``ray``.
        workers: Number of candidates evaluated at a time; None for one per core, on GPUs up to four each, as memory
            allows; 0 for this process itself.
        trial_timeout: Seconds after which a candidate is ended and recorded as failed.
        ray_address: Address of a Ray cluster, ``HOST:PORT`` or ``auto``; None to start one on this machine.
        gpus_per_trial: GPUs of a Ray cluster per candidate; None for 1 where it has any.
        cpus_per_trial: Cores of a Ray cluster per candidate; None for an equal share.
    """

    name: str = "local"
    workers: int | None = None
    trial_timeout: float | None = None
    ray_address: str | None = None
    gpus_per_trial: float | None = None
    cpus_per_trial: float | None = None


@dataclass(frozen=True)
class StudySpec:
    """Everything that a study is to do; ``archsearch.search.run`` does it.

    Attributes:
        space: Search space: the name of a shipped one, a YAML file, or a ``Space``.
        objectives: Objectives by name, ``pareto`` for the usual three, or a comma-separated list.
        n_trials: Number of trials in all, with those of earlier runs; None for 24, or for all with the grid sampler.
        timeout: Seconds after which no further trial is started.
        seed: Seed of the sampler and of every candidate's training.
        sampler: A key of ``archsearch.search.samplers.by_name.SAMPLERS``; None for that of the stored study, or
            ``cost_aware`` for a new one.
        constraints: Constraints like ``macs <= 1.5e9`` or ``infer_throughput >= 0.95 * baseline``; candidates that
            break one are not trained.
        seeds: Maximum number of training seeds per candidate; more than one only near the front.
        early_stopping: Whether to prune trainings that cannot reach the front.
        stopping_level: Probability of the upper bound of a training's prediction, from 0.5 to below 1: a training is
            pruned where that bound is dominated. Lower levels save more, and prune more of the front.
        device: Device that trains and is timed: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        engine: How candidates are evaluated.
        dataset: A key of ``archsearch.recipes.DATASETS``.
        data_root: Folder with the images, or to download them to.
        proxy: Proxy recipe: a name, a YAML file, or a recipe; None for the default of the device.
        proxy_changes: Fields of the proxy recipe to change.
        bench: Recipe of the timing: a name, or a recipe; None for the default of the device.
        bench_changes: Fields of it to change.
        mixers: Python files with token mixers of your own; they are executed.
        storage: URL of an Optuna storage, or path of an SQLite file.
        study_name: Name of the study; None for space, objectives and data set.
        speeds: JSON that ``benchmark`` wrote on another machine (``archsearch.benchmark.speeds.read_speeds``), to take
            measured scores from: nothing is timed here, and only architectures that the file knows are candidates.
        start_from: Architectures to evaluate first: ``paper``, a YAML or JSON file, or the name of another study.
        retrain: Whether to repeat trainings that earlier studies on this device have made.
        remeasure: Whether to repeat timings that earlier studies on this device have made.
        command: Command line that the study's records and page are to show.
    """

    space: str | Path | Space
    objectives: str | Sequence[str] = "pareto"
    n_trials: int | None = None
    timeout: float | None = None
    seed: int = 0
    sampler: str | None = None
    constraints: Sequence[str] = ()
    seeds: int = 1
    early_stopping: bool = True
    stopping_level: float = STOPPING_LEVEL
    device: str = "auto"
    engine: Engine = Engine()
    dataset: str = "drawn"
    data_root: Path | None = None
    proxy: str | Path | ProxyRecipe | None = None
    proxy_changes: Mapping[str, Any] = field(default_factory=dict)
    bench: str | BenchRecipe | None = None
    bench_changes: Mapping[str, Any] = field(default_factory=dict)
    mixers: Sequence[Path] = ()
    storage: str = STORAGE
    study_name: str | None = None
    speeds: str | Path | None = None
    start_from: Sequence[str] = ()
    retrain: bool = False
    remeasure: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        for name, least in (("n_trials", 1), ("seeds", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise OptionError(f"{name} is {value}, but must be {least} or more")
        if self.timeout is not None and self.timeout <= 0:
            raise OptionError(f"timeout is {self.timeout}, but must be more than 0 seconds")
        if not 0.5 <= self.stopping_level < 1:
            raise OptionError(f"stopping_level is {self.stopping_level}, but must be at least 0.5 and below 1")
        if isinstance(self.constraints, str) or isinstance(self.start_from, str):
            raise OptionError("constraints and start_from are lists; write ['macs <= 1.5e9']")

    @property
    def objective_names(self) -> tuple[str, ...]:
        """Objectives as they were asked for, each without spaces around it.

        >>> StudySpec("inception_dw", "accuracy, macs").objective_names
        ('accuracy', 'macs')
        """
        names = self.objectives.split(",") if isinstance(self.objectives, str) else self.objectives
        return tuple(name.strip() for name in names)

    @property
    def recipes(self) -> RecipeChoice:
        """The proxy recipe and the recipe of the timing, as far as they are chosen."""
        return RecipeChoice(self.proxy, self.proxy_changes, self.bench, self.bench_changes)

    def in_this_process(self) -> "StudySpec":
        """Return the spec with this process as its engine."""
        return dataclasses.replace(self, engine=Engine(workers=0))
