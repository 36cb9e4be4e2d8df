"""The sampler that knows what candidates cost."""

import dataclasses
import random

import numpy as np
import optuna
import pytest
import tiny
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial
from sklearn.gaussian_process import GaussianProcessRegressor

from archsearch.evaluate.constraint import parse_constraints
from archsearch.objectives import parse_objectives
from archsearch.search.definition import create_or_resume
from archsearch.search.engines.runner import ProgressListener, Runner, run_here
from archsearch.search.samplers import cost_aware, features
from archsearch.search.samplers import gp as model
from archsearch.search.samplers.acquisition import START, Acquisition, CostAware
from archsearch.search.samplers.cost_aware import CostAwareSampler
from archsearch.search.samplers.ehvi import PROBES, probability_below_zero
from archsearch.search.samplers.features import POOL, Points, Scale, axis_features
from archsearch.search.samplers.gp import CHOOSE, LEARN, Model
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.search.warm_start import Start
from archsearch.space.locate import locate
from archsearch.space.space import Axis
from archsearch.stats.hypervolume import FrontTracker
from archsearch.trial import Epoch, Evaluation

SPACE = tiny.shipped_space("inception_dw")
OBJECTIVES = parse_objectives("accuracy,macs")
#: So many validation images that accuracies are exact, as those made up here are.
EXACT = dataclasses.replace(tiny.PROXY, val_samples=10**9)


def count(arch):
    """Costs such as real ones, without building anything."""
    size = sum(depth * dim**2 for depth, dim in zip(arch.depths, arch.dims, strict=True))
    kernel = dict(arch.mixers[0].params).get("band_kernel_size", dict(arch.mixers[0].params).get("kernel_size", 1))
    return {"macs": 1e3 * size + 1e6 * kernel, "params": 8.0 * size}


def accuracy(arch):
    """Grows with size and kernel; inception does best."""
    kind = {"inception": 0.1, "depthwise": 0.08, "pooling": 0.03}.get(arch.mixers[0].token_mixer, 0.0)
    macs = count(arch)["macs"]
    return 0.3 + kind + 0.05 * np.log(macs / 1e9)


def made_up(arch, seed, report, known=None):
    curve = (Epoch(1, 1.0, accuracy(arch), count(arch)["macs"] / 1e9),)
    return Evaluation({**count(arch), "accuracy": accuracy(arch)}, curve=curve), {}


def search_with(sampler, trials, seed=0, space=SPACE, evaluate=made_up, **changes):
    study = tiny.make_study("inception_dw", objectives="accuracy,macs", sampler=sampler, population=8, seed=seed)
    study = dataclasses.replace(study, space=space, proxy=EXACT, **changes)
    search = Search(study, StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage())), count)
    run_here(Runner(search, trials, ProgressListener()), evaluate)
    return search.trials


def test_it_finds_more_than_chance_and_than_a_genetic_sampler():
    """Hypervolume at the same number of trials, over five seeds."""
    whole = FrontTracker(OBJECTIVES)
    for number, params in enumerate(SPACE.grid()):
        done, _ = made_up(SPACE.arch(params), 0, None)
        whole.add(tiny.trial(number, done.scores["accuracy"], done.scores["macs"], 1.0))

    def found(sampler, seed):
        return FrontTracker(OBJECTIVES, search_with(sampler, 30, seed)).hypervolume(whole.box)

    ours, *others = ([found(name, seed) for seed in range(5)] for name in ("cost_aware", "random", "nsga2"))
    for other in others:
        assert np.median(ours) > np.median(other)
        assert min(ours) > np.median(other)


def test_the_first_candidates_are_far_apart():
    trials = search_with("cost_aware", START)
    assert len({trial.params["token_mixer"] for trial in trials}) >= 3
    assert len({trial.params["dims"] for trial in trials}) == 3


def test_what_breaks_a_counted_constraint_is_never_drawn():
    costs = sorted(count(SPACE.arch(params))["macs"] for params in SPACE.grid())
    limit = costs[len(costs) // 10]
    constraints = parse_constraints([f"macs <= {limit}"])
    trials = search_with("cost_aware", 40, constraints=constraints)
    assert len(trials) == 40
    assert all(count(trial.arch)["macs"] <= limit for trial in trials)
    shares = parse_constraints(["macs <= 0.5 * baseline"])
    half = 0.5 * count(SPACE.baseline)["macs"]
    assert all(count(trial.arch)["macs"] <= half for trial in search_with("cost_aware", 12, constraints=shares))


def test_what_is_likely_to_break_a_measured_constraint_is_avoided():
    """Depthwise candidates are too slow, which shows only once they are timed."""

    def timed(arch, seed, report, known=None):
        done, environment = made_up(arch, seed, report)
        slow = arch.mixers[0].token_mixer == "depthwise"
        excess = {"infer_throughput >= 100": 0.5 if slow else -0.5}
        scores = {k: v for k, v in done.scores.items() if k != "accuracy" or not slow} | {"infer_throughput": 50.0}
        return dataclasses.replace(done, scores=scores, curve=() if slow else done.curve, excess=excess), environment

    constraints = parse_constraints(["infer_throughput >= 100"])
    trials = search_with("cost_aware", 40, evaluate=timed, constraints=constraints)
    infeasible = [trial.number for trial in trials if trial.state == "infeasible"]
    assert infeasible  # nobody could know of the first
    assert sum(number >= 20 for number in infeasible) <= 1


def test_candidates_under_way_are_not_drawn_again_and_count_as_expected():
    study = tiny.make_study("inception_dw", objectives="accuracy,macs", sampler="cost_aware")
    search = Search(study, StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage())), count)
    run_here(Runner(search, 12, ProgressListener()), made_up)
    first = search.ask()
    common = search.samplers.common
    common.history.read(search.mirror.trials, but=-1)
    beside = [point for point in common.points.all if point.arch != first.arch and point.arch.dims == first.arch.dims]
    hoped, doubt = Acquisition(common, beside).predict_score()
    common.history.pending = []
    hoped_alone, doubt_alone = Acquisition(common, beside).predict_score()
    assert doubt.sum() < doubt_alone.sum()  # as if it had come to what is expected of it
    assert hoped == pytest.approx(hoped_alone, abs=0.01)
    several = [first, *(search.ask() for _ in range(7))]
    assert len({candidate.arch for candidate in several}) == 8
    assert search.duplicates == 0


@pytest.mark.parametrize(
    ("objectives", "share"), [("accuracy,macs", 1e-6), ("accuracy,macs,latency_ms", 0.1), ("macs,params", 1e-6)]
)
def test_a_candidate_under_way_is_as_good_as_one_that_gave_what_was_expected(objectives, share):
    """Both the model and the front have it, with its costs, counted or predicted; another worker looks elsewhere.

    A latency that was expected changes the latencies expected of others a little once it is measured.
    """

    def timed(arch, accuracy_, latency_ms):
        return Evaluation({**count(arch), "accuracy": accuracy_, "latency_ms": latency_ms}), {}

    study = tiny.make_study("inception_dw", objectives=objectives, sampler="cost_aware")
    search = Search(study, StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage())), count)
    latency = {name: cost for cost, name in enumerate(("pooling", "identity", "depthwise", "inception"), 1)}
    run_here(Runner(search, 12, ProgressListener()),
             lambda arch, *_: timed(arch, accuracy(arch), latency.get(arch.mixers[0].token_mixer, 5.0)))  # fmt: skip
    common, candidate = search.samplers.common, search.ask()
    common.history.read(search.mirror.trials, but=-1)
    (under_way,) = common.history.pending
    pool = [point for point in common.points.all if point.key != under_way.key]
    hoped = Acquisition(common, pool)._ehvi()
    alone = Acquisition(common, [under_way])
    latency_ms = next((-alone._cost(o, [under_way])[0] for o in common.objectives if o.name == "latency_ms"), 1.0)
    search.tell(candidate, *timed(candidate.arch, float(alone._expected[0]), float(latency_ms)))
    common.history.read(search.mirror.trials, but=-1)
    assert not common.history.pending
    assert hoped.any() == ("accuracy" in objectives)  # nothing undercuts the smallest network, which is under way
    assert hoped == pytest.approx(Acquisition(common, pool)._ehvi(), abs=share * hoped.max())


def noisy_search(images, values, seeds=1):
    """Return a search whose candidates score ``values(number, arch)``, by seed, on a number of validation images."""
    study = tiny.make_study("inception_dw", objectives="accuracy,macs", sampler="cost_aware", seeds=seeds)
    study = dataclasses.replace(study, proxy=dataclasses.replace(tiny.PROXY, val_samples=images))
    search = Search(study, StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage())), count)
    numbers = iter(range(1000))

    def evaluate(arch, seed, report, known=None):
        found = values(next(numbers), arch)
        by_seed = dict(enumerate(found)) if seeds > 1 else {}
        return Evaluation({**count(arch), "accuracy": float(np.mean(found))}, accuracies=by_seed), {}

    run_here(Runner(search, 16, ProgressListener()), evaluate)
    search.samplers.common.history.read(search.mirror.trials, but=-1)
    return search


def test_the_model_does_not_take_accuracies_for_exact():
    """However well a model fits them: their binomial error is the least noise that it believes in."""
    few, many = (noisy_search(n, lambda _, arch: [accuracy(arch)]).samplers.common for n in (100, 10**9))
    assert [row.sd for row in few.history.rows] == pytest.approx([0.048] * 16, rel=0.1)
    assert max(row.sd for row in many.history.rows) < 1e-4
    for common, least, most in ((few, 0.01, 0.05), (many, 0.0, 0.005)):
        _, sd = Acquisition(common, [row.point for row in common.history.rows]).predict_score()
        assert least < np.median(sd) < most


def test_accuracies_over_several_seeds_are_taken_to_the_level_of_the_first():
    """Seed 1 is worth two points to every network; every other candidate was trained with it."""
    rng = np.random.default_rng(0)
    scatter = rng.normal(0, 0.001, size=(16, 2))
    search = noisy_search(10**9, lambda n, _: (scatter[n] + [0.5, 0.52])[: 1 + n % 2].tolist(), seeds=2)
    rows = search.samplers.common.history.rows
    assert [row.value for row in rows[4:]] == pytest.approx([0.5] * 12, abs=0.003)
    assert all(row.scores["accuracy"] == row.value for row in rows)
    assert [row.sd for row in rows[8:]] == pytest.approx([0.001 / (1 + n % 2) ** 0.5 for n in range(8, 16)], rel=0.7)
    told = [trial.evaluation.scores["accuracy"] for trial in search.trials]
    assert np.mean(told[1::2]) == pytest.approx(0.51, abs=0.001), "what is recorded is the plain mean"


def test_an_optuna_study_of_an_unknown_number_of_images_has_no_noise_floor():
    common = CostAware(Points(SPACE, count), OBJECTIVES)
    assert common.history.standard_error(0.5) == 0.0


def test_where_the_usual_candidates_are_infeasible_others_are_looked_for():
    """In a large space hardly any random candidate is this small; those that are not are never drawn."""
    space = tiny.shipped_space("metanext")
    rng = random.Random(3)
    costs = sorted(count(space.arch(space.sample(rng)))["macs"] for _ in range(4000))
    constraints = parse_constraints([f"macs <= {costs[3]}"])
    trials = search_with("cost_aware", 12, space=space, constraints=constraints)
    assert all(count(trial.arch)["macs"] <= costs[3] for trial in trials)


def test_it_ends_where_no_other_architecture_keeps_the_constraints():
    """What is left breaks one for sure; none of it is drawn to fill the total."""
    costs = sorted(count(SPACE.arch(params))["macs"] for params in SPACE.grid())
    constraints = parse_constraints([f"macs <= {costs[20]}"])
    keeping = sum(cost <= costs[20] for cost in costs)
    trials = search_with("cost_aware", 100, constraints=constraints)
    assert len(trials) == keeping
    assert all(count(trial.arch)["macs"] <= costs[20] for trial in trials)


def test_nothing_is_over_while_candidates_are_under_way():
    """Those may show where to look; a worker that finds nothing now asks again when one has ended."""
    costs = sorted(count(SPACE.arch(params))["macs"] for params in SPACE.grid())
    study = tiny.make_study("inception_dw", objectives="accuracy,macs", sampler="cost_aware",
                            constraints=parse_constraints([f"macs <= {costs[4]}"]))  # fmt: skip
    search = Search(study, StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage())), count)
    runner, under_way = Runner(search, 100, ProgressListener()), []
    while (candidate := runner.next("w")) is not None:
        under_way.append(candidate)
    assert len(under_way) == sum(cost <= costs[4] for cost in costs)
    for candidate in under_way:
        assert search.samplers.dry
        assert not search.samplers.spent
        runner.ended(candidate.number, *made_up(candidate.arch, 0, None))
        assert runner.next("w") is None
    assert search.samplers.spent


def test_beside_a_start_that_is_under_way_a_second_worker_finds_what_keeps_the_constraints(monkeypatch):
    monkeypatch.setattr(features, "POOL", 60)
    monkeypatch.setattr(cost_aware, "WIDE", 60)
    space = tiny.shipped_space("metanext")
    points = Points(space, count)
    start = points.at(locate(space, space.baseline))
    while (least := min(points.beside(start), key=lambda p: p.costs["macs"])).costs["macs"] < start.costs["macs"]:
        start = least
    constraints = parse_constraints([f"macs <= {1.01 * start.costs['macs']}"])
    study = tiny.make_study("metanext", objectives="accuracy,macs", sampler="cost_aware", constraints=constraints)
    record = create_or_resume(study, optuna.storages.InMemoryStorage())
    search = Search(study, StorageMirror(record), count, [Start(start.params, "test")])
    first, second = search.ask(), search.ask()
    assert first.arch == start.arch
    assert count(second.arch)["macs"] <= 1.01 * start.costs["macs"]


@pytest.mark.parametrize("sampler", ["cost_aware", "nsga2", "random", "qmc"])
def test_points_that_cannot_exist_are_passed_over(sampler):
    """In a space too large to visit, loading has not seen all of them."""
    space = tiny.shipped_space("metanext")
    axes = tuple(Axis(a.name, (*a.values, 0.001), a.when) if a.name == "branch_ratio" else a for a in space.axes)
    space = dataclasses.replace(space, axes=axes)
    rng = random.Random(0)
    assert any(space.possible(space.sample(rng)) is None for _ in range(100))
    assert len(search_with(sampler, 40, space=space)) == 40


def test_where_large_networks_fail_others_are_tried():
    def fails(arch, seed, report, known=None):
        done, environment = made_up(arch, seed, report)
        if arch.dims[0] < 96:
            return done, environment
        return Evaluation(count(arch), error="out of history"), environment

    trials = search_with("cost_aware", 40, evaluate=fails)
    failed = [trial.number for trial in trials if trial.state == "failed"]
    assert failed
    assert sum(number >= 20 for number in failed) <= 2


def test_scores_that_are_all_counted_leave_nothing_to_guess():
    """The front of parameters and multiply-adds is found straight away, and nothing is modelled.

    Multiply-adds are told apart as finely as the integral over them is sampled.
    """
    study = tiny.make_study("inception_dw", objectives="params,macs", sampler="cost_aware")

    def counted(arch, seed, report, known=None):
        return Evaluation(dict(count(arch))), {}

    search = Search(study, StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage())), count)
    run_here(Runner(search, START + 3, ProgressListener()), counted)
    macs = [count(SPACE.arch(params))["macs"] for params in SPACE.grid()]
    found = min(trial.evaluation.scores["macs"] for trial in search.trials)
    assert found - min(macs) <= (max(macs) - min(macs)) / PROBES[1]
    assert search.samplers.common.models == {}


def test_a_trial_whose_values_are_still_being_asked_for_is_no_trouble():
    """As in a study of Optuna's own with several threads."""
    common = CostAware(Points(SPACE, count), OBJECTIVES)
    directions = [objective.direction for objective in OBJECTIVES]
    study = optuna.create_study(directions=directions, sampler=CostAwareSampler(common, seed=1))
    first, second = study.ask(), study.ask()
    first.suggest_categorical(SPACE.axes[0].name, SPACE.axes[0].values)
    genes = {axis.name: second.suggest_categorical(axis.name, axis.values) for axis in SPACE.axes}
    assert SPACE.arch(SPACE.active(genes))


def test_it_is_an_ordinary_sampler():
    """In a study of Optuna's own, with plain trials and nothing but values."""
    common = CostAware(Points(SPACE, count), OBJECTIVES)
    directions = [objective.direction for objective in OBJECTIVES]
    study = optuna.create_study(directions=directions, sampler=CostAwareSampler(common, seed=1))
    seen = []

    def objective(trial):
        genes = {axis.name: trial.suggest_categorical(axis.name, axis.values) for axis in SPACE.axes}
        arch = SPACE.arch(SPACE.active(genes))
        seen.append(arch)
        return accuracy(arch), count(arch)["macs"]

    study.optimize(objective, n_trials=20)
    assert len(set(seen)) == 20
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)


def test_one_objective_is_enough():
    study = tiny.make_study("inception_dw", objectives="accuracy", sampler="cost_aware")
    search = Search(study, StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage())), count)
    run_here(Runner(search, 25, ProgressListener()), made_up)
    best = max(accuracy(SPACE.arch(params)) for params in SPACE.grid())
    assert max(trial.evaluation.scores["accuracy"] for trial in search.trials) == pytest.approx(best, abs=0.005)


def test_without_anything_trained_the_costs_alone_are_searched():
    study = tiny.make_study("inception_dw", objectives="macs,params", sampler="cost_aware")
    search = Search(study, StorageMirror(create_or_resume(study, optuna.storages.InMemoryStorage())), count)
    run_here(Runner(search, 20, ProgressListener()), lambda arch, *rest: (Evaluation(dict(count(arch))), {}))
    macs = [count(SPACE.arch(params))["macs"] for params in SPACE.grid()]
    found = min(trial.evaluation.scores["macs"] for trial in search.trials)
    assert found - min(macs) <= (max(macs) - min(macs)) / PROBES[1]


def test_pruned_curves_are_learnt_from():
    """A pruned trial tells what it would have come to, and not for certain."""
    common = CostAware(Points(SPACE, count), OBJECTIVES)
    axes = {axis.name: CategoricalDistribution(axis.values) for axis in SPACE.axes}
    rng, trials = random.Random(0), []
    for number in range(9):
        genes = SPACE.sample_genes(rng)
        final, epochs = 0.4 + 0.01 * number, 4 if number < 8 else 2
        curve = [
            {"epoch": e, "train_loss": 1.0, "accuracy": final * e / 4, "seconds": 2.0} for e in range(1, epochs + 1)
        ]
        whole = epochs == 4
        state = TrialState.COMPLETE if whole else TrialState.PRUNED
        attrs = {"curve": curve, "scores": {"macs": 1e9}}
        trials.append(create_trial(state=state, values=[final, 1e9] if whole else None, params=genes,
                                   distributions=axes, user_attrs=attrs))  # fmt: skip
        trials[-1].number = number
    common.history.read(trials, but=9)
    rows = common.history.rows
    assert rows[-1].value == pytest.approx(0.48, abs=1e-6)
    assert [row.seconds for row in rows] == [8.0] * 9
    assert rows[-1] not in common.history.front
    assert not common.history.pending


def test_a_large_space_is_sampled_around_the_front():
    space = tiny.shipped_space("metanext")
    points = Points(space, count)
    assert points.all is None
    near = points.at(space.sample(random.Random(1)))
    pool = points.pool(0, [near])
    assert POOL // 4 < len(pool) <= POOL
    assert len({point.arch for point in pool}) > 0.99 * len(pool)
    assert set(points.beside(near)) <= set(pool)
    changed = [{k for k, v in near.params.items() if p.params.get(k) != v} for p in points.beside(near)]
    assert {axis for axes in changed if len(axes) == 1 for axis in axes} == set(near.params)
    assert points.pool(1, [near]) != pool


def test_features_are_numbers_where_values_are():
    assert axis_features(Axis("dims", ("32-64", "64-128")), "64-128") == pytest.approx(np.log([64, 128]))
    assert axis_features(Axis("depths", ("3-3", "3-3-3")), "3-3-3") == [0.0, 1.0]
    assert axis_features(Axis("conv_ratio", (0.5, 1)), 0.5) == pytest.approx([np.log(0.5)])
    assert axis_features(Axis("bias", (True, False)), False) == [0.0, 1.0]
    assert np.isnan(axis_features(Axis("dims", ("32-64", "64-128")), None)).all()


def test_a_model_learns_what_each_of_many_widths_does_though_it_follows_no_line():
    """From 40 of 8,748 architectures, with an independent effect of every value and noise of a third of their size.

    With numbers alone and shorter length scales it was 0.55.
    """
    space, rng = tiny.shipped_space("macro"), random.Random(0)
    points, effects = Points(space, count), [np.random.default_rng(i).normal(size=4) for i in range(8)]
    some = [points.at(space.sample(rng)) for _ in range(240)]
    true = [sum(e[a.values.index(p.params[a.name])] for a, e in zip(space.axes, effects, strict=True)) for p in some]
    seen = np.array(true) + np.random.default_rng(9).normal(size=240) * np.std(true) / 3
    known = [(points.scaled(point), y, 0.0) for point, y in zip(some[:40], seen, strict=False)]
    mean, _ = Model().predict(known, tuple, np.array([points.scaled(point) for point in some[40:]]))
    assert np.corrcoef(mean, true[40:])[0, 1] > 0.85


def test_what_does_not_vary_or_says_the_same_twice_is_left_out():
    features = np.array([[1.0, 2.0, 5.0, np.nan], [2.0, 4.0, 5.0, 1.0], [4.0, 8.0, 5.0, 3.0]])
    scale = Scale(features)
    assert scale.columns == [0, 3]
    scaled = scale(features)
    assert scaled.mean(axis=0) == pytest.approx([0, 0])
    assert scaled[0, 1] == 0  # a closed axis counts as the mean


def test_a_model_learns_a_plane_and_knows_where_it_knows_nothing():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    y = x @ [0.1, -0.2, 0.0] + 0.5
    mean, sd = Model().predict(
        list(zip(x, y, np.zeros(40), strict=True)), tuple, np.array([[0.5, 0.5, 0.0], [9.0, -9.0, 9.0]])
    )
    assert mean[0] == pytest.approx(0.45, abs=0.01)
    assert sd[1] > 5 * sd[0]


def test_what_is_said_to_be_noisy_counts_less():
    def predicted(noise):
        known = [(np.array([x]), float(x == 0), noise if x == 0 else 0.0) for x in np.linspace(-1, 1, 9)]
        return Model().expect(known, tuple, np.zeros((1, 1)))[0]

    sure, doubtful = predicted(0.0), predicted(5.0)
    assert doubtful < sure / 2


def test_a_model_predicts_what_scikit_learns_process_does():
    rng = np.random.default_rng(0)
    x, at = rng.normal(size=(60, 4)), rng.normal(size=(200, 4))
    y, noise = np.sin(x[:, 0]) + x[:, 1] + 0.1 * rng.normal(size=60), rng.uniform(0, 0.3, 60)
    fitted = model.fitted_kernel(x, y, noise)
    centre, scale = y.mean(), y.std()
    process = GaussianProcessRegressor(fitted, alpha=model.JITTER + (noise / scale) ** 2, optimizer=None)
    mean, sd = process.fit(x, (y - centre) / scale).predict(at, return_std=True)
    count = model.count_of(60)
    made = Model({(count, 0): model.Kernel.of(fitted)}, {count: False})
    known = list(zip(x, y, noise, strict=True))
    ours, doubt = made.predict(known, tuple, at)
    assert ours == pytest.approx(mean * scale + centre, rel=1e-6)
    assert doubt == pytest.approx(np.sqrt(sd**2 - fitted.k2.noise_level) * scale, rel=1e-5)
    assert made.expect(known, tuple, at) == pytest.approx(ours)


def test_the_first_failures_are_learnt_from_at_once():
    """Hyperparameters that were chosen when nothing had failed would say that nothing ever does."""
    x = np.random.default_rng(0).uniform(-1, 1, size=(400, 8))
    survived, failed = x[x[:, 0] < 0.5][:93], x[x[:, 0] > 0.6][:8]
    known = [(one, -1.0, 0.0) for one in survived] + [(one, 1.0, 0.0) for one in failed]
    others = x[-100:]
    chance = probability_below_zero(*Model().predict(known, lambda one: one, others))
    assert np.median(chance[others[:, 0] > 0.6]) < 0.2
    assert np.median(chance[others[:, 0] < 0.3]) > 0.95


def test_a_model_of_many_trials_learns_from_a_part_of_them():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4 * LEARN, 2))
    asked = []

    def observe(index):
        asked.append(index)
        return x[index], x[index, 0], 0.0

    mean = Model().expect(range(len(x)), observe, np.array([[1.0, 0.0]]))
    assert mean[0] == pytest.approx(1.0, abs=0.05)
    assert len(asked) <= LEARN + CHOOSE
