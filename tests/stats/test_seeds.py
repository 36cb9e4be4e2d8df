"""The network-plus-seed model, against ordinary least squares."""

import numpy as np
import pytest

from archsearch.stats.seeds import SeedModel


def design(cells, networks, seeds):
    found = np.zeros((len(cells), networks + seeds))
    for row, (network, seed) in enumerate(cells):
        found[row, network] = found[row, networks + seed] = 1
    return found


@pytest.mark.parametrize("seed", range(5))
def test_it_is_least_squares_of_networks_and_seeds(seed):
    rng, networks, seeds = np.random.default_rng(seed), 9, 4
    cells = [(n, s) for n in range(networks) for s in range(seeds) if s == 0 or rng.random() < 0.5]
    values = rng.normal(size=len(cells)) + [3 * s for _, s in cells]
    model = SeedModel()
    for n in range(networks):
        model.add({s: value for (network, s), value in zip(cells, values, strict=True) if network == n})
    x = design(cells, networks, seeds)
    solution, _, rank, _ = np.linalg.lstsq(x, values, rcond=None)
    degrees = len(cells) - rank
    assert model.residual == (pytest.approx(np.sqrt(np.sum((values - x @ solution) ** 2) / degrees)), degrees)
    own = {n: [s for network, s in cells if network == n] for n in range(networks)}
    means = {n: np.mean([v for (network, _), v in zip(cells, values, strict=True) if network == n]) for n in own}
    inverse = np.linalg.pinv(x.T @ x)
    for n in range(1, networks):
        contrast = np.zeros(networks + seeds)
        contrast[[0, n]] = 1, -1
        level = means[0] - model.level(own[0]) - means[n] + model.level(own[n])
        assert level == pytest.approx(contrast @ solution)
        assert model.variance(own[0], own[n]) == pytest.approx(contrast @ inverse @ contrast)


def test_a_common_effect_is_no_noise():
    model = SeedModel()
    for value in (0.1, 0.2, 0.7):
        model.add({0: value, 1: value + 0.0152})
    assert model.residual == model.noise == (0.0, 2)


def test_one_network_alone_tells_no_effect_from_noise():
    model = SeedModel()
    assert model.noise is None
    model.add({3: 0.5})
    assert model.noise is None
    model.add({3: 0.5, 4: 0.7})
    assert model.residual is None
    assert model.noise == (pytest.approx(np.sqrt(0.02)), 1)
    assert model.level([4]) == 0.0
    assert model.variance([3], [3, 4]) == 1.5


def test_one_more_network_leaves_the_model_as_it_is():
    model = SeedModel()
    model.add({0: 0.5, 1: 0.6})
    more = model.with_network({0: 0.1, 1: 0.3, 2: 0.0})
    assert more.residual is not None
    assert model.residual is None
    assert model.noise == (pytest.approx(np.sqrt(0.005)), 1)
