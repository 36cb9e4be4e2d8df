"""What all trials together say of each one's true accuracy."""

import numpy as np
import optuna
import pytest
import tiny

from archsearch.search.accuracy_model import AccuracyModel
from archsearch.search.definition import VAL_IMAGES, create_or_resume
from archsearch.search.early_stopping import EarlyStopping
from archsearch.search.engines.runner import ProgressListener, Runner, run_here
from archsearch.search.samplers.gp import LEARN
from archsearch.search.search import Search
from archsearch.search.storage.mirror import StorageMirror
from archsearch.stats.noise import binomial_error
from archsearch.trial import Epoch, EpochDone, Evaluation

IMAGES = 2400
SPACE = tiny.shipped_space("inception_dw")
GRID = [*SPACE.grid()]


def truth(params):
    """Main effects alone, of about a point each."""
    size = float(np.log([int(dim) for dim in params["dims"].split("-")]).mean() - 5.5)
    kind = {"inception": 0.01, "depthwise": 0.0, "pooling": -0.01, "identity": -0.03}[params["token_mixer"]]
    return 0.6 + kind + 0.04 * size


TRUTH = {SPACE.arch(params).key: truth(params) for params in GRID}


def model_of(points, accuracies, images=IMAGES):
    model = AccuracyModel(SPACE, 0)
    for params, accuracy in zip(points, accuracies, strict=True):
        model.add(params, float(accuracy), binomial_error(accuracy, images) if images else 0.0)
    return model


def some(count, seed=0):
    rng = np.random.default_rng(seed)
    points = [GRID[at] for at in rng.permutation(len(GRID))[:count]]
    true = np.array([truth(params) for params in points])
    return points, true, true + rng.normal(0, 0.01, count)


def test_what_others_expect_is_what_they_expect_without_it():
    """The closed form against a process that is not given the trial, with the same hyperparameters."""
    points, _, seen = some(20)
    whole = model_of(points, seen)
    found, posterior = whole.true_accuracies([]), whole._given_all()
    for left_out in (0, 7, 19):
        rest = [at for at in range(20) if at != left_out]
        x, y, noise = (np.array(each) for each in zip(*(whole._observe(at) for at in rest), strict=True))
        kernel, centre, scale = posterior.kernel, posterior.centre, posterior.scale
        covariance = kernel.between(x, x) + np.diag(kernel.noise + 1e-8 + np.square(noise / scale))
        own = whole._observe(left_out)[0][None]
        across = kernel.between(own, x)[0]
        mean = centre + scale * across @ np.linalg.solve(covariance, (y - centre) / scale)
        variance = scale**2 * (kernel.alone(own)[0] + kernel.noise - across @ np.linalg.solve(covariance, across))
        assert found.expected[left_out] == pytest.approx(mean, abs=1e-8)
        error = whole._observe(left_out)[2] ** 2
        own_share = variance / (variance + error)
        assert found.mean[left_out] == pytest.approx(mean + own_share * (seen[left_out] - mean), abs=1e-7)
        assert found.sd[left_out] == pytest.approx(np.sqrt(own_share * error), rel=1e-3)


def test_true_accuracies_are_nearer_to_the_truth_than_observed_ones():
    points, true, seen = some(60)
    found = model_of(points, seen).true_accuracies([])
    assert np.sqrt(np.mean((found.mean - true) ** 2)) < 0.6 * np.sqrt(np.mean((seen - true) ** 2))
    assert (found.sd < 0.01).all()


def test_without_an_error_accuracies_are_true():
    points, _, seen = some(12)
    found = model_of(points, seen, images=0).true_accuracies([])
    assert found.mean == pytest.approx(seen)
    assert not found.sd.any()
    assert np.abs(found.expected - seen).max() > 0.001


def test_of_many_trials_the_process_is_given_some_and_tells_of_those_asked_for():
    points, true, seen = some(LEARN + 40)
    model = model_of(points, seen)
    given = model.true_accuracies([])
    assert len(given.places) == LEARN
    left = sorted({*range(LEARN + 40)} - {*given.places.tolist()})
    found = model.true_accuracies([left[3], int(given.places[5])])
    assert {*found.places.tolist()} == {*given.places.tolist(), left[3]}
    assert list(found.places) == sorted(found.places)
    at = int(np.searchsorted(found.places, left[3]))
    assert abs(found.mean[at] - true[left[3]]) < 0.01
    assert found.mean[np.arange(len(found.places)) != at] == pytest.approx(given.mean)


def trainings(seed):
    """Return what trains: the luck of the end shows from the middle on, and beginnings tell little."""

    def evaluate(arch, _, report, known=None):
        rng = np.random.default_rng([seed, int(arch.key, 16)])
        luck = np.array([0.1, 0.2, 0.2, 0.3, 0.6, 0.7, 0.9, 1.0]) * rng.normal()
        luck += np.array([1.0, 0.8, 0.8, 0.7, 0.5, 0.5, 0.3, 0.0]) * rng.normal(size=8)
        rise = np.linspace(0.5, 1.0, 8) * TRUTH[arch.key]
        curve = tuple(Epoch(n, 1.0, float(each), 1.0) for n, each in enumerate(rise + 0.01 * luck, 1))
        macs = {"macs": float(sum(arch.dims))}
        for epoch in range(1, 8):
            if not report(EpochDone(Evaluation(macs, curve=curve[:epoch]))):
                return Evaluation(macs, curve=curve[:epoch], pruned=True), {}
        return Evaluation(macs | {"accuracy": curve[-1].accuracy}, curve=curve), {}

    return evaluate


def test_early_stopping_keeps_the_front_and_saves():
    """Of a known truth: hardly a member of its front is pruned of those drawn, and a quarter of all epochs is saved."""
    drawn, epochs = [], []
    for seed in range(2):
        study = tiny.make_study(
            "inception_dw", objectives="accuracy,macs", sampler="random", seed=seed, stopping_level=0.95
        )
        record = create_or_resume(study, optuna.storages.InMemoryStorage())
        record.set_user_attr(VAL_IMAGES, IMAGES)
        search = Search(study, StorageMirror(record))
        run_here(Runner(search, 60, ProgressListener(), stop=EarlyStopping(search, 8)), trainings(seed))
        epochs += [len(trial.evaluation.curve) for trial in search.trials]
        drawn += [trial for trial in search.trials if trial.arch.mixers[0].token_mixer == "inception"]
    assert len(drawn) > 40, "the best of every size, and so the true front"
    assert sum(trial.state == "pruned" for trial in drawn) / len(drawn) < 0.05
    assert np.mean(epochs) < 6
