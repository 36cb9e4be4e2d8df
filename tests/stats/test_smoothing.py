"""The posterior of true scores: against closed forms, and against known truth."""

import itertools

import numpy as np
import pytest

from archsearch.stats import smoothing
from archsearch.stats.bootstrap import front_probability, front_probability_of
from archsearch.stats.fronts import nondominated
from archsearch.stats.smoothing import CHOOSE, DRAWS, Factors, smooth, value_distances

AXES, VALUES = 4, 4


def factors(codes, sizes):
    distances = [value_distances(np.arange(VALUES)[:, None] + np.zeros((1, 1)))] * codes.shape[1]
    return Factors(codes, distances, sizes[:, None])


def land(rng, count, deviation):
    """Random architectures, their sizes, and true scores: a trend, main effects, interactions and own effects."""
    codes, sizes = rng.integers(VALUES, size=(count, AXES)), rng.normal(size=count)
    main = sum(rng.normal(size=VALUES)[codes[:, axis]] for axis in range(AXES))
    pairs = itertools.combinations(range(AXES), 2)
    both = sum(rng.normal(size=(VALUES, VALUES))[codes[:, a], codes[:, b]] for a, b in pairs)
    whole = sizes + main / 2 + both / 3 + 0.5 * rng.normal(size=count)
    return factors(codes, sizes), sizes, deviation * (whole - whole.mean()) / whole.std()


def test_given_hyperparameters_it_is_the_conditional_normal_distribution(monkeypatch):
    monkeypatch.setattr(smoothing, "PRIOR_DRAWS", 1)
    monkeypatch.setattr(smoothing, "DRAWS", 20_000)
    rng = np.random.default_rng(0)
    known, _, truth = land(rng, 12, 1.0)
    errors = rng.uniform(0.1, 0.6, size=12)
    scores = truth + errors * rng.normal(size=12)
    found = smooth(known, scores, errors)
    prior = smoothing._prior(np.random.default_rng(0), 0)
    effects = smoothing._Parts(known).covariance(prior, 0) * scores.var()
    observed = effects + np.diag(errors**2 + prior.unknown[0] * scores.var())
    mean = scores.mean() + effects @ np.linalg.solve(observed, scores - scores.mean())
    covariance = effects - effects @ np.linalg.solve(observed, effects)
    assert found.mean == pytest.approx(mean, abs=1e-6)
    assert found.draws.mean(axis=0) == pytest.approx(mean, abs=0.02)
    assert np.abs(np.cov(found.draws.T) - covariance).max() < 0.03 * covariance.max()


def test_what_many_likelihoods_keep_is_in_proportion_to_them():
    kept = smoothing._likely(np.random.default_rng(0), np.log([0.5, 0.25, 0.25, 1e-9]), 8)
    assert np.bincount(kept, minlength=4).tolist() == [4, 2, 2, 0]


def greedy(codes, scores):
    """Twenty architectures at random, and the twenty nearest to the one that looked best by then."""
    best = codes[np.argmax(scores[:20])]
    return np.r_[:20, 20 + np.argsort((codes[20:] != best).sum(axis=1), kind="stable")[:20]]


@pytest.mark.parametrize("sampled", ["at random", "greedily"])
def test_what_it_states_is_true_as_often(sampled):
    """Over studies whose noise is as large as the differences, whichever architectures were sought."""
    rng, stated, observed, true, covered = np.random.default_rng(0), [], [], [], []
    for _ in range(30):
        known, sizes, truth = land(rng, 80, 1.0)
        scores = truth + rng.normal(size=80)
        rows = np.arange(40) if sampled == "at random" else greedy(known.codes, scores)
        found = smooth(known.of(rows), scores[rows], np.ones(40), degrees=100)
        values, errors = np.column_stack([-scores[rows], sizes[rows]]), np.tile([1.0, 0.0], (40, 1))
        stated.append(front_probability_of(values, errors, 0, -found.draws[:300]))
        observed.append(front_probability(values, errors, draws=300))
        true.append(nondominated(np.column_stack([-truth[rows], sizes[rows]])))
        low, high = found.interval
        covered.append((low <= truth[rows]) & (truth[rows] <= high))
    stated, observed, true = (np.concatenate(each) for each in (stated, observed, true))
    for low in np.arange(0, 1, 0.2):
        within = (stated >= low) & (stated <= low + 0.2)
        assert within.sum() < 50 or abs(stated[within].mean() - true[within].mean()) < 0.1
    assert np.square(stated - true).mean() < np.square(observed - true).mean()
    assert stated.sum() == pytest.approx(true.sum(), rel=0.15)
    assert abs(stated.sum() - true.sum()) < abs(observed.sum() - true.sum())
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)


def test_what_noise_is_known_not_to_explain_is_the_architectures_own():
    """Without any structure, scores that are nearly exact are kept, and those that are all noise become their mean."""
    rng = np.random.default_rng(1)
    codes, scores = rng.integers(VALUES, size=(60, AXES)), rng.normal(size=60)
    exact = smooth(factors(codes, np.zeros(60)), scores, np.full(60, 0.05), degrees=100)
    assert np.abs(exact.mean - scores).max() < 0.1
    noise = smooth(factors(codes, np.zeros(60)), scores, np.ones(60), degrees=100)
    assert noise.mean.std() < 0.5 * scores.std()


def test_nothing_is_made_of_too_few_trials_or_of_equal_ones():
    known, _, truth = land(np.random.default_rng(0), 7, 1.0)
    assert smooth(known, truth, np.ones(7)) is None
    known, _, _ = land(np.random.default_rng(0), 20, 1.0)
    assert smooth(known, np.full(20, 0.5), np.ones(20)) is None


@pytest.mark.parametrize("axes", [0, 1])
def test_a_space_of_few_axes_has_no_interactions(axes):
    rng, count = np.random.default_rng(0), CHOOSE + 20
    codes, distances = rng.integers(VALUES + 1, size=(count, axes)), value_distances(np.arange(4.0)[:, None])
    found = smooth(
        Factors(codes, [distances] * axes, np.zeros((count, 0))), rng.normal(size=count), np.full(count, 0.5)
    )
    assert found.draws.shape == (DRAWS, count)
    assert np.isfinite(found.draws).all()
