"""Expected hypervolume against what sampling gives, and against closed forms."""

import moocore
import numpy as np
import pytest

from archsearch.search.samplers.ehvi import (
    expected_hypervolume_improvement,
    expected_improvement,
    probability_below_zero,
    probes,
    sobol_point,
)


@pytest.mark.parametrize("level", [-1.0, 0.0, 0.4, 2.0])
def test_expected_improvement_is_a_mean_over_draws(level):
    draws = np.random.default_rng(0).normal(0.5, 0.7, 400_000)
    found = expected_improvement(np.array([0.5]), np.array([0.7]), np.array([level]))
    assert found[0] == pytest.approx(np.maximum(draws - level, 0).mean(), abs=3e-3)


def test_without_doubt_it_is_the_gain_itself():
    assert expected_improvement(np.array([2.0, 1.0]), np.zeros(2), np.array([1.5, 1.5])).tolist() == [0.5, 0.0]


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_expected_hypervolume_is_a_mean_over_draws(dimensions):
    rng = np.random.default_rng(dimensions)
    front_scores, front_costs = rng.random(6), rng.random((6, dimensions))
    mean, sd, costs = rng.random(5), 0.2 * rng.random(5) + 0.01, rng.random((5, dimensions))
    found = expected_hypervolume_improvement(mean, sd, costs, front_scores, front_costs)

    def volume(scores, where):
        return moocore.hypervolume(np.column_stack([-scores, where]), ref=[0.0] + [1.0] * dimensions)

    before = volume(front_scores, front_costs)
    for i in range(5):
        gains = [
            volume(np.append(front_scores, max(draw, 0)), np.vstack([front_costs, costs[i]])) - before
            for draw in rng.normal(mean[i], sd[i], 3000)
        ]
        assert found[i] == pytest.approx(np.mean(gains), abs=4 * np.std(gains) / 3000**0.5 + 0.004)


def test_what_costs_more_than_the_box_holds_promises_nothing():
    one = np.array([0.5])
    gain = expected_hypervolume_improvement(one, one, np.array([[1.0, 0.0]]), np.array([0.1]), np.array([[0.5, 0.5]]))
    assert gain[0] == 0


def test_without_costs_it_is_plain_expected_improvement():
    found = expected_hypervolume_improvement(
        np.array([0.5]), np.array([0.1]), np.empty((1, 0)), np.array([0.4]), np.empty((1, 0))
    )
    assert found == expected_improvement(np.array([0.5]), np.array([0.1]), np.array([0.4]))


@pytest.mark.parametrize("dimensions", [1, 2, 4])
def test_probes_fill_the_cube_evenly(dimensions):
    at = probes(dimensions)
    assert ((at > 0) & (at < 1)).all()
    assert np.allclose(at.mean(axis=0), 0.5, atol=2e-3)
    assert np.allclose((at < 0.25).mean(axis=0), 0.25, atol=4e-3)


def test_a_sequence_is_the_same_point_by_point():
    points = np.array([sobol_point(index, 3, 7) for index in range(64)])
    assert (points == np.array([sobol_point(index, 3, 7) for index in range(64)])).all()
    assert not (points == np.array([sobol_point(index, 3, 8) for index in range(64)])).any()
    counts = np.histogramdd(points, bins=(4, 4, 4), range=[(0, 1)] * 3)[0]
    assert counts.max() == counts.min() == 1  # every small cube holds one point, as random ones hardly ever do


def test_a_chance_is_that_of_a_normal_variable():
    assert probability_below_zero(np.array([1.0]), np.array([1.0])) == pytest.approx(0.158655, abs=1e-6)
