import dataclasses
import math

import numpy as np
import pytest
import tiny
from scipy import stats

from archsearch.objectives import parse_objectives
from archsearch.stats.bootstrap import DRAWS, front_probability
from archsearch.stats.intervals import wilson
from archsearch.stats.noise import AccuracyNoise, accuracy_noise, front_chances, readings, with_level_seeds

OBJECTIVES = tiny.OBJECTIVES
#: How much wider than a normal distribution's an interval by ten degrees of freedom is.
WIDER = stats.t.ppf(0.975, 10) / stats.norm.ppf(0.975)
TIMED = {"infer_throughput": {"batch_size": 1, "interval_s": [0.09, 0.11]}}


def near(share):
    """Within four standard errors of a share of so many draws, and what cutting them costs."""
    return pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / DRAWS) + 0.004)


def test_the_deviation_is_pooled_over_trials_with_several_seeds():
    """Less what the seeds do to all of them: 0.01 between seed 0 and seed 1, of both networks alike."""
    trials = [
        tiny.trial(0, 0.5, 1e9, 10, values=[0.485, 0.5, 0.515]),
        tiny.trial(1, 0.61, 1e9, 10, values=[0.605, 0.61, 0.615]),
        tiny.trial(2, 0.7, 1e9, 10, values=[0.7]),
        tiny.trial(3, 0.9, 1e9, 10),
    ]
    known = accuracy_noise(trials, 0)
    assert known.seed_sd == pytest.approx(math.sqrt(4 * 0.005**2 / 2))
    assert known.degrees == 2
    assert known.interval(0.5, 3) == pytest.approx(stats.t.interval(0.95, 2, 0.5, known.seed_sd / math.sqrt(3)))
    assert known.interval(0.5) == pytest.approx(stats.t.interval(0.95, 2, 0.5, known.seed_sd))
    assert "seeds" in known.words


def test_of_one_trial_with_several_seeds_all_that_they_do_is_noise():
    known = accuracy_noise([tiny.trial(0, 0.5, 1e9, 10, values=[0.48, 0.52]), tiny.trial(1, 0.6, 1e9, 10)], 0)
    assert (known.seed_sd, known.degrees) == (pytest.approx(math.sqrt(0.0008)), 1)


def test_accuracies_of_unequal_seeds_are_compared_without_what_seeds_do_to_all():
    """Seed 1 adds two points to every network, so that the mean of both is a point above that of seed 0."""
    rng, noise = np.random.default_rng(0), 0.001
    true = rng.normal(0.6, 0.02, size=40)
    values = true[:, None] + [0.0, 0.02] + rng.normal(0, noise, size=(40, 2))
    several = [tiny.trial(i, v.mean(), 1e9, 10, values=list(v)) for i, v in enumerate(values[:20])]
    single = [tiny.trial(20 + i, v[0], 1e9, 10, values=[v[0]]) for i, v in enumerate(values[20:])]
    level = with_level_seeds([*several, *single, tiny.FAILED])
    found = [trial.evaluation.scores["accuracy"] for trial in level[:-1]]
    assert np.abs(np.array(found) - true - 0.01).max() < 4 * noise
    assert found[:20] == pytest.approx([v.mean() for v in values[:20]]), "those with all seeds keep their means"
    assert accuracy_noise(several, 0).seed_sd == pytest.approx(noise, rel=0.5)
    assert level[-1] is tiny.FAILED
    assert with_level_seeds(single) is single


def test_without_seeds_the_sample_of_images_is_what_is_known():
    trials = [tiny.trial(0, 0.5, 1e9, 10), tiny.trial(1, 0.2, 1e9, 10)]
    known = accuracy_noise(trials, 2500)
    assert known.error(0.5) == pytest.approx(0.01, rel=1e-3)
    assert known.error(0.2) == pytest.approx(0.008, rel=1e-3)
    assert known.interval(0.5) == pytest.approx((0.5 - 0.0196, 0.5 + 0.0196), abs=2e-5)
    assert known.interval(0.0001)[0] == pytest.approx(0.0, abs=1e-5)
    assert "2500 validation images alone" in known.words
    assert accuracy_noise(trials, 0) is None


@pytest.mark.parametrize(("share", "samples"), [(0.5, 100), (0.03, 64), (1.0, 64), (0.0, 256)])
def test_intervals_of_a_share_are_wilsons(share, samples):
    exact = stats.binomtest(round(share * samples), samples).proportion_ci(method="wilson")
    low, high = wilson(round(share * samples) / samples, samples)
    assert (low, high) == pytest.approx((exact.low, exact.high))
    assert AccuracyNoise(samples).error(share) > 0


def test_seeds_that_agree_by_chance_do_not_make_accuracies_exact():
    trials = [tiny.trial(0, 0.5, 1e9, 10, values=[0.5, 0.5]), tiny.trial(1, 0.4, 1e9, 10)]
    known = accuracy_noise(trials, 64)
    binomial = np.mean([AccuracyNoise(64).error(accuracy) ** 2 for accuracy in (0.5, 0.4)])
    assert (known.seed_sd, known.degrees) == (pytest.approx(math.sqrt(2 / 3 * binomial)), 3)
    assert 0 < front_chances(trials, parse_objectives("accuracy,macs"), known)[1] < 0.5
    many = [tiny.trial(i, 0.5, 1e9, 10, values=[0.5 - x, 0.5, 0.5 + x]) for i, x in enumerate([0.02, -0.02] * 25)]
    assert accuracy_noise(many, 64).seed_sd == pytest.approx(0.02, rel=0.1), "what was seen often outweighs it"
    assert accuracy_noise(trials[:1], 0) is None


def test_intervals_cover_the_true_accuracy():
    rng, covered = np.random.default_rng(0), []
    for _ in range(300):
        values = rng.normal(0.5, 0.02, size=(3, 3))
        known = accuracy_noise([tiny.trial(i, v.mean(), 1e9, 10, values=list(v)) for i, v in enumerate(values)], 0)
        low, high = known.interval(values[0].mean(), 3)
        covered.append(low <= 0.5 <= high)
    assert 0.91 <= np.mean(covered) <= 0.985


@pytest.mark.parametrize("gap", [0.0, 0.01, 0.03])
def test_two_trials_share_the_front_as_their_difference_is_distributed(gap):
    known = AccuracyNoise(0, 0.01, 10)
    trials = [tiny.trial(0, 0.5, 1e9, 10.0), tiny.trial(1, 0.5 - gap, 1e9, 10.0)]
    better = stats.norm.cdf(gap / (0.01 * WIDER * math.sqrt(2)))
    chances = front_chances(trials, parse_objectives("accuracy,macs"), known)
    assert chances.tolist() == [near(better), near(1 - better)]
    assert chances.sum() == pytest.approx(1.0)


def test_a_mean_of_seeds_scatters_less():
    known = AccuracyNoise(0, 0.02, 10)
    trials = [tiny.trial(i, a, 1e9, 10.0, values=[a] * 4) for i, a in enumerate((0.5, 0.49))]
    chances = front_chances(trials, parse_objectives("accuracy"), known)
    assert chances[1] == near(stats.norm.cdf(-0.01 / (0.01 * WIDER * math.sqrt(2))))


@pytest.mark.parametrize("degrees", [1, 2, 4])
def test_of_two_equal_networks_few_seeds_make_neither_sure(degrees):
    """The deviation is uncertain itself: had it been taken for known, every fifth comparison would look settled."""
    rng, repeats, objectives, found = np.random.default_rng(0), 400, parse_objectives("accuracy,macs"), []
    for _ in range(repeats):
        known = AccuracyNoise(0, 0.01 * math.sqrt(rng.chisquare(degrees) / degrees), degrees)
        first, second = rng.normal(0.5, 0.01, size=2)
        trials = [tiny.trial(0, first, 1e9, 10.0), tiny.trial(1, second, 1e9, 10.0)]
        found.append(readings(trials, objectives, known))
    values, errors = (np.concatenate(parts) for parts in zip(*found, strict=True))
    # Two exact columns, one rising and one falling, keep each pair to itself: one bootstrap serves all pairs.
    pair = np.repeat(np.arange(float(repeats)), 2)
    values, errors = np.column_stack([values, pair, -pair]), np.column_stack([errors, 0 * pair, 0 * pair])
    chances = front_probability(values, errors).reshape(repeats, 2)
    assert chances[-1] == pytest.approx(front_chances(trials, objectives, known), abs=0.1)
    assert (chances.max(axis=1) > 0.975).mean() < 0.08


@pytest.mark.parametrize("name", ["infer_throughput", "latency_ms"])
def test_speeds_scatter_as_their_steps_do(name):
    def timed(number, step):
        detail = {"batch_size": 1, "interval_s": [step / 1.1, step * 1.1]}
        one = tiny.trial(number, 0.5, 1e9, 10.0)
        scores = one.evaluation.scores | {"infer_throughput": 1 / step, "latency_ms": 1e3 * step}
        return dataclasses.replace(
            one, evaluation=dataclasses.replace(one.evaluation, scores=scores, details={name: detail})
        )

    chances = front_chances([timed(0, 0.1), timed(1, 0.105)], parse_objectives(name), None)
    sure = stats.norm.cdf(math.log(1.05) / (math.log(1.1) / 1.959964 * math.sqrt(2)))
    assert chances.tolist() == [near(sure), near(1 - sure)]


def test_only_complete_trials_count():
    known = AccuracyNoise(0, 0.01, 10)
    best = [dataclasses.replace(tiny.trial(i, 0.9, 1e8, 99.0), state=s) for i, s in enumerate(("infeasible", "pruned"))]
    chances = front_chances([*best, tiny.trial(2, 0.5, 1e9, 10.0), tiny.FAILED], OBJECTIVES, known)
    assert np.isnan(chances).tolist() == [True, True, False, True]
    assert chances[2] == 1.0


def test_what_is_exact_has_no_chances():
    trials = [tiny.trial(0, 0.5, 1e9, 10.0), tiny.trial(1, 0.4, 2e9, 5.0)]
    assert front_chances(trials, parse_objectives("macs,params"), None) is None
    assert front_chances([], OBJECTIVES, None) is None
    assert front_chances(trials, parse_objectives("macs,infer_throughput"), None).tolist() == [1.0, 0.0]


def test_where_nothing_is_known_of_accuracies_nobody_pretends_that_they_are_exact():
    timed = dataclasses.replace(tiny.trial(0, 0.5, 1e9, 10.0).evaluation, details=TIMED)
    trials = [dataclasses.replace(tiny.trial(0, 0.5, 1e9, 10.0), evaluation=timed), tiny.trial(1, 0.4, 2e9, 5.0)]
    assert front_chances(trials, OBJECTIVES, None) is None
    assert front_chances(trials, parse_objectives("macs,infer_throughput"), None).tolist() == [1.0, 0.0]


def test_logarithms_of_speeds_keep_their_order():
    trials = [tiny.trial(i, 0.5, 1e9, speed) for i, speed in enumerate((10.0, 20.0, 15.0))]
    values, errors = readings(trials, OBJECTIVES, None)
    assert np.argsort(values[:, 2]).tolist() == [1, 2, 0]
    assert errors[:, 2] == pytest.approx([math.log(2.1 / 1.9) / (2 * 1.959964)] * 3)
    assert not errors[:, :2].any()
