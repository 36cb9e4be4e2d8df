"""A study: what is searched for, and the one place that asks for candidates and tells their scores."""

import dataclasses
import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from archsearch.arch import Arch
from archsearch.errors import StorageError, unknown
from archsearch.objectives import OBJECTIVES, Objective
from archsearch.recipes import Bench, Proxy
from archsearch.search.records import end_attrs, is_candidate, start_attrs, to_trial
from archsearch.search.samplers import distributions, genome, join_generation, make_sampler
from archsearch.space import EXHAUSTIVE, Space, Value
from archsearch.trial import Evaluation, Trial

#: Study attribute that holds the recipe of a study; its absence marks a study of another tool.
RECIPE = "archsearch"
#: Draws in a row that may repeat known architectures before an unknown one is picked at random.
REDRAWS = 20


@dataclass(frozen=True)
class Study:
    """Everything that has to stay the same for two runs to be one study.

    Attributes:
        name: in the storage.
        space: what candidates are drawn from.
        objectives: in the order of the recorded values.
        proxy: recipe of the stand-in.
        bench: recipe of the timing.
        data: name and fingerprint of the data set.
        device: name of the device that trains and is timed.
        sampler: a key of ``archsearch.search.samplers.SAMPLERS``.
        seed: of the sampler, and of every candidate's training.
        population: individuals of a generation; kept from the first run.
    """

    name: str
    space: Space
    objectives: tuple[Objective, ...]
    proxy: Proxy
    bench: Bench
    data: Mapping[str, str]
    device: str
    sampler: str = "nsga2"
    seed: int = 0
    population: int = 8

    def recipe(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {
            "version": 1,
            "space_name": self.space.name,
            "space": self.space.to_dict(),
            "objectives": [objective.name for objective in self.objectives],
            "proxy": dataclasses.asdict(self.proxy),
            "bench": dataclasses.asdict(self.bench),
            "data": dict(self.data),
            "device": self.device,
            "sampler": self.sampler,
            "seed": self.seed,
            "population": self.population,
        }


@dataclass(frozen=True)
class Candidate:
    """An architecture that was asked for and waits to be evaluated."""

    number: int
    arch: Arch
    params: Mapping[str, Value]
    seed: int
    rerun_of: int | None = None


def create_or_resume(study: Study, storage: BaseStorage) -> optuna.Study:
    """The study's record in the storage, made if it is not there.

    Raises:
        StorageError: a study of that name was run with another recipe, or by another tool.
    """
    record = check_same(study, storage)
    if record is None:
        directions = [objective.direction for objective in study.objectives]
        record = optuna.create_study(storage=storage, study_name=study.name, directions=directions)
        record.set_user_attr(RECIPE, study.recipe())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # still marked experimental
            record.set_metric_names([objective.name for objective in study.objectives])
    return record


def check_same(study: Study, storage: BaseStorage) -> optuna.Study | None:
    """The study's record, if there is one; writes nothing.

    Raises:
        StorageError: as ``create_or_resume``.
    """
    record = _existing(study.name, storage)
    if record is not None:
        _check_recipe(study, recipe_of(record))
    return record


def load(name: str, storage: BaseStorage) -> optuna.Study:
    """A study's record, for reading.

    Raises:
        StorageError: there is none of that name (the nearest is offered), or it is another tool's.
    """
    record = _existing(name, storage)
    if record is None:
        names = optuna.get_all_study_names(storage)
        raise StorageError(unknown("study", name, names) if names else "the storage holds no study yet; run one first")
    recipe_of(record)
    return record


def recipe_of(record: optuna.Study) -> dict[str, Any]:
    """The recipe a study was made with, as JSON-ready data.

    Raises:
        StorageError: another tool made the study.
    """
    recipe: dict[str, Any] | None = record.user_attrs.get(RECIPE)
    if recipe is None:
        raise StorageError(f"study {record.study_name!r} was not made by archsearch; choose another --study-name")
    return recipe


def objectives_of(record: optuna.Study) -> tuple[Objective, ...]:
    """The objectives of a study, in the order of its values."""
    return tuple(OBJECTIVES[name] for name in recipe_of(record)["objectives"])


def _existing(name: str, storage: BaseStorage) -> optuna.Study | None:
    if name not in optuna.get_all_study_names(storage):
        return None
    return optuna.load_study(study_name=name, storage=storage)


def _check_recipe(study: Study, before: dict[str, Any]) -> None:
    now = study.recipe()
    for field, value in now.items():
        if field == "population" or before.get(field) == value:
            continue
        if isinstance(value, dict):
            inner = next((k for k in value if before[field].get(k) != value[k]), "")
            detail = (
                "" if isinstance(value.get(inner), dict) else f" ({before[field].get(inner)}, not {value.get(inner)})"
            )
            field = f"{field}.{inner}"
        else:
            detail = f" ({before.get(field)}, not {value})"
        raise StorageError(
            f"study {study.name!r} exists with another {field}{detail}; "
            "choose another --study-name, or repeat the options it was made with"
        )


class Search:
    """Asks for candidates that are new, and tells what became of them. One process per study.

    Attributes:
        study: what is searched for.
        record: the same, in the storage.
        reruns: numbers of trials that were lost with their process, and wait to be run again.
        duplicates: how many draws repeated a known architecture in this process.
    """

    def __init__(self, study: Study, record: optuna.Study) -> None:
        self.study, self.record = study, record
        self.population = recipe_of(record)["population"]
        self.duplicates = 0
        # This process is the only one: whatever still runs on record died with its process.
        self.reruns = self.give_back("its process ended before the trial did")
        kept = [t for t in record.get_trials(deepcopy=False) if t.state.is_finished() and "lost" not in t.user_attrs]
        self.draws = len(kept)
        self.trials: list[Trial] = [to_trial(t) for t in kept if is_candidate(t)]
        self._seen = {trial.arch.key: trial.number for trial in self.trials}
        self._distinct = study.space.distinct()

    def ask(self) -> Candidate | None:
        """A candidate that the study has not seen; None when no more are found."""
        for redraw in range(2 * REDRAWS):
            if self.exhausted:
                return None
            if redraw >= REDRAWS and not self._enqueue_unseen():
                return None
            trial = self._draw()
            params = self.study.space.active(trial.params)
            arch = self.study.space.arch(params)
            twin = self._seen.get(arch.key)
            if twin is None:
                for name, value in start_attrs(arch, params, self.study.seed).items():
                    trial.set_user_attr(name, value)
                self._seen[arch.key] = trial.number
                return Candidate(trial.number, arch, params, self.study.seed, trial.user_attrs.get("rerun_of"))
            self._tell_duplicate(trial, twin)
        return None

    def tell(self, candidate: Candidate, evaluation: Evaluation, environment: Mapping[str, Any]) -> Trial:
        """Records an evaluation, finished or failed."""
        self._set_attrs(candidate.number, end_attrs(evaluation, dict(environment)))
        if evaluation.error is None:
            values = [evaluation.scores[objective.name] for objective in self.study.objectives]
            frozen = self.record.tell(candidate.number, values)
        else:
            frozen = self.record.tell(candidate.number, state=TrialState.FAIL)
        self.trials.append(to_trial(frozen))
        return self.trials[-1]

    def give_back(self, reason: str) -> list[int]:
        """Ends trials that are under way; the study's next run evaluates them first.

        Returns:
            Numbers of all trials that are going to be run again.
        """
        undrawn = []
        for frozen in self.record.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if set(frozen.params) == {axis.name for axis in self.study.space.axes}:
                # First the new place in the queue, then the end of the old one: killed between, nothing is lost.
                self.record.enqueue_trial(dict(frozen.params), user_attrs={"rerun_of": frozen.number})
            else:
                undrawn.append(frozen.number)  # ended while it was drawn; the next draw is the same
            self._set_attrs(frozen.number, {"lost": reason})
            self.record.tell(frozen.number, state=TrialState.FAIL)
        waiting = self.record.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return undrawn + [t.user_attrs["rerun_of"] for t in waiting if "rerun_of" in t.user_attrs]

    @property
    def exhausted(self) -> bool:
        """Whether every architecture of the space is on record (never, where they are too many to visit)."""
        return len(self._seen) == self._distinct

    def _draw(self) -> optuna.Trial:
        sampler = make_sampler(self.study.sampler, self.study.seed, self.draws, self.population)
        self.record.sampler = sampler
        self.draws += 1
        trial = self.record.ask(fixed_distributions=distributions(self.study.space))
        join_generation(sampler, self.record, trial)
        return trial

    def _tell_duplicate(self, trial: optuna.Trial, twin: int) -> None:
        """The sampler learns the known values; the record says whose they are."""
        self.duplicates += 1
        trial.set_user_attr("duplicate_of", twin)
        known = self.record.get_trials(deepcopy=False)[twin]
        if known.state == TrialState.COMPLETE:
            self.record.tell(trial, known.values)
        else:
            self.record.tell(trial, state=TrialState.FAIL)

    def _enqueue_unseen(self) -> bool:
        space, rng = self.study.space, random.Random(f"{self.study.seed}/{self.draws}")
        if space.points() <= EXHAUSTIVE:
            points = [params for params in space.grid() if space.arch(params).key not in self._seen]
        else:
            drawn = (space.sample(rng) for _ in range(1000))
            points = [params for params in drawn if space.arch(params).key not in self._seen][:1]
        if points:
            self.record.enqueue_trial(genome(space, rng.choice(points)))
        return bool(points)

    def _set_attrs(self, number: int, attrs: Mapping[str, Any]) -> None:
        storage, frozen = self.record._storage, self.record.get_trials(deepcopy=False)[number]
        for name, value in attrs.items():
            storage.set_trial_user_attr(frozen._trial_id, name, value)
