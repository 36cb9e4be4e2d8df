"""The stages of an ablation: count, time, evaluate published weights, explain a search, train, try pairs.

Each stage skips what the storage knows already, and stores what it finds before the next one begins.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from archsearch.ablation.listener import AblationListener
from archsearch.ablation.measure import carried, counted, timed, trainings, with_variants
from archsearch.ablation.outcome import Outcome, Result
from archsearch.ablation.pairs import Budget, all_pairs, plan_pairs, to_screen, to_test
from archsearch.ablation.record import OUTCOME, add, outcome_of, set_outcome, with_accuracies
from archsearch.ablation.record import trainings as recorded
from archsearch.ablation.resolve import ResolvedAblation
from archsearch.ablation.small_maps_rows import SmallMapsRows
from archsearch.ablation.spec import HUB, AblationSpec
from archsearch.ablation.variants import Variant
from archsearch.arch import Arch
from archsearch.benchmark.timer import Timer, Timings
from archsearch.data.folder import cache_folder
from archsearch.errors import StorageError, UserError
from archsearch.evaluate.machine import Machine, Source, machine_for
from archsearch.evaluate.pretrained import trained_top1
from archsearch.evaluate.train_jobs import TrainJob, train_all
from archsearch.nn.device import environment
from archsearch.search.definition import load, objectives_of
from archsearch.search.importance import importance
from archsearch.search.same_recipe import same_part
from archsearch.search.storage.opening import open_storage

if TYPE_CHECKING:
    import optuna


class Stages:
    """An ablation under way.

    Attributes:
        outcome: Everything that is known by now but the accuracies, which the storage has.
    """

    def __init__(
        self, plan: ResolvedAblation, record: "optuna.Study", outcome: Outcome, listener: AblationListener
    ) -> None:
        """Prepare the stages of an ablation.

        Args:
            plan: Checked ablation.
            record: Its study in the storage.
            outcome: Outcome without results.
            listener: Progress listener.
        """
        self.plan, self.spec, self.record, self.listener = plan, plan.spec, record, listener
        self.outcome = outcome

    def count(self) -> None:
        """Count the parameters and MACs of every network, and take over what the storage knows of it."""
        study = self.plan.study
        before = outcome_of(self.record) if OUTCOME in self.record.user_attrs else None
        known = {result.name: result for result in before.results} if before else {}
        self.listener.note(f"{study.title}\ncounting {len(study.variants)} networks")
        keep = before is not None and not self.spec.remeasure and _timed_alike(self.outcome, before)
        results = [_with_known(result, known.get(result.name), keep) for result in counted(study, known)]
        if before:
            results = carried(study, results, before)
            self.outcome = replace(self.outcome, pairs=before.pairs, importance=before.importance)
        self._store(replace(self.outcome, results=tuple(results)))

    def time(self) -> None:
        """Time the chosen networks that have no speeds yet."""
        results = {result.name: result for result in self.outcome.results}
        wanted = [
            v for v in self.plan.chosen.variants if not results[v.name].speeds or "error" in results[v.name].speeds
        ]
        with self._timer() as timer:
            for number, variant in enumerate(wanted, 1):
                results[variant.name] = replace(results[variant.name], speeds=timed(self.plan.timed(variant), timer))
                self.listener.timed(results[variant.name], number, len(wanted))
                self._store(replace(self.outcome, results=tuple(results.values())))

    def _timer(self) -> Timer:
        device = self.plan.device
        return Timer(
            self.plan.bench,
            str(device),
            Timings(cache_folder() / "timings", environment(device)),
            self.spec.mixers,
            on_wait=lambda holder: self.listener.note(f"waiting for the device: {holder}") if holder else None,
            remeasure=self.spec.remeasure,
            reference=self.plan.timed(self.plan.study.baseline),
        )

    def evaluate_weights(self) -> None:
        """Evaluate the published weights of the chosen networks, as far as the storage does not know them."""
        weights, root = self.spec.weights, self.spec.data_root
        assert weights is not None and root is not None  # noqa: S101, PT018 - the spec is checked
        folder = None if weights == HUB else Path(weights)
        results = {result.name: result for result in self.outcome.results}
        for variant in self.plan.chosen.variants:
            name = variant.weights
            if not name or results[variant.name].trained.get("weights") == name:
                continue
            trained = trained_top1(name, folder, root, self.plan.device)
            self.listener.note(f"{variant.name}: {trained['correct']} of {trained['images']} with {name}")
            results[variant.name] = replace(results[variant.name], trained=trained)
            self._store(replace(self.outcome, results=tuple(results.values())))

    def explain_search(self) -> None:
        """Find the parameter importances of the search; of the baseline's own only if it has enough trials."""
        search = self.plan.search
        if search is None:
            return
        try:
            record = load(search, open_storage(self.spec.storage, create=False))
            names = [objective.name for objective in objectives_of(record)]
            if "accuracy" not in names:
                raise StorageError(f"study {search!r} has no accuracy to explain; name another --importance")
            found = importance(record, names.index("accuracy"))
        except UserError:
            if self.spec.importance:
                raise
            return
        self._store(replace(self.outcome, importance={"study": search, "axes": [asdict(axis) for axis in found]}))

    def train(self) -> None:
        """Train the chosen networks, then pairs of them, as far as the storage does not know them."""
        self._tell_maps()
        asked, most = trainings(self.plan.chosen.variants, self.spec.seeds), self.spec.max_trainings
        self._train(asked[:most])
        if not self.spec.pairs:
            return
        left = self.spec.pairs if most is None else min(self.spec.pairs, most - len(asked))
        if left <= 0:
            self.listener.note(f"--n-trials {most} leaves none for pairs: there are {len(asked)} without them")
        else:
            self._try_pairs(left)

    def _tell_maps(self) -> None:
        """Say which of the kernel sizes that are to be compared the proxy's maps are too small to judge."""
        chosen = self.outcome.of({variant.name for variant in self.plan.chosen.variants})
        for line in SmallMapsRows.of(chosen).judgement.lines:
            self.listener.note(line)

    def _try_pairs(self, most: int) -> None:
        """Screen pairs, and test those that stand out, in at most so many trainings."""
        pairs = all_pairs(self.plan.chosen, self.plan.proxy)
        used = self.outcome.pairs.get("screened", [])
        budget = plan_pairs(len(pairs), most, self.spec.seeds, used)
        seeds = {"screened": sorted({*used, *budget.screening}), "tested": list(budget.testing)}
        self.outcome = replace(self.outcome, pairs=seeds)
        if budget.screening:
            pairs = self._screen(pairs, budget)
        jobs = to_test(pairs, with_accuracies(self.outcome, self.record), budget)
        words = ", ".join(map(str, budget.testing))
        self.listener.note(f"{len(_variants(jobs))} pairs are tested, with seeds {words}")
        self._train_pairs(jobs)

    def _screen(self, pairs: Sequence[Variant], budget: Budget) -> list[Variant]:
        """Train the pairs of the largest effects, and return them."""
        jobs = to_screen(pairs, with_accuracies(self.outcome, self.record), budget)
        words = ", ".join(map(str, budget.screening))
        self.listener.note(f"{len(_variants(jobs))} pairs are screened, with seeds {words}")
        self._train_pairs(jobs)
        return _variants(jobs)

    def _train_pairs(self, jobs: Sequence[tuple[Variant, int]]) -> None:
        _, outcome = with_variants(self.plan.chosen, self.outcome, _variants(jobs))
        self._store(outcome)
        self._train(jobs)

    def _train(self, asked: Sequence[tuple[Variant, int]]) -> None:
        """Train networks with seeds, as far as the storage does not know them."""
        known = {key for key, trained in recorded(self.record).items() if trained.settled}
        known = set() if self.spec.retrain else known
        missing = [(v, seed, _arch(v)) for v, seed in asked if (_arch(v).key, seed) not in known]
        if not missing:
            return
        if len(missing) < len(asked):
            self.listener.note(f"{len(asked) - len(missing)} trainings are known")
        self.listener.training(len(missing))
        spec = self.spec
        source = Source(self.plan.dataset, spec.data_root, spec.mixers, spec.retrain)
        facts = environment(self.plan.device)
        jobs = [TrainJob(arch, self.plan.proxy, seed) for _, seed, arch in missing]
        for index, evaluation in train_all(jobs, source, machine_of(spec)):
            variant, seed, arch = missing[index]
            add(self.record, variant.name, arch, seed, evaluation, facts)
            self.listener.trained(variant, seed, evaluation)

    def _store(self, outcome: Outcome) -> None:
        self.outcome = outcome
        set_outcome(self.record, outcome)


def machine_of(spec: AblationSpec) -> Machine:
    """Return the devices and the workers of a spec's trainings."""
    return machine_for(spec.device, spec.workers or None, threads=1)


def _timed_alike(outcome: Outcome, before: Outcome) -> bool:
    recipes = outcome.recipe, before.recipe
    resolutions = [recipe.get("timed") for recipe in recipes]
    return resolutions[0] == resolutions[1] and same_part("bench", *(recipe.get("bench") for recipe in recipes))


def _with_known(result: Result, before: Result | None, keep_speeds: bool) -> Result:
    """Return a result with the speeds and the trained weights of the same network from before."""
    if before is None or before.key != result.key:
        return result
    return replace(result, speeds=before.speeds if keep_speeds else {}, trained=before.trained)


def _variants(jobs: Sequence[tuple[Variant, int]]) -> list[Variant]:
    """Return the variants of trainings, each once."""
    return list({variant.name: variant for variant, _ in jobs}.values())


def _arch(variant: Variant) -> Arch:
    assert isinstance(variant.network, Arch)  # noqa: S101 - only these are trained
    return variant.network
