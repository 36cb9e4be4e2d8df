"""Result reuse: trainings and timings of a storage's other studies, so that none is repeated.

The disk cache serves one machine, a storage may serve many. A training is reused where the proxy recipe, the data and
the make of the device are the same; a timing where the timing recipe, the make of the device and the versions of torch,
timm, CUDA and cuDNN are.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from archsearch.arch import Arch
from archsearch.objectives import Tier
from archsearch.search.definition import RECIPE, Study
from archsearch.search.same_recipe import same_part, timed_alike
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.storage.opening import attribute_rows
from archsearch.search.storage.records import accuracies_of
from archsearch.search.storage.rescoring import is_known, refixed, same_runtime, score_of, waited
from archsearch.trial import Epoch, Evaluation, finite

#: Number of rows of a database to read again, since rows may become visible out of order.
OVERLAP = 1000


@dataclass(frozen=True)
class Found:
    """Results of other studies for a candidate.

    Attributes:
        evaluation: Known scores, and the origin of each.
        environment: Environment of the trial that was trained, or else timed.
        whole: Whether nothing is left to evaluate.
    """

    evaluation: Evaluation
    environment: dict[str, Any]
    whole: bool


@dataclass(frozen=True)
class _Source:
    """Another study, and whether its accuracies and its speeds can be reused."""

    name: str
    trained: bool
    timed: bool


@dataclass
class _Gathered:
    scores: dict[str, float] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    reused: dict[str, str] = field(default_factory=dict)
    curve: tuple[Epoch, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    accuracies: dict[int, tuple[float, str]] = field(default_factory=dict)  # accuracy and origin by seed

    def take_accuracies(self, attrs: Mapping[str, Any], seeds: range, origin: str) -> None:
        """Add the accuracies of the wanted seeds, and the learning curve of the first one."""
        recorded = accuracies_of(attrs) or {attrs["seed"]: attrs["scores"]["accuracy"]}
        for seed, value in recorded.items():
            if seed not in seeds or seed in self.accuracies or not math.isfinite(value):
                continue
            self.accuracies[seed] = value, origin
            if seed == seeds[0]:
                self.environment = attrs.get("environment", {})
            if seed == seeds[0] == attrs["seed"]:
                self.curve = tuple(Epoch(**entry) for entry in attrs.get("curve", ()))

    def evaluation(self, seeds: range) -> Evaluation:
        """Return all results. Further seeds count only with the first, which decides whether they are needed."""
        scores, reused, accuracies = dict(self.scores), dict(self.reused), dict[int, float]()
        if seeds and seeds[0] in self.accuracies:
            known = sorted(self.accuracies.items())
            values = [value for _, (value, _) in known]
            scores["accuracy"] = sum(values) / len(values)
            reused["accuracy"] = ", ".join(dict.fromkeys(origin for _, (_, origin) in known))
            if len(seeds) > 1:
                accuracies = {seed: value for seed, (value, _) in known}
        curve = self.curve if "accuracy" in scores else ()
        return Evaluation(scores, dict(self.details), curve, reused=reused, accuracies=accuracies)


class ResultReuse:
    """Finds results for a study's candidates among the finished trials of the other studies in its storage."""

    def __init__(
        self,
        study: Study,
        mirror: StorageMirror,
        versions: Mapping[str, str],
        trainings: bool = True,
        timings: bool = True,
        fixed: Mapping[str, float] | None = None,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            study: Study whose candidates are evaluated.
            mirror: Trials of the study.
            versions: Versions that its timings are made with, from ``archsearch.nn.device.versions``; a timing with
                others is not reused.
            trainings: Whether trainings are reused.
            timings: Whether timings are reused.
            fixed: Fixed seconds per step of the reference, by kind of step.
        """
        self.study, self.mirror, self.recipe, self.versions = study, mirror, study.recipe(), dict(versions)
        by_tier = {tier: {o.name for o in study.quantities if o.tier is tier} for tier in Tier}
        self._counted = {"params", "macs"} | by_tier[Tier.COUNTED]
        self._speeds = by_tier[Tier.MEASURED] if timings else set()
        self._trainings = trainings and bool(by_tier[Tier.TRAINED])
        self._wanted = {"params", "macs"} | {o.name for o in study.quantities}
        self._trials: dict[str, dict[int, int]] = {}  # study id by trial id, by key of the architecture
        self._sources: dict[int, _Source] = {}
        self._row = 0
        self.fixed = dict(fixed or {})

    def known(self, arch: Arch, seed: int) -> Found | None:
        """Return the results for an architecture; None if there are none.

        Args:
            arch: Target architecture.
            seed: First seed of its trainings.

        Raises:
            ArchsearchError: The storage could not be reached for too long.
        """
        if not self._speeds and not self._trainings:
            return None
        seeds = range(seed, seed + self.study.seeds) if self._trainings else range(0)
        gathered: _Gathered = self.mirror.read(lambda: self._gather(arch.key, seeds))
        evaluation = gathered.evaluation(seeds)
        if not evaluation.reused:
            return None
        # Only a worker checks constraints and decides whether another seed is needed.
        simple = not self.study.constraints and self.study.seeds == 1
        return Found(evaluation, gathered.environment, simple and self._wanted <= evaluation.scores.keys())

    def _gather(self, key: str, seeds: range) -> _Gathered:
        self._refresh()
        gathered = _Gathered()
        for trial_id, study_id in sorted(self._trials.get(key, {}).items()):
            if self._wanted <= {*gathered.scores, "accuracy"} and gathered.accuracies.keys() >= set(seeds):
                break
            with suppress(KeyError):  # deleted in the meantime
                source = self._source(study_id)
                if source.trained or source.timed:
                    self._take(gathered, source, self.mirror.record._storage.get_trial(trial_id), seeds)
        return gathered

    def _refresh(self) -> None:
        """Read which architectures the other studies have trials of."""
        rows = attribute_rows(self.mirror.record._storage, "arch_key", self._row - OVERLAP)
        for row, study_id, trial_id, key in rows:
            self._row = max(self._row, row)
            if study_id != self.mirror.record._study_id:
                self._trials.setdefault(key, {})[trial_id] = study_id

    def _source(self, study_id: int) -> _Source:
        if study_id not in self._sources:
            storage = self.mirror.record._storage
            theirs = storage.get_study_user_attrs(study_id).get(RECIPE, {})
            alike = theirs.get("device") == self.recipe["device"]
            trained = alike and self._trainings and _trained_alike(self.recipe, theirs)
            timed = alike and bool(self._speeds) and timed_alike(self.recipe, theirs)
            self._sources[study_id] = _Source(storage.get_study_name_from_id(study_id), trained, timed)
        return self._sources[study_id]

    def _take(self, gathered: _Gathered, source: _Source, trial: FrozenTrial, seeds: range) -> None:
        """Add the results of a trial that are still missing. A timing counts even if its trial failed afterwards."""
        attrs, origin = trial.user_attrs, f"{source.name}#{trial.number}"
        scores = finite(attrs.get("scores", {}))
        details: dict[str, dict[str, Any]] = attrs.get("details", {})
        known = set(gathered.scores)
        for name in sorted(self._counted & scores.keys() - known):
            gathered.scores[name] = scores[name]
        timed = source.timed and self._same_versions(attrs.get("environment", {}))
        for name in sorted(self._speeds & scores.keys() & details.keys() - known) if timed else ():
            # A trial's environment is not that of a timing which it reused.
            taken_over = "#" in attrs.get("reused", {}).get(name, "")
            known_well = is_known(details[name], self.study.bench.known_within)
            alike = waited(details[name], self.versions) and same_runtime(details[name])
            if not taken_over and known_well and alike:
                gathered.details[name] = refixed(name, details[name], self.fixed)
                gathered.scores[name] = score_of(name, gathered.details[name], scores[name])
                gathered.reused[name] = origin
                gathered.environment = gathered.environment or attrs.get("environment", {})
        if source.trained and trial.state == TrialState.COMPLETE and "accuracy" in scores:
            gathered.take_accuracies(attrs, seeds, origin)

    def _same_versions(self, environment: Mapping[str, Any]) -> bool:
        return self.versions == {name: str(environment.get(name)) for name in self.versions}


def _trained_alike(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether two studies train the same architecture with the same seed to the same end."""
    if ours["trainer"] != theirs.get("trainer") or "proxy" not in theirs:
        return False
    data = [{name: recipe["data"].get(name) for name in ("name", "fingerprint")} for recipe in (ours, theirs)]
    return data[0] == data[1] and same_part("proxy", theirs["proxy"], ours["proxy"])
